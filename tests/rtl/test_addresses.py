"""Loops of walkers against every address of a window, one by one."""

import itertools

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[rtl]'")

from hwq.errors import SpecError
from hwq.plan.layout import whole
from hwq.plan.window import Span, Window, packed
from hwq.rtl.addresses import Axes, beat_loops, walk
from hwq.rtl.walker import loops_layout

BITS = 12


def addresses(base: int, loops) -> list[int]:
    """Addresses of nested loops, the innermost first."""
    turns = itertools.product(*(range(count) for count, _ in reversed(loops)))
    strides = [stride for _, stride in reversed(loops)]
    return [base + sum(map(int.__mul__, turn, strides)) for turn in turns]


def walked(fields) -> list[int]:
    """Addresses that a walker gives."""
    loops = [(loop["count"], loop["stride"]) for loop in fields["loops"]]
    return [address % (1 << BITS) for address in addresses(fields["base"], loops)]


@pytest.mark.parametrize(
    ("loops", "joined"),
    [
        ([(4, 3)], [(4, 3)]),
        # one stride goes on where the other one ends
        ([(4, 3), (5, 12)], [(20, 3)]),
        ([(4, 3), (5, 12), (2, 60)], [(40, 3)]),
        ([(4, 3), (5, 13), (2, 65)], [(4, 3), (10, 13)]),
        # a single turn is no loop
        ([(1, 7), (4, 3), (1, 99), (5, 12)], [(20, 3)]),
        ([(1, 7)], []),
        # down, and around the same again
        ([(4, -3), (2, 100)], [(4, -3), (2, 100)]),
        ([(4, -3), (2, -12)], [(8, -3)]),
        ([(4, 0), (2, 0)], [(8, 0)]),
        ([(4, 3), (2, 0)], [(4, 3), (2, 0)]),
    ],
)
def test_loops_that_are_one_stride_become_one(loops, joined) -> None:
    fields = walk(loops_layout(3, BITS), 4000, loops)
    assert fields["base"] == 4000
    wanted = [{"count": n, "stride": stride % (1 << BITS)} for n, stride in joined]
    assert fields["loops"] == wanted + [{"count": 1, "stride": 0}] * (3 - len(joined))
    assert walked(fields) == [address % (1 << BITS) for address in addresses(4000, loops)]


def test_a_loop_that_would_be_too_long_stays_two() -> None:
    fields = walk(loops_layout(2, 24), 0, [(300, 1), (300, 300)])
    assert [loop["count"] for loop in fields["loops"]] == [300, 300]


def test_more_loops_than_levels_are_refused() -> None:
    loops = [(2, 1), (2, 10), (2, 100)]
    assert walked(walk(loops_layout(3, BITS), 0, loops)) == addresses(0, loops)
    message = r"addresses must have at most 2 loops, not \[\(2, 1\), \(2, 10\), \(2, 100\)\]"
    with pytest.raises(SpecError, match=message):
        walk(loops_layout(2, BITS), 0, loops)


LANES = 4
# of 3 heads, 10 rows and 8 columns; heads and columns are interleaved in memory, rows are far apart
WINDOWS = {
    "whole": packed("activation", 64, 6, (3, 10, 8)),
    "part of a row": Window(
        "activation", 64, 6, (Span(1, 2, ((3, 80),)), Span(2, 5, ((10, 8),)), Span(4, 4, ((8, 1),)))
    ),
    "last word in part": Window(
        "activation",
        0,
        5,
        (Span(0, 3, ((3, 160),)), Span(0, 10, ((10, 16),)), Span(0, 7, ((8, 1),))),
    ),
    "two strides": Window(
        "activation",
        8,
        8,
        (Span(0, 2, ((2, 640),)), Span(0, 8, ((2, 320), (4, 16))), Span(0, 8, ((8, 1),))),
    ),
    "columns of heads": Window(
        "activation", 8, 8, (Span(0, 1, ()), Span(0, 5, ((5, 64),)), Span(0, 24, ((3, 16), (8, 1))))
    ),
    "repeated": Window(
        "activation", 8, 16, (Span(0, 2, ((2, 0),)), Span(0, 5, ((5, 8),)), Span(0, 8, ((8, 1),)))
    ),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_words_are_those_of_the_elements(name: str) -> None:
    window = WINDOWS[name]
    axes = Axes(window, LANES)
    elements = window.addresses()
    words = axes.words(2)
    loops = [*words.loops, *axes.loops(1), *axes.loops(0)]
    first = elements[..., ::LANES]
    assert words.words == first.shape[-1]
    assert words.keep == (1 << (elements.shape[-1] - 1) % LANES + 1) - 1
    assert [LANES * address for address in addresses(axes.base, loops)] == first.ravel().tolist()


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("name", WINDOWS)
def test_tiles_are_blocks_of_rows(name: str, down: bool) -> None:
    window = WINDOWS[name]
    axes = Axes(window, LANES)
    inner, outer, first = axes.tiles(1, down)
    column = window.addresses()[0, :, 0]
    found = [LANES * address for address in addresses(axes.base + first, [*inner, *outer])]
    # the last tile goes on beyond the window
    assert len(found) == whole(len(column), LANES)
    order = np.arange(len(found)).reshape(-1, LANES)
    wanted = (order[:, ::-1] if down else order).ravel()
    inside = wanted < len(column)
    assert np.array(found)[inside].tolist() == column[wanted[inside]].tolist()


def test_an_axis_of_one_element_is_a_tile() -> None:
    axes = Axes(WINDOWS["columns of heads"], LANES)
    assert axes.tiles(0, down=False) == ([(LANES, 0)], [(1, 0)], 0)
    assert axes.words(0) == ([(1, 8)], 1, 1)


@pytest.mark.parametrize(
    ("window", "act", "message"),
    [
        (packed("activation", 2, 6, (4, 8)), None, "base must be a multiple of 4 bits, not 2"),
        (
            packed("activation", 0, 5, (4, 7)),
            lambda axes: axes.loops(0),
            "stride must be a multiple of 4 bits, not 35",
        ),
        (
            packed("activation", 0, 4, (4, 7)),
            lambda axes: axes.words(0),
            "elements of a word must be neighbours",
        ),
        (
            Window("activation", 0, 4, (Span(0, 12, ((2, 8), (6, 1))),)),
            lambda axes: axes.words(0),
            "6 must be whole words",
        ),
        (
            Window("activation", 0, 4, (Span(0, 12, ((2, 32), (6, 4))),)),
            lambda axes: axes.tiles(0, down=False),
            "6 must be whole tiles of 4",
        ),
    ],
)
def test_refuses_what_is_not_in_words(window, act, message) -> None:
    with pytest.raises(SpecError, match=message):
        act(Axes(window, LANES))


BEAT_BITS, QUANTUM = 32, 8
BLOCKS = {
    "one run": packed("dram", 64, 8, (24,)),
    "rows": packed("dram", 64, 8, (5, 16)),
    "rows of a matrix": Window("dram", 64, 8, (Span(1, 3, ((5, 64),)), Span(16, 20, ((64, 1),)))),
    # rows are moved whole, with what is behind them
    "rows in part": Window("dram", 0, 4, (Span(0, 5, ((5, 24),)), Span(0, 17, ((17, 1),)))),
    "along the first axis": Window("dram", 0, 8, (Span(0, 9, ((16, 1),)), Span(0, 4, ((4, 16),)))),
    "heads of rows": Window(
        "dram", 32, 8, (Span(0, 2, ((2, 256),)), Span(1, 3, ((4, 64),)), Span(8, 8, ((16, 1),)))
    ),
    "single elements": Window("dram", 32, 32, (Span(0, 3, ((3, 4),)),)),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_beats_are_those_of_whole_rows(name: str) -> None:
    window = BLOCKS[name]
    elements = window.addresses()
    row = next((a for a, span in enumerate(window.spans) if span.axis[-1][1] == 1), None)
    if row is None:
        starts, count = elements.ravel(), 1
    else:
        starts, count = np.moveaxis(elements, row, -1)[..., 0].ravel(), elements.shape[row]
    bits = whole(count, QUANTUM) * window.bits
    wanted = [start // BEAT_BITS + k for start in starts.tolist() for k in range(bits // BEAT_BITS)]
    base, loops = beat_loops(window, BEAT_BITS, QUANTUM)
    assert addresses(base, loops) == wanted


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (packed("dram", 8, 8, (5, 16)), "base must be a multiple of 32 bits, not 8"),
        (packed("dram", 0, 5, (5, 16)), "a row must be a multiple of 32 bits, not 80"),
        (
            Window("dram", 0, 8, (Span(0, 16, ((2, 32), (8, 1))),)),
            "a row of a block must be one run",
        ),
        (
            Window("dram", 0, 8, (Span(0, 3, ((3, 10),)), Span(0, 8, ((8, 1),)))),
            "stride must be a multiple of 32 bits, not 80",
        ),
    ],
)
def test_refuses_what_is_not_in_beats(window, message) -> None:
    with pytest.raises(SpecError, match=message):
        beat_loops(window, BEAT_BITS, QUANTUM)
