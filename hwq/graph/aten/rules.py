"""How a call of an ATen overload reaches the function that translates it.

A rule is a function of the builder and of the arguments that it knows, by their names in the
overload's schema ("x" for `self` and `input`). An argument that a rule does not know is refused
unless it has its default: nothing that a caller asked for is ever left out.
"""

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any, cast

from torch import fx

from hwq.graph.aten.builder import Builder, Refused

Rule = Callable[..., Any]

# where and how a tensor lies in memory says nothing of its values; types are checked by the import
PLACEMENT = frozenset(
    {"memory_format", "non_blocking", "copy", "device", "layout", "pin_memory", "dtype"}
)
_X = frozenset({"self", "input"})


def arguments(call: fx.Node) -> dict[str, tuple[Any, Any]]:
    """Return what a call passes, and the default, of every argument of its overload's schema."""
    declared = cast(Any, call.target)._schema.arguments
    bound = dict(zip((argument.name for argument in declared), call.args, strict=False))
    bound |= call.kwargs
    return {
        argument.name: (bound.get(argument.name, argument.default_value), argument.default_value)
        for argument in declared
    }


def translate(builder: Builder, rule: Rule, given: Mapping[str, tuple[Any, Any]]) -> Any:
    """Call a rule with the arguments that it knows.

    Parameters
    ----------
    builder : Builder
        What the rule appends to.
    rule : callable
        See above.
    given : Mapping
        Name in the schema -> value and default; the tensors among the values are the builder's.

    Raises
    ------
    Refused
        For an argument that the rule does not know and that is not its default.
    """
    known = signature(rule).parameters
    takes_all = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in known.values())
    passed = {}
    for name, (value, default) in given.items():
        name = "x" if name in _X else name
        if name in known or takes_all:
            passed[name] = value
        elif name not in PLACEMENT and value != default:
            raise Refused(f"its argument {name}={value!r} has no counterpart in the graph")
    return rule(builder, **passed)
