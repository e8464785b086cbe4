"""CONTRIBUTING's recipes: a kind of processing element, and a unit, are two files and two lines."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[rtl]'")

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data
from amaranth.sim import Simulator

from hwq.arch import pe_ratio
from hwq.arch.load import load_accelerator
from hwq.compiler.emit_program import emit_program
from hwq.compiler.program import MatmulLayer, Operand, Program
from hwq.errors import SpecError
from hwq.graph.ir import Graph, Node, Tensor
from hwq.numerics.array import ArraySpec, array_reference
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.pe import PE_KINDS, PeSpec
from hwq.numerics.units import UNITS
from hwq.plan.make_plan import make_plan
from hwq.rtl import pe as gateware
from hwq.rtl.catalog import TWINS
from hwq.rtl.catalog.base import Twin
from hwq.runtime.integer_executor import IntegerExecutor
from hwq.runtime.plan_executor import PlanExecutor
from hwq.runtime.reference_executor import ReferenceExecutor
from hwq.testing import run_stream, stimulus
from tests.costs import cost_of
from tests.recipes import halve, shift_triple, shift_triple_gateware
from tests.recipes.halve_gateware import Halve

EDGE = load_accelerator("edge_16x16")


@pytest.fixture
def kind(monkeypatch):
    """The two lines of a kind, in numerics and in gateware."""
    kind = shift_triple.SHIFT_TRIPLE
    monkeypatch.setitem(PE_KINDS, kind.name, kind)
    monkeypatch.setitem(gateware.FAMILIES, kind.family, shift_triple_gateware)
    return kind


@pytest.fixture
def unit(monkeypatch):
    """The two lines of a unit, in numerics and in gateware."""
    monkeypatch.setitem(UNITS, "halve", halve.UNIT)
    row = Twin(Halve(halve.HalveSpec()), {"signed16": Halve(halve.HalveSpec())})
    monkeypatch.setitem(TWINS, "halve", row)
    return halve.UNIT


def test_the_array_computes_with_the_kind(kind):
    pe = PeSpec(kind, 4, 4, 24, *kind.codes(4))
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 16, (3, 5)), rng.integers(-8, 8, (5, 4))
    spec = ArraySpec(3, 4, pe=pe)
    assert_array_equal(spec.compute(a, b), array_reference(a, b, spec))
    values = np.array([0 if c == 15 else (3 if c % 2 else 1) << c // 2 for c in range(16)])
    assert_array_equal(spec.compute(a, b)[0], values[a] @ b)


def test_gateware_of_the_kind_equals_numerics_on_all_codes(kind):
    pe = PeSpec(kind, 4, 4, 24, *kind.codes(4))
    m = Module()
    code, b = Signal(4), Signal(signed(4))
    a = data.View(gateware.decoded_layout(pe), gateware.decoded(pe, code))
    out = Signal(signed(24))
    m.d.comb += out.eq(gateware.products(m, pe, a, b)[0])

    async def bench(ctx):
        for x in range(16):
            for y in range(-8, 8):
                ctx.set(code, x)
                ctx.set(b, y)
                assert ctx.get(out) == pe.products(np.array(x), np.array(y))[0]

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


def test_a_machine_of_the_kind_is_costed_once_it_was_synthesised(kind, monkeypatch):
    array = type(EDGE.array)(
        rows=16, columns=16, dataflow="weight_stationary", pe=("shift_triple",)
    )
    machine = EDGE.model_copy(update={"array": array})
    operands = (Operand("x", 512, 4), Operand("w", 512, 4, constant=True), Operand("y", 256, 8))
    layer = MatmulLayer("fc", 16, 16, 32, 1, PeSpec(kind, 4, 4, 32, *kind.codes(4)), *operands)
    program = Program("p", (layer,))
    with pytest.raises(SpecError, match="synth --unit shift_triple"):
        cost_of(program, machine)
    rows = [
        {**row, "name": "shift_triple"}
        for row in pe_ratio.read_table("synthesis.csv")
        if row["name"] == "shift"
    ]
    table = (*pe_ratio.read_table("synthesis.csv"), *rows)
    monkeypatch.setattr(pe_ratio, "read_table", lambda name: table)
    (row,) = cost_of(program, machine).layers
    assert row.pe == "shift_triple" and row.energy_pj.mac > 0


def test_gateware_of_the_unit_equals_numerics_and_its_timing(unit):
    twin = TWINS["halve"].default
    run = run_stream(twin, stimulus(twin, 300))
    assert_array_equal(run.outputs, twin.compute(stimulus(twin, 300)))
    measured = (run.latency_cycles(twin), run.interval_cycles(twin))
    assert measured == (unit.timing().latency_cycles, unit.timing().interval_cycles)
    everything = np.arange(-(1 << 15), 1 << 15)
    for one, other in zip(
        twin.spec.compute(everything), twin.spec.reference(everything), strict=True
    ):
        assert_array_equal(one, other)


def test_a_graph_with_the_unit_is_run_and_costed(unit):
    image = Tensor("image", (1, 4, 8), "uint8", FixedPoint(8, 0, signed=False))
    codes = Tensor("codes", (1, 4, 8), "uint8", FixedPoint(8, 0, signed=False))
    node = Node("encode", ("image",), codes, {"unit": halve.HalveSpec()})
    graph = Graph("g", (image,), {}, (node,), ("codes",))
    pixels = np.arange(32, dtype=np.uint8).reshape(4, 8)
    results = [e(graph).run(pixels).values["codes"] for e in (IntegerExecutor, ReferenceExecutor)]
    assert_array_equal(*results)
    program = emit_program(graph)
    assert program.layers[0].unit == "halve"
    codes = PlanExecutor(make_plan(program, EDGE), program).run(pixels[np.newaxis])["codes"]
    assert_array_equal(codes.reshape(4, 8), results[0][0])
    settings = {"unit": "halve", "interval_cycles": 3}
    own = EDGE.vector_unit.model_validate({"lanes": 8, "units": [settings]})
    plain = EDGE.model_copy(update={"vector_unit": own.model_copy(update={"units": ()})})
    slow = EDGE.model_copy(update={"vector_unit": own})
    fast, slower = (cost_of(program, m).layers[0].compute_cycles for m in (plain, slow))
    assert slower - fast == 2 * 4
