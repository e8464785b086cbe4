from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from hwq.compiler.emit_program import emit_program
from hwq.compiler.passes.base import run_passes
from hwq.compiler.passes.lower_to_integer import LowerToInteger
from hwq.errors import GraphError
from hwq.graph.ir import Graph
from hwq.graph.text import to_text
from hwq.methods.minmax import pixel_quantizer
from hwq.numerics.fixed_point import FixedPoint
from hwq.quantizers.log2 import Log2
from hwq.quantizers.uniform import Uniform
from hwq.runtime.fake_quant_executor import FakeQuantExecutor
from hwq.runtime.integer_executor import IntegerExecutor
from hwq.runtime.reference_executor import ReferenceExecutor


def uniform(scale, bits=4, signed=True, zero_point=0):
    return Uniform(torch.tensor(scale), torch.tensor(zero_point), bits, signed)


def with_formats(graph: Graph, **formats) -> Graph:
    """Attach fixed-point formats to nodes, and quantizers to the codes."""
    nodes = [
        replace(
            node,
            output=replace(node.output, quant=formats.get(node.name, node.quantizer)),
        )
        for node in graph.nodes
    ]
    return replace(graph, nodes=tuple(nodes))


WEIGHT = {"w": np.arange(-4, 4).reshape(2, 4) / 4, "b": [0.5, -1.5]}


def linear(build_graph, weight=None, x=None, extra=(), constants=None, **formats):
    """Pixels -> linear -> whatever `extra` says."""
    graph = build_graph(
        (1, 3, 4),
        {**WEIGHT, **(constants or {})},
        ("fc.a", "quantize", ["image"], {"quant": x or pixel_quantizer()}),
        ("fc.b", "quantize", ["w"], {"quant": weight or uniform(0.25)}),
        ("fc", "linear", ["fc.a", "fc.b", "b"]),
        *extra,
    )
    return with_formats(graph, **formats)


def pixels(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (3, 4), dtype=np.uint8)


def run_both(graph, images):
    """Real results of the fake-quant and of the integer graph, per output tensor."""
    lowered = run_passes(graph, [LowerToInteger()])
    name = graph.outputs[0]
    wanted = FakeQuantExecutor(graph)(torch.tensor(np.stack(images)).float())[name]
    got = [IntegerExecutor(lowered).run(image).values[name] for image in images]
    return wanted.numpy().reshape(len(images), -1), np.stack(got).reshape(len(images), -1), lowered


def test_golden_text_of_a_linear_layer(build_graph, golden):
    graph = linear(build_graph, fc=FixedPoint(16, 4))
    after = run_passes(graph, [LowerToInteger()])
    golden("passes/lower_to_integer.txt", f"before\n{to_text(graph)}\nafter\n{to_text(after)}")


def test_golden_text_of_codes_between_layers(build_graph, golden):
    second = [
        ("fc2.a", "quantize", ["fc"], {"quant": uniform(64.0, signed=False, zero_point=7)}),
        ("fc2.b", "quantize", ["w2"], {"quant": uniform(0.25)}),
        ("y", "linear", ["fc2.a", "fc2.b"]),
    ]
    weights = {"w2": np.array([[0.25, -0.5]])}
    graph = linear(build_graph, extra=second, constants=weights, y=FixedPoint(16, 0))
    after = run_passes(graph, [LowerToInteger()])
    text = f"before\n{to_text(graph)}\nafter\n{to_text(after)}"
    golden("passes/lower_to_integer_codes.txt", text)


def test_fixed_point_result_is_exact_for_power_of_two_scales(build_graph):
    graph = linear(build_graph, fc=FixedPoint(16, 4))
    wanted, got, lowered = run_both(graph, [pixels(seed) for seed in range(4)])
    assert lowered.tensors["fc"].dtype == "int16"
    assert_array_equal(got / 16, wanted)


def test_codes_are_exact_for_power_of_two_scales(build_graph):
    quantizer = uniform(32.0, bits=5, signed=False, zero_point=11)
    extra = [("y", "quantize", ["fc"], {"quant": quantizer})]
    wanted, got, lowered = run_both(
        linear(build_graph, extra=extra), [pixels(seed) for seed in range(4)]
    )
    assert [node.op for node in lowered.nodes] == ["linear", "requantize"]
    assert_array_equal((got.astype(int) - 11) * 32.0, wanted)


def test_activation_zero_point_is_corrected(build_graph):
    x = uniform(2.0, bits=8, signed=False, zero_point=100)
    graph = build_graph(
        (1, 3, 4),
        {**WEIGHT, "z": np.zeros(4)},
        ("s", "add", ["image", "z"]),
        ("fc.a", "quantize", ["s"], {"quant": x}),
        ("fc.b", "quantize", ["w"], {"quant": uniform(0.25)}),
        ("fc", "linear", ["fc.a", "fc.b", "b"]),
    )
    graph = with_formats(graph, s=FixedPoint(16, 0), fc=FixedPoint(32, 8))
    wanted, got, _ = run_both(graph, [pixels(seed) for seed in range(4)])
    assert_array_equal(got / 256, wanted)


def test_pixels_are_codes_already(build_graph):
    lowered = run_passes(linear(build_graph, fc=FixedPoint(16, 4)), [LowerToInteger()])
    assert [node.name for node in lowered.nodes] == ["fc.acc", "fc"]
    assert lowered.by_name["fc.acc"].inputs == ("image", "fc.b")
    assert lowered.inputs[0].dtype == "uint8"


def test_names_of_the_quantised_graph_stay(tiny_prepared, tiny_calibration, lower):
    from hwq.methods.base import Bits
    from hwq.methods.minmax import MinMax

    quantised = MinMax().fit(tiny_prepared, tiny_calibration, Bits(4, 4)).graph
    lowered = lower(quantised)
    assert lowered.outputs == quantised.outputs
    known = set(quantised.by_name)
    new = [n.name for n in lowered.nodes if n.name not in known]
    assert all(name.endswith((".acc", ".codes")) for name in new)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (
            lambda b: b(
                (1, 1, 2, 2),
                {"w": np.ones((1, 1, 2, 2))},
                ("y", "conv2d", ["image", "w"], {"stride": (1, 1), "padding": (0, 0)}),
            ),
            GraphError,
            "y: conv2d has no integer unit",
        ),
        (
            lambda b: linear(b, weight=uniform(0.25, zero_point=1), fc=FixedPoint(16, 4)),
            GraphError,
            "fc: operand b must be static, symmetric and uniform",
        ),
        (
            lambda b: linear(
                b,
                extra=(
                    ("p", "permute", ["fc.a"], {"axes": (0, 2, 1)}),
                    ("y", "matmul", ["p", "fc"], {"alpha": 1.0}),
                ),
                fc=FixedPoint(16, 4),
                y=FixedPoint(16, 4),
            ),
            GraphError,
            "y: operand b must be static, symmetric and uniform",
        ),
        (
            lambda b: linear(b, weight=Log2(4), fc=FixedPoint(16, 4)),
            GraphError,
            "fc: operand b must be static, symmetric and uniform",
        ),
        (
            lambda b: linear(b),
            GraphError,
            "fc: linear has no fixed-point format",
        ),
        (
            lambda b: linear(
                b,
                extra=[("p", "softmax", ["fc"], {"base": "e"})],
                fc=FixedPoint(16, 4),
                p=FixedPoint(16, 16, signed=False),
            ),
            GraphError,
            "p: the softmax unit works in base 2, not e",
        ),
        (
            lambda b: linear(b, constants={"b": [0.5, -(2.0**44)]}, fc=FixedPoint(16, 4)),
            GraphError,
            "fc: bias must stay below 2**45 in units of the accumulator, not reach 2.882e+17",
        ),
    ],
    ids=["op", "zero point", "no codes", "kind", "format", "base", "bias"],
)
def test_says_what_cannot_be_lowered(build_graph, build, error, message):
    with pytest.raises(error) as caught:
        run_passes(build(build_graph), [LowerToInteger()])
    assert str(caught.value) == message


def test_an_offset_of_operand_a_takes_column_sums_of_operand_b(build_graph):
    extra = [
        ("m.a", "quantize", ["fc"], {"quant": uniform(16.0, signed=False, zero_point=3)}),
        ("turned", "permute", ["fc"], {"axes": (0, 2, 1)}),
        ("m.b", "quantize", ["turned"], {"quant": uniform(16.0)}),
        ("m", "matmul", ["m.a", "m.b"], {"alpha": 1.0}),
    ]
    graph = linear(build_graph, extra=extra, fc=FixedPoint(16, 4), m=FixedPoint(32, 0))
    wanted, got, lowered = run_both(graph, [pixels(seed) for seed in range(4)])
    assert_array_equal(got, wanted)
    (layer,) = [one for one in emit_program(lowered).layers if one.name == "m"]
    assert layer.column_sums and layer.rows == layer.m + 1


def test_an_accumulator_that_could_overflow_is_refused(build_graph):
    depth = 70_000  # 255 * 128 * 70,000 > 2**31
    graph = build_graph(
        (1, depth),
        {"w": np.full((1, depth), -32.0)},
        ("fc.a", "quantize", ["image"], {"quant": pixel_quantizer()}),
        ("fc.b", "quantize", ["w"], {"quant": uniform(0.25, bits=8)}),
        ("fc", "linear", ["fc.a", "fc.b"]),
    )
    with pytest.raises(GraphError, match=r"^fc \(linear\): an accumulator must stay below 2\*\*31"):
        run_passes(with_formats(graph, fc=FixedPoint(16, 0)), [LowerToInteger()])


@pytest.mark.parametrize("zero_point", [0, 3])
def test_a_bias_is_finer_than_a_product_of_codes(build_graph, zero_point):
    """The codes of w3a3 are so coarse that a bias in their units would be a second rounding."""
    x = uniform(64.0, 3, signed=False, zero_point=zero_point)
    constants = {"b": [0.3, 7.7]}  # in units of 64 * 0.25: 0.02 and 0.48
    graph = linear(build_graph, uniform(0.25, 3), x, constants=constants, fc=FixedPoint(24, 12))
    wanted, integers, lowered = run_both(graph, [pixels(seed) for seed in range(20)])
    assert np.abs(integers / 2**12 - wanted).max() < 16 / 2**12
    images = [pixels(seed) for seed in range(20)]
    for image in images:
        fast, slow = (
            run(lowered).run(image, ["fc.acc", "fc"]).values
            for run in (IntegerExecutor, ReferenceExecutor)
        )
        assert fast["fc.acc"].dtype == np.int32
        for name, value in fast.items():
            assert_array_equal(value, slow[name], name)


NORM = ("norm", "layer_norm", ["fc", "gamma"], {"eps": 1e-6, "centered": True})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"extra": (NORM,), "fc": FixedPoint(16, 4), "norm": FixedPoint(16, -20)},
            r"norm \(layer_norm\): gamma_shift must be in 0\.\.31, not -5",
        ),
        (
            {"weight": uniform(2.0**20), "fc": FixedPoint(32, 31)},
            r"fc \(linear\): a multiplier must be below 32768",
        ),
    ],
    ids=["gamma", "multiplier"],
)
def test_an_error_of_a_unit_has_its_node(build_graph, changes, words):
    constants = {"gamma": [1.0, 2.0], "w": np.full((2, 4), 2.0**21)}
    graph = linear(build_graph, constants=constants, **changes)
    with pytest.raises(GraphError, match=f"^{words}"):
        run_passes(graph, [LowerToInteger()])


def test_a_token_that_is_too_long_is_an_error_of_its_node(build_graph):
    attrs = {"eps": 1e-6, "centered": True}
    graph = build_graph((1, 2, 9000), {}, ("norm", "layer_norm", ["image"], attrs))
    with pytest.raises(GraphError, match=r"^norm \(layer_norm\): dim must be in 1\.\.8192, not 9"):
        run_passes(with_formats(graph, norm=FixedPoint(16, 8)), [LowerToInteger()])
