import pytest

from hwq.errors import GraphError
from hwq.methods.base import Bits
from hwq.methods.formats import assign_formats, float_tensors
from hwq.methods.minmax import MinMax
from hwq.numerics.fixed_point import FixedPoint


@pytest.fixture(scope="module")
def quantised(tiny_prepared, tiny_calibration):
    return MinMax().fit(tiny_prepared, tiny_calibration, Bits(8, 8)).graph


def form(graph, name):
    return graph.by_name[name].output.quant


def test_residual_tensors_share_one_format(quantised):
    stream = ["concat", "add", "patch_embed.proj.linear"]
    stream += [f"blocks.{block}.{name}" for block in (0, 1) for name in ("add", "add_1")]
    stream += [f"blocks.{block}.{name}" for block in (0, 1) for name in ("attn.proj", "mlp.fc2")]
    forms = {form(quantised, name) for name in stream}
    assert len(forms) == 1
    assert forms.pop().bits == 16


def test_every_tensor_holds_what_was_seen(quantised, tiny_calibration):
    peaks = tiny_calibration.max_abs(quantised, float_tensors(quantised))
    for name, peak in peaks.items():
        held = form(quantised, name)
        largest = held.max * held.lsb
        assert peak <= largest or (name.endswith("softmax") and peak <= 1.0), name


def test_probabilities_are_16_bit_fractions(quantised):
    assert form(quantised, "blocks.0.attn.softmax") == FixedPoint(16, 16, signed=False)


def test_an_activation_takes_8_to_12_fraction_bits(quantised):
    names = float_tensors(quantised)
    peaks = dict.fromkeys(names, 1.0)
    for peak, frac in ((0.5, 12), (3.0, 12), (40.0, 9), (1000.0, 8)):
        graph = assign_formats(quantised, {**peaks, "blocks.0.mlp.fc1": peak})
        assert form(graph, "blocks.0.mlp.fc1") == FixedPoint(16, frac)


def test_wide_activation_gets_more_bits_not_fewer_fraction_bits(quantised):
    peaks = dict.fromkeys(float_tensors(quantised), 1.0)
    for peak, bits in ((1.0, 16), (7.0, 17), (40.0, 19)):
        graph = assign_formats(quantised, {**peaks, "blocks.0.mlp.act": peak})
        held = form(graph, "blocks.0.mlp.act")
        assert (held.bits, held.frac) == (bits, 12), peak
        assert held.max * held.lsb >= peak


def test_movement_keeps_the_format(quantised):
    assert form(quantised, "select") == form(quantised, "norm")
    assert form(quantised, "patch_embed.permute") == form(quantised, "patch_embed.proj.linear")


def test_codes_keep_their_quantizer(quantised):
    node = quantised.by_name["head.a"]
    again = assign_formats(quantised, dict.fromkeys(float_tensors(quantised), 1.0))
    assert again.by_name["head.a"].output.quant is node.quantizer


def test_one_tensor_of_the_residual_stream_decides_for_all(quantised):
    """With a quarter of headroom, 1.5 fits 2**15 * 2**-14 and 1.7 does not."""
    peaks = dict.fromkeys(float_tensors(quantised), 1.5)
    assert form(assign_formats(quantised, peaks), "concat").frac == 14
    assert form(assign_formats(quantised, {**peaks, "add": 1.7}), "concat").frac == 13


def test_vectors_need_no_format(quantise):
    graph = quantise("scalepredictor/minmax", "w8a8")
    ranges = [node.name for node in graph.nodes if node.op in ("range_extract", "scale_predictor")]
    assert ranges and not set(ranges) & set(float_tensors(graph))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_have_their_node(build_graph, value):
    graph = build_graph((1, 4), {}, ("y", "add", ["image", "image"]))
    with pytest.raises(GraphError, match=r"^y \(add\): its values are not finite in calibration$"):
        assign_formats(graph, {"y": value})
