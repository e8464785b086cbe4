"""Tiny networks must show what is planted in an accelerator, whose parts have no other bench."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")

from hwq.compiler.emit_program import emit_program
from hwq.plan.make_plan import make_plan
from hwq.rtl.accelerator import AcceleratorGateware
from hwq.runtime.integer_executor import IntegerExecutor
from hwq.sim.accelerator_mutation import FAULTS, Network, run_accelerator_mutations, switched
from hwq.sim.fault import Fault
from hwq.sim.mutation import NAME, FaultMisplaced
from tests.conftest import TINY_MEAN, TINY_STD
from tests.sim.test_network import MACHINES

MACHINE, LONGEST_ROW = MACHINES["4x4"], 64


@dataclass(frozen=True)
class Wanted:
    """A network that shows what others do not.

    `rate` is that of the DRAM in bits a cycle; `size` that of an image; `contrast` that of the
    images of calibration, beside that of the image that is run.
    """

    method: str
    bits: str
    rate: Fraction | int
    latency_cycles: int
    size: int = 32
    contrast: float = 1.0


NETWORKS = (
    Wanted("minmax", "w8a8", Fraction(77, 10), 3),
    # a row of ones, and a DRAM so fast that records are late
    Wanted("is_vit", "w4a4", 31, 0),
    # twin codes, parameters of a head for all channels; the last store outlasts a fetch
    Wanted("ptq4vit", "w6a6", 4, 20),
    # two planes
    Wanted("repq_vit", "w4a4", 20, 9),
    # outliers, and scales of tokens
    Wanted("adfq_vit", "w4a4", Fraction(77, 10), 3),
    # ranges, predicted scales, rescaled tables
    Wanted("scalepredictor", "w4a4", Fraction(77, 10), 3),
    # odd widths; sums of residuals that do not fit
    Wanted("minmax", "w5a7", Fraction(77, 10), 3, contrast=0.03),
    # long stores; sums in all of their memory
    Wanted("minmax", "w8a8", Fraction(77, 10), 3, size=48),
    # fewer rows than words of a block and its turning last
    Wanted("minmax", "w8a8", 31, 0, size=16),
    # transfers so short that the next one is not there yet
    Wanted("minmax", "w8a8", 31, 0, size=8),
)


@pytest.fixture(scope="module")
def networks(make_tiny_vit, lower, open_gates):
    """Return the networks on the machine, each with the DRAM of its run."""
    from hwq.compiler.passes.base import run_passes
    from hwq.compiler.pipelines import prepare
    from hwq.graph.import_torch import import_torch
    from hwq.methods.base import Bits
    from hwq.methods.calibration import Calibration
    from hwq.methods.catalog import METHODS
    from tests.conftest import QUICK

    def network(wanted: Wanted) -> Network:
        shape = 3, wanted.size, wanted.size
        graph = import_torch(make_tiny_vit(img_size=wanted.size), (1, *shape), "tiny")
        noise = Calibration.noise(shape, 8, seed=1).pixels
        images = (128 + wanted.contrast * (noise.astype(float) - 128)).astype(np.uint8)
        fitter = METHODS[wanted.method](**QUICK.get(wanted.method, {}))
        prepared = run_passes(graph, prepare(TINY_MEAN, TINY_STD))
        # what is not fitted has a scale for every image
        given = Calibration(images, synthetic=wanted.method == "scalepredictor")
        graph = fitter.fit(prepared, given, Bits.parse(wanted.bits)).graph
        integers = lower(open_gates(graph))
        pixels = np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)
        if wanted.contrast < 1:
            pixels = np.where(pixels < 128, 0, 255).astype(np.uint8)
        names = [node.name for node in integers.nodes]
        program = emit_program(integers)
        dram = {
            "bandwidth_gib_s": float(wanted.rate) * 1e9 / 2**33,
            "latency_cycles": wanted.latency_cycles,
        }
        return Network(
            f"{wanted.method} {wanted.bits} {wanted.size}",
            make_plan(program, MACHINE),
            program,
            MACHINE.model_copy(update={"dram": MACHINE.dram.model_copy(update=dram)}),
            pixels,
            IntegerExecutor(integers).run(pixels, names).values,
        )

    return [network(wanted) for wanted in NETWORKS]


@pytest.mark.slow
def test_every_fault_of_an_accelerator_is_seen(networks, simulator: str) -> None:
    if simulator != "verilator":
        pytest.skip("hundreds of runs of a whole accelerator, which Icarus takes hours for")
    gateware = AcceleratorGateware(MACHINE, max_length=LONGEST_ROW)
    rows = run_accelerator_mutations(gateware, networks, simulator)
    missed = [(row["unit"], row["fault"], row["message"]) for row in rows if not row["caught"]]
    assert not missed
    # no network is there for nothing
    assert {row["case"] for row in rows} - {""} == {network.name for network in networks}


def test_there_are_faults_of_every_part() -> None:
    assert len({(fault.module, fault.name) for fault in FAULTS}) == len(FAULTS)
    # docs/cosimulation.md says so
    assert sum(not fault.equivalent for fault in FAULTS) >= 220
    parts = {fault.module.partition(".")[0] for fault in FAULTS if not fault.equivalent}
    wanted = {"", "activation", "weight", "parameters", "product", "results", "vector", "dma"}
    wanted |= {"joiner", "JoinLane_1"}
    assert parts == wanted | {"sequencer", "fetch_work", "fetch_transfers"}


TEXT = f"""module {NAME}(a, b);
  assign kept.ones  = kept[7];
  assign \\$3  = kept[7] & a;
  if (b)
    x <= a;
endmodule
"""


def test_a_fault_is_switched_on_by_its_number() -> None:
    faults = (
        Fault("", "$A  = {kept.ones} & a;", "$A  = a;"),
        Fault("", "if (b)", "if (a)"),
        Fault("", "$A  = {kept.ones} & a;", "$A  = {kept.ones};"),
    )
    text = switched(TEXT, faults)
    once = "(bench.dut.fault == 1 ? (a) : (kept[7] & a))"
    assert f"  assign \\$3  = (bench.dut.fault == 3 ? (kept[7]) : ({once}));\n" in text
    assert "  if ((bench.dut.fault == 2 ? (a) : (b)))\n" in text
    # the register of the number is the first thing in the module
    assert text.splitlines()[1].strip() == "reg [31:0] fault = 0;"


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ([Fault("x", "kept[7] & a;", "a;")], "'a;' is not 'kept.7. & a;' changed"),
        ([Fault("x", "if (b)", "if (a) ;")], "'if .a. ;' is not 'if .b.' changed"),
        ([Fault("x", "{kept.none} & a;", "a;")], "there is no kept.none"),
        (
            [
                Fault("x", "if (b)\n    x <= a;", "if (b)\n    x <= b;"),
                Fault("x", "x <= a;", "x <= b;"),
            ],
            "fault 2 overlaps another one",
        ),
    ],
)
def test_a_fault_must_be_an_expression(faults, message) -> None:
    with pytest.raises(FaultMisplaced, match=message):
        switched(TEXT, faults)
