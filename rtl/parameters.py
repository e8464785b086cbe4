# amaranth: UnusedElaboratable=no
"""What gateware was made with, as text: for headers and tables, and to tell kinds apart."""

import hashlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from inspect import signature
from typing import Any, Final

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import wiring

from hwq.numerics.pe import PeKind

_FEW: Final = 4  # as many numbers are written out


def parameters(component: wiring.Component, *, digests: bool = False) -> str:
    """Return the arguments of a component's constructor, as words name=value.

    Many numbers are given by their shape, [4x192]; with `digests` also by a hash,
    [4x192]#3fa2c10b77de, so that components of one class with the same words are alike.
    """
    return " ".join(_words("", component, digests))


def _words(path: str, component: Any, digests: bool) -> Iterator[str]:
    for name in signature(type(component)).parameters:
        if name == "spec":
            yield from _fields(path, component.spec, digests)
        elif name == "x":
            yield from _fields(f"{path}.x", Shape.cast(component.i.payload.shape()), digests)
        elif name != "runs":  # of a bench, not of the gateware
            yield from _fields(f"{path}.{name}", getattr(component, name), digests)


def _fields(path: str, value: Any, digests: bool) -> Iterator[str]:
    if isinstance(value, wiring.Component):
        yield f"{path[1:]}={type(value).__name__}"
        yield from _words(path, value, digests)
    elif isinstance(value, tuple) and all(isinstance(part, wiring.Component) for part in value):
        for number, part in enumerate(value):
            yield from _fields(f"{path}_{number}", part, digests)
    elif isinstance(value, PeKind):
        yield f"{path[1:]}={value.name}"
    elif callable(value):  # makes a component
        yield from _fields(path, value(), digests)
    elif is_dataclass(value):
        for field in fields(value):
            inner = path if field.name == "spec" else f"{path}.{field.name}"
            yield from _fields(inner, getattr(value, field.name), digests)
    else:
        yield f"{path[1:]}={_text(value, digests)}".replace(", ", ",")


def _text(value: Any, digests: bool) -> str:
    """Return a number, a word, a shape of bits, or numbers: all of them if they are few."""
    array = isinstance(value, np.ndarray)
    if np.size(value) <= _FEW and (digests or not array):
        return str(value.tolist() if array else value)
    shape = "x".join(map(str, np.shape(value)))
    numbers = str(np.asarray(value).tolist()).encode()
    return f"[{shape}]" + (f"#{hashlib.sha256(numbers).hexdigest()[:12]}" if digests else "")
