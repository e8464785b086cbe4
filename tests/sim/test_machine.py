"""A machine runs layers: equal to the network at every hand-over, and in the model's time."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")

from hwq.arch.load import load_accelerator
from hwq.compiler.emit_program import emit_program
from hwq.compiler.operand import Operand
from hwq.compiler.program import MatmulLayer, Program
from hwq.numerics.activation import ActivationSpec
from hwq.numerics.array import ArraySpec
from hwq.numerics.epilogue import GUARD_BITS, EpilogueSpec
from hwq.numerics.pe import MULTIPLY, PeSpec
from hwq.numerics.softmax import SoftmaxSpec
from hwq.rtl.activation import Activation
from hwq.rtl.epilogue import Epilogue
from hwq.rtl.machine import Machine
from hwq.rtl.machine_program import ELEMENT, MachineSpec, Route
from hwq.rtl.softmax import Softmax
from hwq.sim.component import build_components
from hwq.sim.machine import Done, MachineProgram, Span
from tests.costs import cost_of

PAGE = Path(__file__).parents[2] / "docs/machine.md"
LANES = 8
TOKENS = 16  # of the MLP's tile
BLOCK, HEAD = "blocks.0", 1
LOW, HIGH = -(1 << (ELEMENT.width - 1)), (1 << (ELEMENT.width - 1)) - 1
# codes of 8 bits of either sign
NINE_BITS = PeSpec(MULTIPLY, a_bits=9, significand=(*range(256), *range(-256, 0)))


def make_machine(softmax: SoftmaxSpec, length: int, activation: ActivationSpec) -> Machine:
    array = ArraySpec(
        *(LANES, LANES, "weight_stationary", NINE_BITS),
        # hardly more than the program needs: writing the Verilog takes longer with every word
        **{"a_depth": 7000, "b_depth": 41_000, "result_depth": 5000},
    )
    return Machine(
        MachineSpec(
            array,
            epilogue=partial(Epilogue, EpilogueSpec(LOW, HIGH, (1 << GUARD_BITS,))),
            activation=partial(Activation, activation),
            encoder=partial(Epilogue, EpilogueSpec(LOW, HIGH, acc_bits=ELEMENT.width)),
            rows=Softmax(softmax, length, LANES),
            vector_depth=11_500,
            parameter_depth=256,
        )
    )


@pytest.fixture(scope="module")
def network(hwq_data, lower):
    """DeiT-Tiny, minmax w8a8, in integers."""
    from hwq.api.network import open_network
    from hwq.methods.base import Bits
    from hwq.methods.calibration import Calibration
    from hwq.methods.catalog import METHODS
    from hwq.models.images import open_images

    weights = hwq_data / "weights/deit_tiny_patch16_224.safetensors"
    source = open_network("deit_t", weights, False, 0)
    folder = hwq_data / "data/imagenet_calib500"
    images = open_images(folder, source.preprocessing, labelled=False)
    calibration = Calibration(images.sample(8, 0).load())
    graph = lower(METHODS["minmax"]().fit(source.graph, calibration, Bits(8, 8)).graph)
    return graph, calibration.pixels[0]


@pytest.fixture(scope="module")
def tensors(network):
    """Every tensor of block 0 on a real image, by its name within the block, and the units."""
    from hwq.runtime.integer_executor import IntegerExecutor

    graph, image = network
    nodes = [node for node in graph.nodes if node.name.startswith(f"{BLOCK}.")]
    values = IntegerExecutor(graph).run(image, [node.name for node in nodes]).values
    names = {node.name.removeprefix(f"{BLOCK}."): node for node in nodes}
    return {name: values[node.name][0] for name, node in names.items()}, names, graph.constants


def span(node) -> Span:
    unit = node.attrs["unit"]
    parts = (unit.bias + unit.correction, unit.mult, unit.shift, unit.zero_point)
    return Span(*(np.asarray(part) for part in parts), unit.lo, unit.hi)


def stored(done: Done, rows: int, columns: int, row_major: bool) -> np.ndarray:
    """int64[rows, columns] of the words that a command stored, in the order of its source."""
    tiles = -(-columns // LANES)
    words = done.words.reshape((rows, tiles, LANES) if row_major else (tiles, rows, LANES))
    if not row_major:
        words = words.swapaxes(0, 1)
    return words.reshape(rows, tiles * LANES)[:, :columns]


def summed(done: Done, rows: int, columns: int) -> np.ndarray:
    """int64[rows, columns] of the sums that left the array."""
    words = done.sums[..., 0].reshape(-1, rows, LANES).swapaxes(0, 1)
    return words.reshape(rows, -1)[:, :columns]


def load(machine: Machine, values, nodes, constants) -> MachineProgram:
    """One head's attention, then the MLP of some tokens."""
    q, k, v = (values[f"attn.{name}"][HEAD] for name in ("select", "permute_1", "select_2"))
    tokens, depth = q.shape
    x = values["mlp.fc1.a"][:TOKENS]
    fc1, fc2 = (constants[f"{BLOCK}.mlp.{name}.b"].T for name in ("fc1", "fc2"))
    words, width = -(-tokens // LANES), fc1.shape[1]
    program, array = MachineProgram(machine), machine.spec.array
    b_bases, at = [], 0
    for operand in (k, v, fc1, fc2):
        program.store("b", at, array.b_words(operand))
        b_bases.append(at)
        at += len(array.b_words(operand))
    program.store("a", 0, array.a_words(q))
    x_base = len(array.a_words(q))
    program.store("a", x_base, array.a_words(x))
    # the MLP's codes take the place of the probabilities'
    codes = hidden = x_base + len(array.a_words(x))

    row_major = {"inner_stride": words, "outer_stride": 1}
    straight = {"inner": words, "outer": tokens, "inner_stride": 1, "outer_stride": words}
    probs = tokens * words
    program.matmul(
        *((tokens, depth, tokens), (0, b_bases[0], 0), 0),
        *(span(nodes["attn.matmul"]), {"base": 0, **row_major}),
    )
    program.vector(Route.ROWS, {"base": 0, **straight}, {"base": probs, **straight})
    to_operand = {"inner": words, "outer": tokens, "inner_stride": tokens, "outer_stride": 1}
    program.vector(
        *(Route.ENCODE, {"base": probs, **straight}),
        *({"base": codes, "to_operand": 1, **to_operand}, span(nodes["attn.matmul_1.a"])),
    )
    program.matmul(
        *((tokens, tokens, depth), (codes, b_bases[1], 0), 32),
        span(nodes["attn.matmul_1.codes"]),
        {"base": 2 * probs, "inner_stride": -(-depth // LANES), "outer_stride": 1},
    )
    program.matmul(
        *((TOKENS, x.shape[1], width), (x_base, b_bases[2], 0), 48, span(nodes["mlp.fc1"])),
        {"base": hidden, "to_operand": 1, "inner_stride": 1, "outer_stride": TOKENS},
        span(nodes["mlp.fc2.a"]),
    )
    program.matmul(
        *((TOKENS, width, x.shape[1]), (hidden, b_bases[3], 0), 200, span(nodes["mlp.fc2"])),
        {"base": 0, "inner_stride": -(-x.shape[1] // LANES), "outer_stride": 1},
    )
    return program


def slice_of(program: Program) -> Program:
    """The same layers as the machine runs: those of one head, and of some tokens."""
    layers = []
    for layer in program.layers:
        name = layer.name.removeprefix(f"{BLOCK}.")
        if name.startswith(("attn.matmul", "attn.softmax")):
            share = 3
        elif name.startswith("mlp."):
            share = None
        else:
            continue
        if name.startswith("mlp.fc1.a"):
            continue  # the encoder before fc1: its codes are given

        def part(operand, share=share):
            elements = operand.elements
            if not operand.constant:
                elements = elements // share if share else elements // 197 * TOKENS
            return Operand(operand.tensor, elements, operand.bits, operand.constant)

        if isinstance(layer, MatmulLayer):
            count = 1
            m = layer.m if share else TOKENS
            changed = {"count": count, "m": m, "a": part(layer.a), "b": part(layer.b)}
        else:
            rows = layer.rows // share if share else TOKENS
            changed = {"rows": rows, "inputs": tuple(part(one) for one in layer.inputs)}
        layers.append(replace(layer, out=part(layer.out), **changed))
    return Program("slice", tuple(layers))


def accounts(program: Program) -> list[int]:
    """Cycles of every command: a product with what streams behind it, or a vector layer."""
    edge = load_accelerator("edge_16x16")
    array = edge.array.model_copy(update={"rows": LANES, "columns": LANES})
    lanes = edge.vector_unit.model_copy(update={"lanes": LANES})
    kib = {"size_kib": 1 << 14}
    sram = edge.sram.model_copy(
        update={
            n: getattr(edge.sram, n).model_copy(update=kib) for n in type(edge.sram).model_fields
        }
    )
    # all data are in the machine's memories, so nothing is won by cutting a product into tiles
    dram = edge.dram.model_copy(update={"bandwidth_gib_s": 1e9})
    parts = {"array": array, "vector_unit": lanes, "sram": sram, "dram": dram}
    machine = edge.model_copy(update=parts)
    commands: list[int] = []
    cost = cost_of(program, machine, "weight_stationary", "rtl")
    for layer, row in zip(program.layers, cost.layers, strict=True):
        if getattr(layer, "fused", False):
            commands[-1] += row.cycles
        else:
            commands.append(row.compute_cycles)
    return commands


@pytest.fixture(scope="module")
def outcome(network, tensors, simulator, tmp_path_factory):
    values, nodes, _ = tensors
    softmax, activation = (nodes[name].attrs["unit"] for name in ("attn.softmax", "mlp.act"))
    machine = make_machine(softmax, values["attn.softmax"].shape[-1], activation)
    bank = build_components(simulator, {"machine": machine})
    return load(machine, *tensors).run(bank, tmp_path_factory.mktemp("machine"))


def test_every_hand_over_of_a_slice_of_deit_equals_the_integer_network(outcome, tensors):
    values, _, _ = tensors
    _, (scores, probs, codes, out, hidden, result) = outcome
    head = {name: value[HEAD] for name, value in values.items() if name.startswith("attn.matmul")}
    tokens, depth = head["attn.matmul_1.codes"].shape
    assert_array_equal(summed(scores, tokens, tokens), head["attn.matmul.acc"])
    assert_array_equal(stored(scores, tokens, tokens, False), head["attn.matmul"])
    assert_array_equal(stored(probs, tokens, tokens, True), values["attn.softmax"][HEAD])
    assert_array_equal(stored(codes, tokens, tokens, True), head["attn.matmul_1.a"])
    assert_array_equal(summed(out, tokens, depth), head["attn.matmul_1.acc"])
    assert_array_equal(stored(out, tokens, depth, False), head["attn.matmul_1.codes"])
    for done, name, stays in ((hidden, "fc1", "fc2.a"), (result, "fc2", "fc2")):
        acc, kept = (values[f"mlp.{n}"][:TOKENS] for n in (f"{name}.acc", stays))
        assert_array_equal(summed(done, *acc.shape), acc)
        assert_array_equal(stored(done, *kept.shape, False), kept)


def test_cycles_of_a_slice_equal_the_cost_model(outcome, network):
    cycles, commands = outcome
    wanted = accounts(slice_of(emit_program(network[0])))
    assert [done.cycles for done in commands] == wanted
    assert cycles == sum(wanted)
    assert f"{cycles:,} in all" in PAGE.read_text(encoding="utf-8")
