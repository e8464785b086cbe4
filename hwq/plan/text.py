"""Plans as text: every object of a plan by its name and fields, and back.

The text is Python's own notation for the objects, and is read without being executed. Processing
elements come first, as their tables are long and many steps share them.
"""

import ast
from dataclasses import fields
from typing import Any, Final

from hwq.compiler.view import View
from hwq.errors import SpecError, require
from hwq.numerics.pe import PE_KINDS, PeKind, PeSpec
from hwq.plan.memory import Home, Memory, Stage
from hwq.plan.plan import Group, Pass, Plan, Port, Product, Step

_CLASSES: Final = {
    kind.__name__: kind
    for kind in (Group, Home, Memory, Pass, PeSpec, Plan, Port, Product, Stage, Step, View)
}
_WIDTH = 100


def to_text(plan: Plan) -> str:
    """Return a plan as text; equal plans have equal texts."""
    elements = dict.fromkeys(
        step.product.pe for group in plan.groups for step in group.steps if step.product
    )
    names = {element: f"pe_{number}" for number, element in enumerate(elements)}
    lines = [f"{name} = {_written(element, {}, 0)}" for element, name in names.items()]
    return "\n".join((*lines, f"plan = {_written(plan, names, 0)}\n"))


def from_text(text: str) -> Plan:
    """Return the plan of a text.

    Raises
    ------
    SpecError
        If the text is not that of a plan; the line is named.
    """
    known: dict[str, Any] = {}
    try:
        for statement in ast.parse(text).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    known[name] = _read(value, known)
                case _:
                    raise _refusal(statement)
    except SyntaxError as error:
        raise SpecError(f"the text of a plan: line {error.lineno}: {error.msg}") from error
    plan = known.get("plan")
    if not isinstance(plan, Plan):
        raise SpecError("the text of a plan must end with 'plan = Plan(...)'")
    return plan


def _written(value: Any, names: dict[PeSpec, str], depth: int) -> str:
    if isinstance(value, PeSpec) and value in names:
        return names[value]
    if isinstance(value, PeKind):
        return repr(value.name)
    if type(value) in _CLASSES.values():
        parts = [
            f"{field.name}={_written(getattr(value, field.name), names, depth + 1)}"
            for field in fields(value)
        ]
        return _joined(f"{type(value).__name__}(", parts, ")", depth)
    if isinstance(value, tuple) and any(type(item) in _CLASSES.values() for item in value):
        parts = [_written(item, names, depth + 1) for item in value]
        return _joined("(", parts, ")", depth)
    return repr(value)


def _joined(start: str, parts: list[str], end: str, depth: int) -> str:
    """Return parts in one line if they fit, else filled into lines."""
    comma = "," if start == "(" and len(parts) == 1 else ""
    line = start + ", ".join(parts) + comma + end
    if "\n" not in line and len(line) + depth <= _WIDTH:
        return line
    indent = " " * (depth + 1)
    lines: list[str] = []
    for part in parts:
        fits = lines and len(lines[-1]) + len(part) + 2 <= _WIDTH
        if fits and "\n" not in lines[-1] + part:
            lines[-1] += f" {part},"
        else:
            lines.append(f"{indent}{part},")
    return "\n".join((start, *lines, " " * depth + end))


def _read(node: ast.expr, known: dict[str, Any]) -> Any:
    match node:
        case ast.Constant(value=int() | str() | None):
            return node.value
        case ast.Tuple(elts=items):
            return tuple(_read(item, known) for item in items)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(number))):
            return -number
        case ast.Name(id=name) if name in known:
            return known[name]
        case ast.Call(func=ast.Name(id=name), args=[], keywords=words) if name in _CLASSES:
            values = {str(word.arg): _read(word.value, known) for word in words}
            if name == "PeSpec":
                known_kinds = ", ".join(PE_KINDS)
                require(values.get("kind") in PE_KINDS, f"kind must be one of {known_kinds}")
                values["kind"] = PE_KINDS[values["kind"]]
            if sorted(values) != sorted(field.name for field in fields(_CLASSES[name])):
                raise _refusal(node)
            return _CLASSES[name](**values)
    raise _refusal(node)


def _refusal(node: ast.AST) -> SpecError:
    return SpecError(f"the text of a plan: line {getattr(node, 'lineno', 0)} is none of a plan's")
