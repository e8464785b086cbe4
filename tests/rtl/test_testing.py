from itertools import islice

import numpy as np
import pytest
from amaranth.hdl import Module, Signal

from hwq.errors import SpecError
from hwq.numerics.log2 import Log2Spec
from hwq.rtl.log2 import Log2
from hwq.testing import every, exhaustive_or_corners, never, random_stall, run_stream


def test_few_values_are_all_given() -> None:
    assert exhaustive_or_corners(3, signed=True).tolist() == list(range(-4, 4))
    assert exhaustive_or_corners(3, signed=False).tolist() == list(range(8))
    assert exhaustive_or_corners(16, signed=False).size == 1 << 16


def test_many_values_are_corners_and_seeded_random() -> None:
    values = exhaustive_or_corners(32, signed=True, limit=500, seed=3)
    assert values.size == 500
    assert {-(1 << 31), (1 << 31) - 1, 0, -1, 1, 255, 256, 257, -256} <= set(values.tolist())
    assert np.array_equal(values, exhaustive_or_corners(32, signed=True, limit=500, seed=3))
    assert not np.array_equal(values, exhaustive_or_corners(32, signed=True, limit=500, seed=4))
    assert exhaustive_or_corners(20, signed=False, limit=200).min() == 0


@pytest.mark.parametrize(
    ("bits", "limit", "message"),
    [(0, 9, "bits must be in 1..62, not 0"), (40, 9, "limit must be at least [0-9]+, not 9")],
)
def test_operand_errors(bits: int, limit: int, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        exhaustive_or_corners(bits, signed=True, limit=limit)


def test_stall_patterns_start_over_on_each_use() -> None:
    assert list(islice(never(), 3)) == [True] * 3
    assert list(islice(every(3), 6)) == [True, True, False] * 2
    stall = random_stall(5, 0.5)
    assert list(islice(stall, 50)) == list(islice(stall, 50))
    assert 10 < sum(islice(stall, 50)) < 40
    assert str(stall) == "random_stall(5, 0.5)"


@pytest.mark.parametrize("wrong", [lambda: every(1), lambda: random_stall(0, 1.0)])
def test_stall_errors(wrong) -> None:
    with pytest.raises(SpecError, match="must be"):
        wrong()


class Broken(Log2):
    def __init__(self, fault: str) -> None:
        self.fault = fault
        super().__init__(Log2Spec())

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = Signal(4)
        m.d.sync += count.eq(count + 1)
        m.d.comb += [self.i.ready.eq(1), self.o.valid.eq(self.fault != "silent")]
        if self.fault == "changes":
            m.d.comb += self.o.payload.eq(count)
        return m


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("silent", "the unit must give 5 outputs, not 0"),
        ("repeats", "the unit must not repeat or invent outputs"),
        ("changes", "o must not change before its transfer"),
    ],
)
def test_a_broken_unit_is_named(fault: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        run_stream(Broken(fault), np.arange(5), sink=every(2))


def test_rejects_half_a_result() -> None:
    unit = Log2(Log2Spec())
    unit.inputs_per_result = 2
    with pytest.raises(SpecError, match="inputs must come in multiples of 2, not 3"):
        run_stream(unit, np.arange(3))


def test_an_interval_needs_four_results() -> None:
    unit = Log2(Log2Spec())
    with pytest.raises(SpecError, match="there must be at least 4 results, not 3"):
        run_stream(unit, np.arange(3)).interval_cycles(unit)


def test_an_unsteady_interval_is_named() -> None:
    unit = Log2(Log2Spec())
    run = run_stream(unit, np.arange(60), sink=every(3))
    with pytest.raises(SpecError, match=r"the interval must be steady, not \[1, 2\]"):
        run.interval_cycles(unit)
