"""From the windows of a plan to the loops that an accelerator's walkers follow."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from amaranth.lib import data

from hwq.compiler.view import Level, View, joined
from hwq.errors import require
from hwq.plan.layout import Grid, whole
from hwq.plan.window import Span, Window


class Words(NamedTuple):
    """The words of one axis along which elements are neighbours.

    Parameters
    ----------
    loops : list of (count, stride)
        The innermost first; strides in granules.
    words : int
    keep : int
        Which elements of the last word count.
    """

    loops: list[Level]
    words: int
    keep: int


class Axes:
    """The axes of a window in granules: multiples of `lanes` bits.

    Parameters
    ----------
    window : Window
    lanes : int
        Elements of a word.

    Raises
    ------
    SpecError
        If words do not begin at granules, or elements do not lie in nested strides.
    """

    def __init__(self, window: Window, lanes: int) -> None:
        self.bits, self._lanes = window.bits, lanes
        self.levels: list[list[Level]] = []
        offset = 0
        for span in window.spans:
            part = View(0, (span.axis,)).slice(0, span.start, span.start + span.count)
            offset += part.offset
            self.levels.append(list(reversed(part.axes[0])))
        self.base = self.granules(window.base + offset * window.bits, "base")

    def granules(self, bits: int, what: str = "stride") -> int:
        """Return a number of bits in granules."""
        lanes = self._lanes
        require(bits % lanes == 0, f"{what} must be a multiple of {lanes} bits, not {bits}")
        return bits // lanes

    def is_row(self, axis: int) -> bool:
        """Whether elements along an axis are neighbours."""
        levels = self.levels[axis]
        return bool(levels) and levels[0][1] == 1

    def loops(self, axis: int) -> list[Level]:
        """Return the loops over the elements of an axis, the innermost first."""
        return [(n, self.granules(stride * self.bits)) for n, stride in self.levels[axis]]

    def words(self, axis: int) -> Words:
        """Return the loops over the words of an axis whose elements are neighbours."""
        levels, lanes = self.levels[axis], self._lanes
        require(not levels or self.is_row(axis), "elements of a word must be neighbours")
        elements, *outer = levels or [(1, 1)]
        count = -(-elements[0] // lanes)
        require(not outer or elements[0] % lanes == 0, f"{elements[0]} must be whole words")
        loops = [(n, self.granules(stride * self.bits)) for n, stride in outer]
        for n, _ in outer:
            count *= n
        rest = elements[0] % lanes or lanes
        return Words([(-(-elements[0] // lanes), self.bits), *loops], count, (1 << rest) - 1)

    def tiles(self, axis: int, down: bool) -> tuple[list[Level], list[Level], int]:
        """Return the loops over the elements of a tile of `lanes`, those over tiles, and the first.

        `down` begins with a tile's last element.
        """
        inner, *outer = self.loops(axis) or [(1, 0)]
        lanes = self._lanes
        n, stride = inner
        require(not outer or n % lanes == 0, f"{n} must be whole tiles of {lanes}")
        tiles = [(-(-n // lanes), lanes * stride), *outer]
        if down:
            return [(lanes, -stride)], tiles, (lanes - 1) * stride
        return [(lanes, stride)], tiles, 0


def pieces(window: Window, bits: int) -> Window:
    """Return the elements of a window in pieces of so many bits, the lowest first."""
    ratio = window.bits // bits
    require(ratio * bits == window.bits, f"{window.bits} bits are no pieces of {bits}")
    *spans, last = (
        Span(span.start, span.count, tuple((n, stride * ratio) for n, stride in span.axis))
        for span in window.spans
    )
    axis = joined([*last.axis, (ratio, 1)])
    last = Span(last.start * ratio, last.count * ratio, axis)
    return Window(window.memory, window.base, bits, (*spans, last))


def walk(layout: data.StructLayout, base: int, loops: Iterable[Level]) -> dict[str, Any]:
    """Return fields of `walker.loops_layout`; loops that are one stride become one.

    Raises
    ------
    SpecError
        If there are more loops than the layout has levels.
    """
    levels, bits = layout["loops"].shape.length, layout["base"].shape
    most = (1 << layout["loops"].shape.elem_shape["count"].shape) - 1
    joined: list[Level] = []
    for count, stride in loops:
        if count == 1:
            continue
        inner, step = joined[-1] if joined else (0, 0)
        if joined and stride == inner * step and inner * count <= most:
            joined[-1] = inner * count, step
        else:
            joined.append((count, stride))
    require(len(joined) <= levels, f"addresses must have at most {levels} loops, not {joined}")
    joined += [(1, 0)] * (levels - len(joined))
    rows = [{"count": count, "stride": stride % (1 << bits)} for count, stride in joined]
    return {"base": base % (1 << bits), "loops": rows}


def operand_axes(window: Window | None, lanes: int, *memories: str) -> Axes:
    """Return the axes of a window in one of these memories."""
    require(window is not None, "an operand must be stored")
    assert window is not None
    require(
        window.memory in memories,
        f"an operand must be in {' or '.join(memories)}, not {window.memory}",
    )
    return Axes(window, lanes)


def operand_fields(
    layout: data.StructLayout,
    base: int,
    loops: Sequence[Level],
    bits: int,
    is_signed: bool = False,
) -> dict[str, Any]:
    """Return the fields of `Buffer.operand_layout`."""
    return {"walk": walk(layout["walk"].shape, base, loops), "bits": bits, "signed": is_signed}


def table_word(window: Window | None, grid: Grid) -> int:
    """Return the word of the parameter memory in which a table begins."""
    require(window is not None, "a table must be stored")
    assert window is not None
    require(window.memory == "parameter", f"a table must not be in {window.memory}")
    word, last = grid.lanes * grid.parameter_bits, window.spans[-1]
    require(window.bits == grid.parameter_bits, "a table of another width")
    # one element for all channels is where it is
    start = last.start * any(stride for _, stride in last.axis)
    aligned = window.base % word == 0 and start % grid.lanes == 0
    require(aligned, "a table begins at a word")
    return window.base // word + start // grid.lanes


def beat_loops(window: Window, beat_bits: int, quantum: int) -> tuple[int, list[Level]]:
    """Return the first beat of a block, and the loops over its beats, the innermost first.

    Parameters
    ----------
    window : Window
        Rows of it begin at beats.
    beat_bits : int
    quantum : int
        Rows are moved in multiples of so many elements.
    """
    axes = Axes(window, beat_bits)
    rows = [axis for axis in range(len(window.spans)) if axes.is_row(axis)]
    row = rows[-1] if rows else None
    loops: list[Level] = []
    count = 1
    if row is not None:
        levels = axes.levels[row]
        require(len(levels) == 1, "a row of a block must be one run")
        count = levels[0][0]
    run = axes.granules(whole(count, quantum) * window.bits, "a row")
    loops.append((run, 1))
    for axis in reversed(range(len(window.spans))):
        if axis != row:
            loops += axes.loops(axis)
    return axes.base, loops
