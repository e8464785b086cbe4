"""Commands of lists and joins: what fits, and what is refused with the numbers."""

import numpy as np
import pytest

from hwq.compiler.operand import Operand
from hwq.compiler.program import MatmulLayer
from hwq.errors import SpecError
from hwq.numerics.outlier_split import OutlierSplitSpec
from hwq.numerics.pe import MULTIPLY, PeSpec
from hwq.numerics.units import UNITS
from hwq.plan.commands import Multiply
from hwq.plan.timing import PASS_CYCLES
from hwq.plan.window import Window, packed
from hwq.rtl.addresses import Axes
from hwq.rtl.buffer import Buffer
from hwq.rtl.outlier_commands import entry_loops, joiner_fields, list_settings, split_fields
from hwq.rtl.outlier_joiner import OutlierJoiner

LANES = 8
ROWS, K, N = 17, 32, 24


def split(threshold: int, shift: int = 16) -> OutlierSplitSpec:
    tokens = np.array([40000, 50000]), np.array([shift, shift])
    return OutlierSplitSpec(*tokens, 7, threshold, 4)


def product(k: int = K, bits: int = 4) -> MatmulLayer:
    pe = PeSpec(MULTIPLY, 4, bits)
    operands = Operand("a", ROWS * k, 4), Operand("b", k * N, bits, True)
    return MatmulLayer("fc", ROWS, N, k, 1, pe, *operands, Operand("y", ROWS * N, 32), True, 7)


def entries(room: int) -> Axes:
    return Axes(packed("activation", 640, 64, (room,)), LANES)


def command(k: int = K, bits: int = 4, first: int = 5) -> Multiply:
    def window(memory: str, width: int, shape: tuple[int, ...]) -> Window:
        return packed(memory, 1024, width, shape)

    a, b = window("activation", 4, (1, ROWS, k)), window("weight", bits, (1, k, N))
    sums = window("output", 32, (ROWS + 1, N, 1))
    return Multiply(0, (first, 0), a, b, sums, True, True, None)


def joiner() -> OutlierJoiner:
    buffers = (Buffer(4096, 128, LANES, most, 1, 1) for most in (16, 8))
    return OutlierJoiner(*buffers, 9)


def test_a_join_reads_list_and_weights_where_they_are() -> None:
    fields = joiner_fields(joiner(), command(), product(), entries(38))
    assert fields["list"]["base"] == 640 // LANES
    assert fields["list"]["loops"][:2] == [
        {"count": 19, "stride": 16},  # two entries a word
        {"count": 3, "stride": 0},
    ]
    del fields["list"]
    assert fields == {
        "room": 38,
        "rows": ROWS,
        "first": 5,
        "tiles": 3,
        "ones": True,
        "weights": 1024 // LANES,
        "pitch": N * 4 // LANES,
        "bits": 4,
    }


def test_what_would_be_late_is_refused() -> None:
    # four folds of 18 cycles: 54 ahead of the last one, 72 less 17 rows for a tile
    assert joiner_fields(joiner(), command(), product(), entries(54))["room"] == 54
    with pytest.raises(SpecError, match=r"4 folds of 18 cycles hide .* for 54 outliers, not 55"):
        joiner_fields(joiner(), command(), product(), entries(55))
    with pytest.raises(SpecError, match=r"1 folds of 18 cycles hide .* for 0 outliers, not 2"):
        joiner_fields(joiner(), command(8), product(8), entries(2))


def test_sums_that_32_bits_do_not_hold_are_refused() -> None:
    k = 1024
    assert joiner_fields(joiner(), command(k, 8), product(k, 8), entries(511))["room"] == 511
    with pytest.raises(SpecError, match="must add less than 2\\*\\*31, not 2147483648"):
        joiner_fields(joiner(), command(k, 8), product(k, 8), entries(512))


def test_a_list_lasts_as_long_as_its_words_and_its_room() -> None:
    latency = UNITS["outlier_list"].timing().latency_cycles
    settings = list_settings(split(100), 38, 68)
    assert settings["last_cycle"] == 68 + 38 + latency + PASS_CYCLES - 1
    assert entry_loops(38, LANES) == [(2, 0), (19, 16)]
    assert entry_loops(3, 16) == [(4, 0), (1, 16)]


def test_an_outlier_that_is_rounded_to_0_would_end_the_list() -> None:
    with pytest.raises(SpecError, match="an outlier above 100 must not be rounded to 0"):
        list_settings(split(100, 24), 38, 68)
    assert list_settings(split(1 << 31, 24), 38, 68)["room"] == 38


def test_no_magnitude_is_above_a_threshold_of_16_bits() -> None:
    assert split_fields(split(1 << 31), True)["threshold"] == 1 << 15
    assert split_fields(split(100), True) == {"splits": 1, "tokens": True, "threshold": 100}
    with pytest.raises(SpecError, match="multipliers of tokens must be in a table"):
        split_fields(split(100), False)
