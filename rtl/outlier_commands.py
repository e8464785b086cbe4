"""Fields of commands of codes without outliers, of their lists, and of products that join them."""

from typing import Any

from hwq.compiler.program import MatmulLayer
from hwq.errors import require
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.outlier_split import SIDE, OutlierSplitSpec
from hwq.numerics.rounding import half_up_shift
from hwq.numerics.uniform import UniformSpec
from hwq.numerics.unit import ceil_div
from hwq.numerics.units import UNITS
from hwq.plan.commands import Multiply
from hwq.plan.timing import PASS_CYCLES
from hwq.rtl.addresses import Axes, walk
from hwq.rtl.outlier_entries import ELEMENT_BITS, ENTRY
from hwq.rtl.outlier_joiner import OutlierJoiner

Fields = dict[str, Any]
_LARGEST = -FixedPoint(ELEMENT_BITS, 0).min
"""Of a magnitude that may be an outlier."""


def split_fields(spec: OutlierSplitSpec, has_table: bool) -> Fields:
    """Return which elements of a pass are outliers, and whether its tokens have a table."""
    require(has_table or spec.mult.size == 1, "multipliers of tokens must be in a table")
    return {"splits": 1, "tokens": has_table, "threshold": min(spec.threshold, _LARGEST)}


def inliers(spec: OutlierSplitSpec) -> UniformSpec:
    """Return what encodes the rest, with the multiplier of the first token."""
    return UniformSpec(int(spec.mult[0]), int(spec.shift[0]), spec.zero_point, spec.bits)


def list_settings(spec: OutlierSplitSpec, room: int, words: int) -> Fields:
    """Return the settings of a pass over so many words that makes a list.

    Raises
    ------
    SpecError
        If an entry could be like one of those behind the last outlier.
    """
    if spec.threshold < _LARGEST:
        pairs = zip(spec.mult.tolist(), spec.shift.tolist(), strict=True)
        least = min(half_up_shift((spec.threshold + 1) * mult, shift) for mult, shift in pairs)
        require(least > 0, f"an outlier above {spec.threshold} must not be rounded to 0")
    cycles = words + room + UNITS["outlier_list"].timing().latency_cycles + PASS_CYCLES
    return {
        "multiplier": {"mult": int(spec.mult[0]), "shift": int(spec.shift[0])},
        "room": room,
        "last_cycle": cycles - 1,
    }


def joiner_fields(
    joiner: OutlierJoiner, product: Multiply, matmul: MatmulLayer, entries: Axes
) -> Fields:
    """Return the command of what adds up outliers while a product is made.

    Raises
    ------
    SpecError
        If its sums could be late, or too large.
    """
    lanes, b = joiner.lanes, Axes(product.b, joiner.lanes)
    _, rows, k = (span.count for span in product.a.spans)
    room, tiles = room_of(entries), ceil_div(product.b.spans[2].count, lanes)
    folds, turn = ceil_div(k, lanes), max(rows + matmul.column_sums, lanes)
    # sums of a tile are there before its last fold of K, and no tile lasts longer than its folds
    most = min((folds - 1) * turn, folds * turn - rows)
    require(
        room <= most,
        f"{folds} folds of {turn} cycles hide a list with room for {most} outliers, not {room}",
    )
    largest = min(k, room) << (SIDE.bits - 1 + matmul.pe.b_bits - 1)
    require(largest < 1 << 31, f"outliers of a token must add less than 2**31, not {largest}")
    rows_of_b, words_of_b = b.loops(1), b.words(2).loops
    require(
        len(rows_of_b) <= 1 and len(words_of_b) == 1 and not b.is_row(1),
        "rows of operand b must be one run each, equally far apart",
    )
    _, *words = entry_loops(room, lanes)
    loops = [*words, (tiles, 0)]
    return {
        "list": walk(joiner.command_shape["list"].shape, entries.base, loops),
        "room": room,
        "rows": rows,
        "first": product.origin[0],
        "tiles": tiles,
        "ones": matmul.column_sums,
        "weights": b.base,
        "pitch": rows_of_b[0][1] if rows_of_b else 0,
        "bits": b.bits,
    }


def entry_loops(room: int, lanes: int) -> list[tuple[int, int]]:
    """Return the loops over the entries of a word of a list, and over its words."""
    each = lanes * ELEMENT_BITS // ENTRY.size
    return [(each, 0), (ceil_div(room, each), ELEMENT_BITS)]


def room_of(entries: Axes) -> int:
    """Return the entries of a list, which lie side by side."""
    require(entries.bits == ENTRY.size, f"an entry must have {ENTRY.size} bits, not {entries.bits}")
    (levels,) = entries.levels
    require(len(levels) == 1 and entries.is_row(0), "a list must be one run")
    return levels[0][0]
