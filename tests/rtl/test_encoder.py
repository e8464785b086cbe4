"""One netlist that encodes for every quantizer equals the numerics of each."""

import re

import numpy as np
import pytest
from amaranth.hdl import Shape
from numpy.testing import assert_array_equal

from hwq.arch.vector_timing import ENCODER_CYCLES
from hwq.errors import SpecError
from hwq.numerics.shift_log2 import ShiftLog2Spec
from hwq.numerics.shift_uniform_log2 import ShiftUniformLog2Spec
from hwq.numerics.twin_uniform import TwinUniformSpec
from hwq.numerics.uniform import UniformSpec
from hwq.rtl.catalog import TWINS
from hwq.rtl.encoder import Encoder, encoder_settings
from hwq.rtl.payload import ends
from hwq.rtl.stimulus import values
from hwq.testing import every, never, random_stall, run_stream

STEMS = ("uniform", "twin_uniform", "log2", "shift_log2", "shift_uniform_log2")
UNITS = {
    f"{stem}_{label}": unit
    for stem in STEMS
    for label, unit in TWINS[stem].verified.items()
    if stem != "uniform" or unit.spec.bits <= 8
}


def inputs_of(unit, count: int) -> np.ndarray:
    """Corners and random numbers of what the unit by itself takes, within 24 bits."""
    least, most = ends(Shape.cast(unit.i.payload.shape()))
    least, most = max(least, -(1 << 23)), min(most, (1 << 23) - 1)
    return values(np.random.default_rng(0), least, most, count)


@pytest.mark.parametrize(
    "stalls", [(never(), never()), (random_stall(0, 0.4), every(3))], ids=("flowing", "stalled")
)
@pytest.mark.parametrize("name", UNITS)
def test_codes_are_those_of_every_quantizer(name: str, stalls) -> None:
    unit = UNITS[name]
    inputs = inputs_of(unit, 600)
    run = run_stream(Encoder(), inputs, *stalls, settings=encoder_settings(unit.spec))
    assert_array_equal(run.outputs, unit.compute(inputs))


@pytest.mark.parametrize(
    ("stem", "cycles"),
    # that of tokens is tested with what is beside it
    [(stem, cycles) for stem, cycles in ENCODER_CYCLES.items() if stem != "outlier_split"],
)
def test_codes_take_the_cycles_that_the_cost_model_takes(stem: str, cycles: int) -> None:
    unit = next(unit for name, unit in UNITS.items() if name.startswith(stem))
    encoder = Encoder()
    run = run_stream(encoder, inputs_of(unit, 40), settings=encoder_settings(unit.spec))
    assert run.latency_cycles(encoder) == cycles and run.interval_cycles(encoder) == 1


@pytest.mark.parametrize(
    "spec",
    [
        UniformSpec(46811, 23, 117),
        TwinUniformSpec(40000, 20, 4, 6, "softmax"),
        TwinUniformSpec(40000, 20, 3, 8, "gelu"),
        ShiftLog2Spec(2783, 50001, 17, 4, 2, 3),
        ShiftUniformLog2Spec(12, 4, 1),
    ],
    ids=lambda spec: type(spec).__name__,
)
def test_every_sixteen_bit_input(spec) -> None:
    """As a probability where logarithms need one, else with a sign."""
    inputs = np.arange(1 << 16) - (0 if isinstance(spec, ShiftUniformLog2Spec) else 1 << 15)
    outputs = run_stream(Encoder(), inputs, settings=encoder_settings(spec)).outputs
    assert_array_equal(outputs, spec.compute(inputs)[0].astype(np.int64))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (UniformSpec(1, 1, 0, 9), "bits must be at most 8, not 9"),
        (UniformSpec(1, 1, 1 << 16), "zero_point must be in -65536..65535, not 65536"),
        (7, "an encoder must be that of a quantizer, not int"),
    ],
)
def test_what_it_cannot_encode_is_refused(spec, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        encoder_settings(spec)
