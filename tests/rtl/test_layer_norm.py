import numpy as np
import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.layer_norm import MAX_EPSILON
from hwq.numerics.layer_norm import LayerNorm as Norm
from hwq.numerics.unit import UnitTiming
from hwq.numerics.units import UNITS
from hwq.rtl.catalog import TWINS
from hwq.rtl.catalog.rows import enough_rows, example_layer_norm
from hwq.rtl.layer_norm import LayerNorm, LayerNormCore, parameter_memory
from hwq.rtl.pipeline import StreamUnit
from hwq.rtl.rows import row_words, to_rows, to_words
from hwq.testing import every, never, random_stall, run_stream

CASES = TWINS["layer_norm"].verified


@pytest.mark.parametrize("label", CASES)
def test_rtl_equals_numerics(label: str, check, payloads) -> None:
    unit = CASES[label]
    inputs = payloads(unit, 20 if unit.lanes == 16 else 60)
    check(unit, inputs, UNITS["layer_norm"].timing(unit.length, unit.lanes))


@pytest.mark.parametrize("lanes", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [1, 2, 7, 11])
def test_cycles_are_the_formulas_at_every_shape(length: int, lanes: int) -> None:
    unit = LayerNorm(example_layer_norm(length, 12, FixedPoint(16, 8)), lanes)
    inputs = unit.stimulus(np.random.default_rng(0), 12)
    run = run_stream(unit, inputs)
    assert_array_equal(run.outputs, unit.compute(inputs))
    measured = UnitTiming(run.latency_cycles(unit), run.interval_cycles(unit))
    assert measured == UNITS["layer_norm"].timing(length, lanes)


class WithMemory(StreamUnit):
    """A core beside a memory of parameters."""

    def __init__(self, core: LayerNormCore, norm: Norm) -> None:
        self.core, self.memory = core, parameter_memory(norm, core.lanes)
        shapes = core.i.payload.shape(), core.o.payload.shape()
        super().__init__(*shapes, {"settings": In(core.settings.shape())})

    @property
    def latency_cycles(self) -> int:
        return self.core.latency_cycles

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core, m.submodules.memory = core, memory = self.core, self.memory
        read = memory.read_port()
        m.d.comb += [
            core.settings.eq(self.settings),
            read.addr.eq(core.parameters.address),
            read.en.eq(core.parameters.enable),
            core.parameters.data.eq(read.data),
        ]
        wiring.connect(m, wiring.flipped(self.i), core.i)
        wiring.connect(m, core.o, wiring.flipped(self.o))
        return m


@pytest.mark.parametrize(
    "stalls", [(never(), never()), (random_stall(0, 0.4), every(3))], ids=("flowing", "stalled")
)
@pytest.mark.parametrize(
    "norm",
    [
        example_layer_norm(1, 12, FixedPoint(16, 11)),
        example_layer_norm(1, 8, FixedPoint(16, 8), centered=False),
        example_layer_norm(11, 15, FixedPoint(9, 7, signed=False), MAX_EPSILON),
        example_layer_norm(6, 31, FixedPoint(12, 27), 3),
        example_layer_norm(8, 3, FixedPoint(18, 18), 1 << 44, spread=0.43),
        example_layer_norm(7, 14, FixedPoint(12, 9), 1 << 20, centered=False),
    ],
    ids=lambda norm: f"dim{norm.spec.dim}",
)
def test_the_core_takes_tokens_of_any_length_and_format(norm: Norm, stalls) -> None:
    """One netlist: only settings and the memory of parameters are another layer's."""
    rng, spec = np.random.default_rng(0), norm.spec
    core = LayerNormCore(11, 4, signed(18))
    tokens = rng.integers(-(1 << 15), 1 << 15, (60, spec.dim)) >> rng.integers(0, 12, (60, 1))
    words = row_words(tokens, 4, rng.integers(-(1 << 15), 1 << 15, (60, 4)))
    run = run_stream(WithMemory(core, norm), words, *stalls, settings=core.settings_of(spec))
    y, _ = norm.compute(tokens.astype(np.int16))
    wanted = to_words(y.astype(np.int64), 4, np.zeros((60, 4), np.int64))
    assert_array_equal(run.outputs, wanted)


@pytest.mark.parametrize("epsilon", [1, (1 << 60) - 1])
def test_longest_tokens_fit_every_register(epsilon: int) -> None:
    unit = LayerNorm(example_layer_norm(4096, 14, FixedPoint(32, 26), epsilon), 8)
    low, high = np.full(4096, -32768), np.full(4096, 32767)
    halves, outlier = low.copy(), low.copy()
    halves[::2], outlier[77] = 32767, 32767
    inputs = np.stack([low, high, halves, outlier, -1 - outlier]).reshape(-1, 8)
    assert_array_equal(run_stream(unit, inputs).outputs, unit.compute(inputs))


def test_unused_lanes_are_ignored_and_leave_as_zero() -> None:
    unit = LayerNorm(example_layer_norm(3, 12, FixedPoint(16, 8)), 2)
    token = np.array([[5, 5], [5, 32767], [5, 5], [5, -32768]])
    outputs = run_stream(unit, token).outputs
    assert_array_equal(outputs[:2], outputs[2:])
    assert outputs[1, 1] == outputs[3, 1] == 0


@pytest.mark.parametrize("label", CASES)
def test_stimulus_saturates_at_times_but_not_always(label: str) -> None:
    unit = CASES[label]
    out = unit.spec.spec.out
    values = unit.compute(enough_rows(unit))
    inside = ((values > out.min) & (values < out.max)).mean()
    assert 0.2 < inside < 1
    assert np.unique(values).size > 100
    rows = to_rows(values, unit.lanes, unit.length)
    # gamma may be next to 0, and beta at an end of the range
    assert np.mean([np.unique(column).size > 5 for column in rows.T]) > 0.75


def test_one_channel_without_centring_is_its_sign() -> None:
    """|D*x| is larger than any distance from the mean."""
    norm = example_layer_norm(1, 8, FixedPoint(16, 8), centered=False)
    x = np.array([1000, -32768, 32767, 5, 0, -1])
    unit = LayerNorm(norm, 1)
    assert_array_equal(run_stream(unit, x).outputs, unit.compute(x))


def test_settings_that_do_not_fit_are_refused() -> None:
    core = LayerNormCore(8, 4, signed(17))
    with pytest.raises(SpecError, match=r"lo must be in -65536\.\.65535, not -8388608"):
        core.settings_of(example_layer_norm(8, 12, FixedPoint(24, 12)).spec)
    with pytest.raises(SpecError, match=r"dim must be in 0\.\.15, not 16"):
        core.settings_of(example_layer_norm(16, 12, FixedPoint(16, 12)).spec)


def test_rejects_no_lanes() -> None:
    with pytest.raises(SpecError, match="lanes must be at least 1, not 0"):
        LayerNorm(example_layer_norm(3, 12, FixedPoint(16, 8)), 0)
