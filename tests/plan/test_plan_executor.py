"""What a plan computes, byte by byte, is what the integer graph means."""

import numpy as np
import pytest

from hwq.compiler.emit_program import emit_program
from hwq.methods.catalog import METHODS
from tests.plan.checks import assert_equal_everywhere, every_tensor, planned
from tests.plan.machines import machine

MACHINES = {
    "4x4": machine(4, 4, (1.5, 2, 8), rate=20, latency=9),
    "8x3": machine(8, 3, (3, 1.5, 7), rate=3),
}


def pixels():
    return np.random.default_rng(3).integers(0, 256, (3, 32, 32)).astype(np.uint8)


@pytest.mark.parametrize("bits", ["w8a8", "w4a4", "w3a3"])
@pytest.mark.parametrize(
    "method",
    [name for name in METHODS if name != "scalepredictor"]
    + ["minmax/log2", "scalepredictor/minmax", "scalepredictor/repq_vit"],
)
def test_all_methods(method, bits, quantise, lower):
    integer = lower(quantise(method, bits))
    program = emit_program(integer)
    wanted = every_tensor(integer, pixels())
    for number, accelerator in enumerate(MACHINES.values()):
        plan = planned(program, accelerator)
        assert_equal_everywhere(plan, program, accelerator, pixels(), wanted, bool(number))
