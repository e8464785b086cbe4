"""A design as kinds of modules: equal ones are one kind, made into logic once and counted."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Final

_MODULE: Final = re.compile(r"^(?:attribute [^\n]*\n)*module (\S+)\n(.*?)^end\n", re.M | re.S)
_CELL: Final = re.compile(r"^(\s*cell )(\S+)", re.M)
_NAME: Final = re.compile(r"\\\S+")
_BRACKETS: Final = str.maketrans("[]", "<>")

Cells = Mapping[str, Mapping[str, int]]
"""Module -> type of cell, or name of module -> how many of them it has itself."""


def readable(text: str) -> str:
    """Return RTLIL without brackets in names: abc takes "name[0]" for a bit of a port."""
    return _NAME.sub(lambda match: match[0].translate(_BRACKETS), text)


def merged(text: str) -> str:
    """Return RTLIL in which every cell has the first of all modules that are equal to its own.

    Amaranth writes a module for every instance. Merging one level makes modules above it equal.
    """
    same = _equal(text)
    while same:
        text = _MODULE.sub(partial(_kept, same), text)
        text = _CELL.sub(partial(_renamed, same), text)
        same = _equal(text)
    return text


def _equal(text: str) -> dict[str, str]:
    """Return the name of every module that is equal to one before it, and the name of that."""
    first: dict[str, str] = {}
    named = [(name, first.setdefault(body, name)) for name, body in _MODULE.findall(text)]
    return {name: kept for name, kept in named if name != kept}


def _kept(same: Mapping[str, str], module: re.Match[str]) -> str:
    return "" if module[1] in same else module[0]


def _renamed(same: Mapping[str, str], cell: re.Match[str]) -> str:
    return cell[1] + same.get(cell[2], cell[2])


def instances(cells: Cells, top: str) -> dict[str, int]:
    """Return how many of each module there are in `top`, itself included, from the top down."""
    found = dict.fromkeys(_downwards(cells, top), 0)
    found[top] = 1
    for module, count in found.items():
        for kind, times in cells[module].items():
            if kind in cells:
                found[kind] += count * times
    return found


def _downwards(cells: Cells, top: str) -> list[str]:
    """Return the modules in an order in which every one comes behind all that hold it."""
    done: dict[str, None] = {}

    def visit(module: str) -> None:
        for kind in cells[module]:
            if kind in cells and kind not in done:
                visit(kind)
        done[module] = None

    visit(top)
    return list(done)[::-1]
