"""A cell library in the Liberty format, as far as timing needs it."""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Self

_TOKEN: Final = re.compile(r'"[^"]*"|[(){}:;,]|[^\s(){}:;,"\\]+')
_COMMENT: Final = re.compile(r"/\*.*?\*/", re.DOTALL)


@dataclass
class Group:
    """A group of the file: `kind (name) { attributes; groups }`.

    Parameters
    ----------
    kind, name : str
    values : mapping of str to list of str
        What attributes have behind the colon, or in brackets, without quotes.
    groups : list of Group
    """

    kind: str
    name: str
    values: dict[str, list[str]] = field(default_factory=dict)
    groups: "list[Group]" = field(default_factory=list)

    def of(self, kind: str) -> "Iterator[Group]":
        """Yield the groups of a kind."""
        return (group for group in self.groups if group.kind == kind)

    def value(self, name: str, default: str = "") -> str:
        """Return a simple attribute."""
        return self.values.get(name, [default])[0]


def read(text: str) -> Group:
    """Return the library of a file."""
    tokens = (match[0].strip('"') for match in _TOKEN.finditer(_COMMENT.sub("", text)))
    whole = Group("", "")
    _fill(whole, tokens)
    return whole.groups[0]


def _fill(group: Group, tokens: Iterator[str]) -> None:
    """Read what is in a group, up to its bracket."""
    for name in tokens:
        if name == "}":
            return
        if name == ";":
            continue
        mark, words = next(tokens), []
        for word in tokens:
            if word in (";", ")"):
                break
            words += [word] * (word != ",")
        group.values[name] = words
        if mark == "(" and (behind := next(tokens)) == "{":
            inner = Group(name, words[0] if words else "")
            group.groups.append(inner)
            _fill(inner, tokens)
        elif mark == "(":
            assert behind == ";", f"{name} ends with {behind}"


@dataclass(frozen=True, slots=True)
class Table:
    """Values over two axes; beyond an axis the lines at its end go on.

    Parameters
    ----------
    rows, columns : sequence of float
        The axes, ascending.
    values : sequence of sequence of float
    """

    rows: Sequence[float]
    columns: Sequence[float]
    values: Sequence[Sequence[float]]

    @classmethod
    def of(cls, group: Group) -> Self:
        """Return the table of a group."""
        rows, columns = (_numbers(group.values[f"index_{k}"]) for k in (1, 2))
        numbers = _numbers(group.values["values"])
        width = len(columns)
        return cls(rows, columns, [numbers[k : k + width] for k in range(0, len(numbers), width)])

    def at(self, row: float, column: float) -> float:
        """Return the value between the four around a place."""
        i, r = _place(self.rows, row)
        j, c = _place(self.columns, column)
        lower, upper = self.values[i], self.values[i + 1]
        left = lower[j] + r * (upper[j] - lower[j])
        right = lower[j + 1] + r * (upper[j + 1] - lower[j + 1])
        return left + c * (right - left)


def _numbers(words: Sequence[str]) -> list[float]:
    return [float(number) for word in words for number in word.split(",")]


def _place(axis: Sequence[float], at: float) -> tuple[int, float]:
    """Return the interval, and where in it."""
    k = min(max(bisect_right(axis, at) - 1, 0), len(axis) - 2)
    return k, (at - axis[k]) / (axis[k + 1] - axis[k])


@dataclass(frozen=True, slots=True)
class Arc:
    """How a change of an input becomes one of an output.

    Parameters
    ----------
    pin : str
        The input.
    senses : tuple of (int, int)
        Edges of input and output that belong together; 1 rises, 0 falls.
    delays, transitions : (Table, Table)
        Over load in pF and transition of the input in ns: where the output falls, and rises.
    """

    pin: str
    senses: tuple[tuple[int, int], ...]
    delays: tuple[Table, Table]
    transitions: tuple[Table, Table]


_SENSES: Final = {"positive_unate": ((0, 0), (1, 1)), "negative_unate": ((0, 1), (1, 0))}
_CLOCK: Final = ((1, 0), (1, 1))
_ANY: Final = ((0, 0), (0, 1), (1, 0), (1, 1))


@dataclass(frozen=True, slots=True)
class Cell:
    """What timing needs of a cell.

    Parameters
    ----------
    loads : mapping of str to float
        Input pin -> pF.
    arcs : mapping of str to tuple of Arc
        Output pin -> the arcs that end there; of a register that of its clock.
    setups : mapping of str to (Table, Table)
        Input pin of a register -> ns before the clock, for a fall and a rise, over the transitions
        of clock and input.
    """

    loads: Mapping[str, float]
    arcs: Mapping[str, tuple[Arc, ...]]
    setups: Mapping[str, tuple[Table, Table]]


@cache
def read_cells(text: str) -> Mapping[str, Cell]:
    """Return the cells of a library in ns and pF, by name."""
    return {group.name: _cell(group) for group in read(text).of("cell")}


def _cell(group: Group) -> Cell:
    loads, setups = {}, {}
    arcs: dict[str, list[Arc]] = defaultdict(list)
    for pin in group.of("pin"):
        if pin.value("direction") == "input":
            loads[pin.name] = float(pin.value("capacitance"))
        for timing in pin.of("timing"):
            kind = timing.value("timing_type", "combinational")
            tables = {table.kind: table for table in timing.groups}
            if kind == "setup_rising":
                setups[pin.name] = _pair(tables, "{}_constraint")
            elif kind in ("combinational", "rising_edge"):
                senses = _SENSES.get(timing.value("timing_sense"), _ANY)
                senses = _CLOCK if kind == "rising_edge" else senses
                related = timing.value("related_pin")
                delays, changes = _pair(tables, "cell_{}"), _pair(tables, "{}_transition")
                arcs[pin.name].append(Arc(related, senses, delays, changes))
    return Cell(loads, {name: tuple(found) for name, found in arcs.items()}, setups)


def _pair(tables: Mapping[str, Group], name: str) -> tuple[Table, Table]:
    return Table.of(tables[name.format("fall")]), Table.of(tables[name.format("rise")])
