"""What every method owes, checked for each that is registered."""

from dataclasses import FrozenInstanceError

import pytest
import torch

from hwq.compiler.passes.base import run_passes
from hwq.compiler.pipelines import HOIST
from hwq.errors import UsageError
from hwq.graph.text import to_text
from hwq.graph.verify import verify
from hwq.methods.base import Bits
from hwq.methods.calibration import Calibration
from hwq.methods.catalog import METHODS
from hwq.methods.sites import find_sites
from hwq.numerics.fixed_point import FixedPoint
from hwq.quantizers.base import Quantizer
from hwq.quantizers.dynamic import Dynamic
from hwq.runtime.fake_quant_executor import FAKE_QUANT_OPS, TorchExecutor
from hwq.runtime.integer_executor import IntegerExecutor

BITS = Bits(4, 6)
# methods that were published with unquantised attention probabilities
EIGHT_BIT_PROBABILITIES = {"psaq_vit"}
# with logarithmic codes of GELU outputs or of probabilities: more bits reach further down, in the
# same steps
STEPS_STAY = {"adfq_vit", "is_vit"}


@pytest.fixture(scope="module", params=list(METHODS))
def fitted(request, tiny_prepared, tiny_calibration, quick_method):
    return quick_method(request.param).fit(tiny_prepared, tiny_calibration, BITS)


def test_output_verifies(fitted):
    assert verify(fitted.graph) is fitted.graph
    assert fitted.graph.outputs == ("head",)
    assert all(isinstance(note, str) for note in fitted.notes)


def test_every_matrix_operand_is_quantised(fitted):
    sites = find_sites(fitted.graph)
    assert len(sites) == 2 * (2 * 6 + 2)
    for site in sites:
        assert fitted.graph.by_name[site.source].op == "quantize", site


def test_widths_are_those_asked_for(request, fitted):
    name = request.node.callspec.params["fitted"]
    for site in find_sites(fitted.graph):
        node = fitted.graph.by_name[site.source]
        if node.inputs[0] in fitted.graph.constants:
            wanted = BITS.weight
        elif site.consumer.startswith("patch_embed") and site.operand == "a":
            wanted = 8  # the image's own bytes
        elif name in EIGHT_BIT_PROBABILITIES and site.name.endswith("matmul_1.a"):
            wanted = 8
        else:
            wanted = BITS.activation
        assert node.quantizer.bits == wanted, site


def test_everything_that_is_no_code_has_a_format(fitted):
    for node in fitted.graph.nodes:
        if node.op == "quantize":
            assert isinstance(node.output.quant, Quantizer)
        elif len(node.output.shape) > 1:
            assert isinstance(node.output.quant, FixedPoint), node.name


def test_codes_stay_inside_their_range(fitted, tiny_calibration):
    """Images far outside what was calibrated included."""
    seen = {}

    def quantize(node, x):
        quantizer = node.quantizer
        extra = [x[1][..., quantizer.index]] if len(x) > 1 else []
        codes = quantizer.encode(x[0], *extra)
        seen.setdefault(node.name, []).append((int(codes.min()), int(codes.max())))
        return quantizer.fake_quantize(x[0], *extra)

    executor = TorchExecutor(fitted.graph, {**FAKE_QUANT_OPS, "quantize": quantize})
    for image in (tiny_calibration.pixels[0], 255 * (tiny_calibration.pixels[1] > 127)):
        pixels = torch.from_numpy(image.astype("float32"))[None]
        executor.run({"image": pixels}, ["head"])
    for name, ranges in seen.items():
        quantizer = fitted.graph.by_name[name].quantizer
        half = 1 << (quantizer.bits - 1)
        lo, hi = (-half, half - 1) if getattr(quantizer, "signed", False) else (0, 2 * half - 1)
        assert all(lo <= low and high <= hi for low, high in ranges), name
    assert len(seen) == len([n for n in fitted.graph.nodes if n.op == "quantize"])


def test_deterministic(request, tiny_prepared, tiny_calibration, fitted, quick_method):
    name = request.node.callspec.params["fitted"]
    again = quick_method(name).fit(tiny_prepared, tiny_calibration, BITS)
    assert to_text(again.graph) == to_text(fitted.graph)
    assert again.notes == fitted.notes and again.findings == fitted.findings


def test_lowers_and_runs_in_integers(fitted, lower, tiny_calibration):
    lowered = lower(fitted.graph)
    run = IntegerExecutor(lowered).run(tiny_calibration.pixels[0])
    assert run.values["head"].shape == (1, 10)


def test_hoisting_happens(fitted):
    hoisted = run_passes(fitted.graph, HOIST)
    assert "blocks.0.attn.qkv.codes" in hoisted.by_name


@pytest.mark.parametrize("name", list(METHODS))
def test_synthetic_calibration_is_enough(name, tiny_prepared, lower, quick_method):
    noise = Calibration.noise((3, 32, 32), 2, seed=0)
    fitted = quick_method(name).fit(tiny_prepared, noise, Bits(8, 8))
    lowered = lower(fitted.graph)
    IntegerExecutor(lowered).run(noise.pixels[0])


@pytest.mark.parametrize("name", list(METHODS))
def test_options_are_frozen_and_the_name_is_the_key(name):
    method = METHODS[name]()
    assert method.name == name
    with pytest.raises(FrozenInstanceError):
        method.images = 3


def test_more_bits_are_nearer_to_float(tiny_prepared, tiny_calibration, quick_method):
    pixels = torch.from_numpy(tiny_calibration.pixels).float()
    wanted = TorchExecutor(tiny_prepared)(pixels)["head"]
    for name in METHODS:
        errors = []
        for bits in ("w3a3", "w4a4", "w8a8"):
            method = quick_method(name)
            graph = method.fit(tiny_prepared, tiny_calibration, Bits.parse(bits)).graph
            got = TorchExecutor(graph, FAKE_QUANT_OPS)(pixels)["head"]
            errors.append(float((got - wanted).square().mean() / wanted.square().mean()))
        if name in STEPS_STAY:
            assert errors[0] > max(errors[1:]), name
        else:
            assert errors == sorted(errors, reverse=True), name
            assert errors[-1] < 5e-3, name


def test_dynamic_quantizers_read_the_predictor(tiny_prepared):
    noise = Calibration.noise((3, 32, 32), 2, seed=0)
    graph = METHODS["scalepredictor"]().fit(tiny_prepared, noise, BITS).graph
    dynamic = [n for n in graph.nodes if isinstance(n.quantizer, Dynamic)]
    assert dynamic and all(node.inputs[1] == "scale_predictor" for node in dynamic)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("w1a99", "bits: weight bits must be in 2..8, not 1"),
        ("w8a9", "bits: activation bits must be in 2..8, not 9"),
        ("8x8", "bits must look like w8a8, not '8x8'"),
        ("w8a8 ", "bits must look like w8a8, not 'w8a8 '"),
        ("w-4a4", "bits must look like w8a8, not 'w-4a4'"),
    ],
)
def test_bits_say_what_must_hold(text, message):
    with pytest.raises(UsageError) as caught:
        Bits.parse(text)
    assert str(caught.value) == message


def test_bits_read_what_they_write():
    for text in ("w8a8", "w4a8", "w2a3"):
        assert str(Bits.parse(text)) == text
    assert Bits.parse("w4a8") == Bits(weight=4, activation=8)


def test_unknown_methods_are_named():
    with pytest.raises(UsageError, match=r"unknown PTQ method 'minmx'.*minmax"):
        METHODS["minmx"]
