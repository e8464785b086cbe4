"""Whether values fit the fields of a dataclass, by its annotations."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hwq.errors import require


def check_fields(kind: type[Any], given: Mapping[str, Any]) -> None:
    """Raise `SpecError` unless a dataclass can have these fields: names and types are compared."""
    known = {item.name: item for item in fields(kind) if item.init}
    for name in given:
        require(name in known, f"unknown field {name!r:.60}; known: {', '.join(known)}")
    hints = get_type_hints(kind)
    for name, item in known.items():
        if name in given:
            hint, value = hints[name], given[name]
            wanted = getattr(hint, "__name__", hint)
            require(_is_of(value, hint), f"{name} must be {wanted}, not {value!r:.60}")
        else:
            required = item.default is MISSING and item.default_factory is MISSING
            require(not required, f"lacks field {name!r}")


def _is_of(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type; True is no number, a whole number is a float."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin is tuple and parts[-1] is Ellipsis:
        return isinstance(value, tuple) and all(_is_of(item, parts[0]) for item in value)
    if origin in (Union, UnionType):
        return any(_is_of(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if hint in (int, float):
        allowed = (int, float) if hint is float else int
        return isinstance(value, allowed) and not isinstance(value, bool)
    return isinstance(value, origin or hint)
