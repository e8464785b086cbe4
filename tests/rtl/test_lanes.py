"""Units side by side: values, cycles, and one Verilog module for each kind."""

import re

import numpy as np
import pytest
from amaranth.hdl import unsigned

from hwq.errors import SpecError
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.mean import MeanSpec
from hwq.numerics.requantize import RequantizeSpec
from hwq.numerics.uniform import UniformSpec
from hwq.numerics.units import UNITS
from hwq.rtl.catalog import TWINS
from hwq.rtl.emit import emit
from hwq.rtl.epilogue import Epilogue
from hwq.rtl.lanes import Lanes
from hwq.rtl.mean import Mean
from hwq.rtl.requantize import Requantize
from hwq.rtl.shared import emit_shared
from hwq.rtl.uniform import FIXED16, Uniform

REQUANTIZE = RequantizeSpec(45001, 23, -19, 6, signed=True)
UNIFORM = UniformSpec(52429, 23, 121, bits=8)


@pytest.mark.parametrize("lanes", [1, 3])
def test_every_lane_equals_the_unit(lanes: int, check, payloads) -> None:
    units = [Requantize(REQUANTIZE, 16) for _ in range(lanes)]
    inputs = np.stack([payloads(unit, 200) for unit in units], axis=-1)[:200]
    inputs = np.random.default_rng(0).permuted(inputs, axis=0)
    check(Lanes(units), inputs if lanes > 1 else inputs[:, 0], UNITS["requantize"].timing())


def test_lanes_of_several_fields(check, payloads) -> None:
    spec = TWINS["epilogue"].verified["two_planes"].spec
    units = [Epilogue(spec) for _ in range(2)]
    inputs = np.concatenate(
        [payloads(unit, n)[-200:] for unit, n in zip(units, (200, 300), strict=True)], axis=1
    )
    check(Lanes(units), inputs, UNITS["epilogue"].timing())


def test_lanes_of_several_inputs_a_result(check, payloads) -> None:
    units = [Mean(MeanSpec.from_float(1 / 3, 3, FixedPoint(12, 2))) for _ in range(2)]
    lanes = Lanes(units)
    assert (lanes.inputs_per_result, lanes.outputs_per_result) == (3, 1)
    inputs = np.stack([payloads(units[0], 20), payloads(units[1], 20)[::-1]], axis=-1)
    check(lanes, inputs, UNITS["mean"].timing(3))


@pytest.mark.parametrize(
    "units",
    [
        (Requantize(REQUANTIZE, 16), Requantize(REQUANTIZE, 40)),
        (Uniform(UNIFORM, FIXED16), Uniform(UNIFORM, unsigned(16))),
        (Requantize(REQUANTIZE, 16), Uniform(UNIFORM, FIXED16)),
    ],
    ids=["acc_bits", "x", "class"],
)
def test_lanes_must_be_alike(units) -> None:
    with pytest.raises(SpecError, match=r"units must be alike, not .* and "):
        Lanes(units)


def test_units_of_one_spec_and_other_arguments_have_modules_of_their_own() -> None:
    widths = (16, 40)
    lanes = {
        f"bits{bits}": Lanes([Requantize(REQUANTIZE, bits) for _ in range(2)]) for bits in widths
    }
    text = emit_shared(lanes, "both")
    ports = re.findall(r"module (both_Requantize_\d)\(.*?input \[(\d+):0\] i__payload;", text, re.S)
    assert ports == [("both_Requantize_0", "15"), ("both_Requantize_1", "39")]
    # both lanes of each are of its module
    for module, _ in ports:
        assert len(re.findall(rf"^  {module} ", text, re.M)) == 2


def test_the_header_is_the_same_in_every_process() -> None:
    text = emit(Lanes([Requantize(REQUANTIZE, 16) for _ in range(2)]), "lanes")
    assert text.splitlines()[1] == (
        "// units_0=Requantize units_0.mult=45001 units_0.shift=23 units_0.zero_point=-19 "
        "units_0.out_bits=6 units_0.signed=True units_0.acc_bits=16 "
        "units_1=Requantize units_1.mult=45001 units_1.shift=23 units_1.zero_point=-19 "
        "units_1.out_bits=6 units_1.signed=True units_1.acc_bits=16"
    )
