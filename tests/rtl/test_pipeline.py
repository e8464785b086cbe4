import numpy as np
import pytest
from amaranth.hdl import Module, Shape, Signal, signed, unsigned
from numpy.testing import assert_array_equal

from hwq.rtl.pipeline import Pipeline, StreamUnit, saturated
from hwq.testing import Stall, every, never, random_stall, run_stream


class Saturate(StreamUnit):
    def __init__(self, depth: int, shape: Shape) -> None:
        self.depth, self.shape = depth, shape
        super().__init__(signed(8), shape)

    @property
    def latency_cycles(self) -> int:
        return self.depth

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = Pipeline(m, self.i.valid, self.o.ready, self.depth)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]
        value = saturated(self.i.payload, self.shape)
        for k in range(self.depth):
            register = Signal(self.shape, name=f"stage_{k}")
            with m.If(p.load[k]):
                m.d.sync += register.eq(value)
            value = register
        m.d.comb += self.o.payload.eq(value)
        return m


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("sink", [never(), every(2), random_stall(3, 0.7)], ids=str)
def test_values_keep_their_order_and_take_depth_cycles(depth: int, sink: Stall) -> None:
    unit = Saturate(depth, signed(4))
    inputs = np.arange(-128, 128)
    run = run_stream(unit, inputs, sink=sink)
    assert_array_equal(run.outputs, np.clip(inputs, -8, 7))
    if str(sink) == "never":
        assert run.latency_cycles(unit) == depth
        assert run.interval_cycles(unit) == 1


def test_a_full_pipeline_takes_one_value_per_transfer() -> None:
    run = run_stream(Saturate(3, signed(4)), np.arange(60), sink=every(2))
    assert run.interval_cycles(Saturate(3, signed(4))) == 2


def test_saturates_unsigned() -> None:
    run = run_stream(Saturate(1, unsigned(4)), np.arange(-128, 128))
    assert_array_equal(run.outputs, np.clip(np.arange(-128, 128), 0, 15))


def test_a_unit_must_say_its_cycles_and_values() -> None:
    unit = StreamUnit(signed(4), signed(4))
    assert unit.interval_cycles == 1
    with pytest.raises(NotImplementedError):
        _ = unit.latency_cycles
    with pytest.raises(NotImplementedError):
        unit.compute(np.arange(3))
