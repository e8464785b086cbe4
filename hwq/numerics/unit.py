"""What a unit is to everything around it: its name, time, energy, and the parameters it stores."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

Action = tuple[str, int, int, int]
"""Name in the energy table, widths of both operands, number of times."""

REQUANTIZE_WORK: Final[tuple[Action, ...]] = (
    ("int_multiply", 32, 16, 1),
    ("int_add", 32, 32, 1),
    ("shift", 32, 32, 1),
    ("compare", 32, 32, 2),  # saturate at both ends
)
"""What a requantization does for one element; a uniform encoder is one, a logarithmic one less."""


@dataclass(frozen=True, slots=True)
class UnitTiming:
    """When results appear.

    Parameters
    ----------
    latency_cycles : int
        From the transfer of an item's last input to its last result, without stalls.
    interval_cycles : int
        Between two successive items in the steady state; 1 means fully pipelined.
    """

    latency_cycles: int
    interval_cycles: int

    def busy_cycles(self, items: int) -> int:
        """Time from the first item in to the last result out."""
        return items * self.interval_cycles + self.latency_cycles


class Workload(NamedTuple):
    """What one layer asks of a unit: rows of elements, and lanes that take them.

    `results` is what the whole layer has, where they come one by one.
    """

    rows: int
    length: int
    lanes: int
    results: int = 0

    @property
    def words(self) -> int:
        """Words of a row; the last one counts, full or not."""
        return ceil_div(self.length, self.lanes)


Items = Callable[[Callable[..., UnitTiming], Workload], tuple[UnitTiming, int]]
"""Timing formula and workload -> the unit's timing, and how many items it gets."""


def each_word(timing: Callable[..., UnitTiming], load: Workload) -> tuple[UnitTiming, int]:
    """Item: a word of every row."""
    return timing(), load.rows * load.words


def each_word_and_result(
    timing: Callable[..., UnitTiming], load: Workload
) -> tuple[UnitTiming, int]:
    """Item: a word of every row, and after them every result."""
    return timing(), load.rows * load.words + load.results


def each_row(timing: Callable[..., UnitTiming], load: Workload) -> tuple[UnitTiming, int]:
    """Item: a whole row."""
    return timing(length=load.length, lanes=load.lanes), load.rows


def each_column(timing: Callable[..., UnitTiming], load: Workload) -> tuple[UnitTiming, int]:
    """Item: a word of results, each of one column."""
    return timing(count=load.rows), load.words


class Field(NamedTuple):
    """One integer of a parameter word."""

    name: str
    bits: int
    signed: bool = True


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit, as graph, compiler, cost model and gateware all know it.

    Parameters
    ----------
    stem : str
        Its name: of its files, its gateware, its timing, and in reports.
    spec : type or None
        What computes it; None where elements are only moved.
    timing : callable
        Parameters of the gateware -> latency and throughput. The gateware is tested equal.
    ops : tuple of str
        Layers that it does; the first unit that does an op is its default. Parts of other units
        have none.
    work : tuple of Action
        What it does for one element, after its algorithm.
    items : callable
        How a layer's elements become items of its timing.
    result_work : tuple of Action
        What it does besides for one result, where it makes one of many elements.
    streams : bool
        Whether it can follow a matrix product element by element, without waiting for a whole row.
    cut : {"rows", "columns", "whole", "never"}
        How a layer may be cut where it does not fit the buffers: into blocks of rows, each of them
        whole, or of columns, or not at all, and then it may have no rows and columns either.
    fields : tuple of Field
        The word that it stores of one channel or token, least significant first. A spec of such a
        unit has `parameters()`, arrays by name of a field that broadcast against its results, and
        `with_parameters(arrays)`, the same spec with others.
    """

    stem: str
    spec: type[Any] | None
    timing: Callable[..., UnitTiming]
    ops: tuple[str, ...] = ()
    work: tuple[Action, ...] = ()
    items: Items = each_word
    result_work: tuple[Action, ...] = ()
    streams: bool = False
    cut: Literal["rows", "columns", "whole", "never"] = "rows"
    fields: tuple[Field, ...] = ()

    @property
    def parameter_bits(self) -> int:
        """Width of a parameter word."""
        return sum(field.bits for field in self.fields)


def reduction_stages(lanes: int) -> int:
    """Stages from a row's last word to one value: tree over the lanes, row so far, result."""
    return (lanes - 1).bit_length() + 2


def ceil_div(dividend: int, divisor: int) -> int:
    """Smallest integer not below dividend / divisor, for a positive divisor."""
    return -(-dividend // divisor)
