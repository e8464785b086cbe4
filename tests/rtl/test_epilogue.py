import numpy as np
import pytest
from amaranth.hdl import signed

from hwq.errors import SpecError
from hwq.numerics.epilogue import EpilogueSpec
from hwq.numerics.units import UNITS
from hwq.rtl.catalog import TWINS
from hwq.rtl.epilogue import Epilogue, EpilogueCore
from hwq.testing import every, never, random_stall, run_stream

CASES = TWINS["epilogue"].verified


@pytest.mark.parametrize("label", CASES)
def test_rtl_equals_numerics(label: str, check, payloads) -> None:
    unit = CASES[label]
    check(unit, payloads(unit, 500), UNITS["epilogue"].timing())


@pytest.mark.parametrize(
    "stalls", [(never(), never()), (random_stall(0, 0.4), every(3))], ids=("flowing", "stalled")
)
@pytest.mark.parametrize("label", [label for label in CASES if CASES[label].spec.acc_bits <= 32])
def test_the_core_is_the_epilogue_of_every_product(label: str, stalls, payloads) -> None:
    """One netlist: planes, their weights and the range of codes are settings."""
    unit, core = CASES[label], EpilogueCore(signed(18))
    inputs, planes = payloads(unit, 500), len(unit.spec.plane_weights)
    accumulators = np.zeros((len(inputs), 2), np.int64)
    accumulators[:, :planes] = inputs[:, :planes]
    both = np.concatenate([accumulators, inputs[:, planes:]], axis=1)
    settings = core.settings_of(unit.spec.plane_weights, unit.spec.lo, unit.spec.hi)
    run = run_stream(core, both, *stalls, settings=settings)
    np.testing.assert_array_equal(run.outputs, unit.compute(inputs))


@pytest.mark.parametrize("weights", [(3,), (1 << 13,), (128, 180), (1, 1, 1)])
def test_other_weights_are_refused(weights: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match="plane_weights must be a power of two up to 4096 and 181"):
        EpilogueCore(signed(18)).settings_of(weights, 0, 1)


def test_a_range_that_does_not_fit_is_refused() -> None:
    with pytest.raises(SpecError, match=r"hi must be in -131072\.\.131071, not 131072"):
        EpilogueCore(signed(18)).settings_of((1,), 0, 1 << 17)


def test_stimulus_of_a_wide_range_holds_the_zero_point(payloads, check) -> None:
    unit = Epilogue(EpilogueSpec(-(1 << 17), (1 << 17) - 1))
    check(unit, payloads(unit, 500), UNITS["epilogue"].timing())


@pytest.mark.parametrize("label", CASES)
def test_stimulus_reaches_both_ends_and_much_between(label: str, payloads) -> None:
    unit = CASES[label]
    inputs = payloads(unit, 2000)
    codes = unit.compute(inputs)
    assert {unit.spec.lo, unit.spec.hi} <= set(codes.tolist())
    assert np.mean((codes > unit.spec.lo) & (codes < unit.spec.hi)) > 0.1
    assert set(inputs[:, -2].tolist()) == set(range(1, 63))
