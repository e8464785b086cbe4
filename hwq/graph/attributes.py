"""What an attribute of a node may be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwq.errors import GraphError

MAX_SIDE = 1 << 24
"""Largest dimension, axis and count."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Values that an attribute may have.

    Parameters
    ----------
    text : str
        What they are, for a sentence: "axis must be ...".
    holds : callable
        object -> whether it is one of them; never raises.
    """

    text: str
    holds: Callable[[Any], bool]


def is_whole(value: object, least: int, most: int) -> bool:
    """Whether a value is a whole number in least..most; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        return False
    return bool(least <= value <= most)


def whole(least: int, most: int) -> Kind:
    """Return the kind of the whole numbers least..most."""
    return Kind(f"a whole number in {least}..{most}", lambda value: is_whole(value, least, most))


def number(least: float, most: float) -> Kind:
    """Return the kind of the finite numbers least..most."""

    def holds(value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return least <= value <= most

    return Kind(f"a number in {least:g}..{most:g}", holds)


def one_of(*words: object) -> Kind:
    """Return the kind of a few values."""
    listed = ", ".join(map(repr, words))
    return Kind(
        f"one of {listed}", lambda value: any(type(value) is type(w) and value == w for w in words)
    )


def several(least: int, most: int, count: int | None = None) -> Kind:
    """Return the kind of tuples of whole numbers least..most."""

    def holds(value: object) -> bool:
        return (
            isinstance(value, tuple)
            and (count is None or len(value) == count)
            and all(is_whole(item, least, most) for item in value)
        )

    length = "" if count is None else f"{count} "
    return Kind(f"{length}whole numbers in {least}..{most}", holds)


def instance(name: str) -> Kind:
    """Return the kind of the objects whose class, or a class that it extends, has this name."""
    return Kind(
        f"a {name}", lambda value: any(kind.__name__ == name for kind in type(value).__mro__)
    )


ANYTHING = Kind("anything", lambda value: True)
TRUTH = one_of(False, True)
SIDE = whole(0, MAX_SIDE)
SHAPE = several(1, MAX_SIDE)


def check_attributes(attrs: Mapping[str, Any], kinds: Mapping[str, Kind]) -> None:
    """Raise `GraphError` unless every attribute of `kinds` is there and of its kind."""
    missing = [name for name in sorted(kinds) if name not in attrs]
    if missing:
        raise GraphError(f"lacks attribute {', '.join(missing)}")
    for name, kind in kinds.items():
        if not kind.holds(attrs[name]):
            raise GraphError(f"{name} must be {kind.text}, not {attrs[name]!r:.60}")
