import numpy as np
import pytest
import torch

from hwq.errors import SpecError, UsageError
from hwq.methods.base import Bits
from hwq.methods.catalog import METHODS
from hwq.methods.ptq4vit import Ptq4ViT, largest_m, output_parts
from hwq.methods.sites import find_sites
from hwq.quantizers.twin_uniform import GELU_MIN, TwinUniform
from hwq.quantizers.uniform import Uniform
from hwq.runtime.fake_quant_executor import FakeQuantExecutor
from hwq.runtime.integer_executor import IntegerExecutor
from hwq.runtime.reference_executor import ReferenceExecutor

BITS = Bits(4, 5)
QUICK = {"candidates": 12, "rounds": 1, "rows": 8}


@pytest.fixture(scope="module")
def fit(tiny_prepared, tiny_calibration):
    made = {}

    def fitted(bits=BITS, **options):
        key = (str(bits), tuple(options.items()))
        if key not in made:
            method = Ptq4ViT(**{**QUICK, **options})
            made[key] = method.fit(tiny_prepared, tiny_calibration, bits)
        return made[key]

    return fitted


def quantizer(fitted, name):
    return fitted.graph.by_name[name].quantizer


def test_twin_codes_after_softmax_and_gelu(fit, tiny_prepared):
    fitted = fit()
    for site in find_sites(tiny_prepared):
        made = quantizer(fitted, site.name)
        if site.producer in ("softmax", "gelu"):
            assert isinstance(made, TwinUniform) and made.form == site.producer
            assert fitted.findings[f"{made.form}_m"][site.name] == made.m
        elif site.producer != "input":
            assert isinstance(made, Uniform) and made.signed and not made.zero_point.any()


def test_granularity_is_as_published(fit):
    fitted = fit()
    sizes = {
        "attn.qkv.a": (),
        "attn.matmul.a": (2, 1, 1),
        "attn.matmul.b": (2, 1, 1),
        "attn.matmul_1.b": (2, 1, 1),
        "attn.proj.a": (),
        "attn.proj.b": (),
        "mlp.fc1.b": (),
    }
    for name, shape in sizes.items():
        assert quantizer(fitted, f"blocks.0.{name}").scale.shape == shape, name
    qkv = quantizer(fitted, "blocks.0.attn.qkv.b").scale
    assert qkv.shape == (96, 1)
    assert all(len(third.unique()) == 1 for third in qkv.reshape(3, 32))
    assert len(quantizer(fitted, "patch_embed.proj.linear.b").scale) == 32
    per_channel = fit(weights="per_channel")
    assert quantizer(per_channel, "blocks.0.mlp.fc1.b").scale.shape == (64, 1)


def test_outputs_of_a_fused_weight_are_told_apart(tiny_prepared):
    found = {
        name: output_parts(tiny_prepared, tiny_prepared.by_name[f"blocks.0.{name}"])
        for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    }
    assert found == {"attn.qkv": 3, "attn.proj": 1, "mlp.fc1": 1, "mlp.fc2": 1}


@pytest.mark.parametrize(("order", "parts"), [((0, 1), 2), ((1, 0), 2)])
def test_runs_of_channels_may_go_anywhere(build_graph, grid, order, parts):
    q, k = ({"axis": 2, "start": 4 * i, "stop": 4 * i + 4} for i in order)
    graph = build_graph(
        (1, 5, 6),
        {"w": grid(8, 6)},
        ("qk", "linear", ["image", "w"]),
        ("q", "slice", ["qk"], q),
        ("k", "slice", ["qk"], k),
        ("kt", "permute", ["k"], {"axes": (0, 2, 1)}),
        ("scores", "matmul", ["q", "kt"], {"alpha": 1.0}),
    )
    assert output_parts(graph, graph.by_name["qk"]) == parts


def test_interleaved_channels_share_a_scale(build_graph, grid):
    graph = build_graph(
        (1, 5, 6),
        {"w": grid(8, 6)},
        ("qk", "linear", ["image", "w"]),
        ("pairs", "reshape", ["qk"], {"shape": (1, 5, 4, 2)}),
        ("q", "select", ["pairs"], {"axis": 3, "index": 0}),
        ("k", "select", ["pairs"], {"axis": 3, "index": 1}),
        ("kt", "permute", ["k"], {"axes": (0, 2, 1)}),
        ("scores", "matmul", ["q", "kt"], {"alpha": 1.0}),
    )
    assert output_parts(graph, graph.by_name["qk"]) == 1


@pytest.mark.parametrize("bits", [3, 6, 8])
def test_negatives_of_gelu_never_clip(fit, bits):
    made = quantizer(fit(Bits(4, bits)), "blocks.0.mlp.fc2.a")
    assert made.scale * ((1 << (bits - 1)) - 1) >= -GELU_MIN * (1 - 1e-6)
    x = torch.linspace(GELU_MIN, 0, 1000)
    assert (made.fake_quantize(x) - x).abs().max() <= made.scale * 0.5001


def test_fine_range_of_gelu_is_the_finest_that_holds_its_minimum(
    fit, tiny_prepared, tiny_calibration
):
    """The coarse range reaches a candidate; one octave more between the two would clip."""
    peaks = tiny_calibration.max_abs(tiny_prepared, ["blocks.0.mlp.act", "blocks.1.mlp.act"])
    factors = Ptq4ViT(**QUICK).factors
    for name, peak in peaks.items():
        made = quantizer(fit(), name.replace("act", "fc2.a"))
        top = (1 << (BITS.activation - 1)) - 1
        reach = float(made.scale) * (top << made.m)
        assert float((peak * factors / reach - 1).abs().min()) < 1e-5
        assert -GELU_MIN <= float(made.scale) * top * (1 + 1e-6) and made.m > 0
        assert float(made.scale) * top / 2 < -GELU_MIN


def test_codes_fit_their_bits(fit, tiny_prepared, tiny_calibration):
    fitted = fit()
    twins = [s for s in find_sites(tiny_prepared) if s.producer in ("softmax", "gelu")]
    values = tiny_calibration.collect(tiny_prepared, [site.source for site in twins])
    for site in twins:
        codes = quantizer(fitted, site.name).encode(values[site.source])
        assert 0 <= int(codes.min()) and int(codes.max()) < 1 << BITS.activation
        assert len(codes.unique()) > 4


def test_largest_m_keeps_codes_and_accumulators():
    assert largest_m(197, 8, 8, 99) == 8  # 127 << 9 leaves 16 bits
    assert largest_m(197, 8, 8, 5) == 5
    assert largest_m(3072, 8, 8, 99) == 5  # 3072 * (127 << 6) * 128 leaves 32 bits
    assert largest_m(3072, 8, 4, 99) == 8
    assert largest_m(197, 2, 8, 99) == 15
    assert largest_m(1 << 20, 8, 8, 99) == 0


@pytest.mark.parametrize("bits", ["w8a8", "w4a5"])
def test_integers_are_exact(fit, lower, tiny_calibration, bits):
    """Scales per head become multipliers per channel; both executors agree on every tensor."""
    graph = lower(fit(Bits.parse(bits)).graph)
    names = [node.name for node in graph.nodes]
    for pixels in tiny_calibration.pixels[:2]:
        fast = IntegerExecutor(graph).run(pixels, names)
        slow = ReferenceExecutor(graph).run(pixels, names)
        for name in names:
            assert np.array_equal(fast.values[name], slow.values[name]), name
        assert fast.saturations == slow.saturations


def test_integers_follow_the_fake_quant_network(fit, lower, tiny_calibration):
    fitted = fit(Bits(8, 8))
    pixels = torch.from_numpy(tiny_calibration.pixels).float()
    wanted = FakeQuantExecutor(fitted.graph)(pixels)["head"].numpy()
    graph = lower(fitted.graph)
    form = graph.tensors["head"].quant
    for image, row in zip(tiny_calibration.pixels, wanted, strict=True):
        got = form.to_float(IntegerExecutor(graph).run(image).values["head"])[0]
        assert np.square(got - row).mean() < 0.01 * np.square(row).mean()


@pytest.mark.parametrize(
    "option",
    [
        {"metric": "mse"},
        {"metric": "cosine"},
        {"twin": 0},
        {"weights": "per_channel"},
        {"rounds": 2},
        {"candidates": 20},
        {"alpha": 0.5},
        {"beta": 2.0},
        {"softmax_m": 0},
        {"gelu_m": 0},
        {"rows": 4},
        {"images": 3},
    ],
)
def test_every_option_changes_the_result(fit, tiny_calibration, option):
    pixels = torch.from_numpy(tiny_calibration.pixels[:2]).float()
    plain, other = (
        FakeQuantExecutor(fitted.graph)(pixels)["head"] for fitted in (fit(), fit(**option))
    )
    assert not torch.equal(plain, other)


def test_without_twins_all_codes_are_symmetric(fit):
    fitted = fit(twin=0)
    for name in ("blocks.0.attn.matmul_1.a", "blocks.0.mlp.fc2.a"):
        made = quantizer(fitted, name)
        assert isinstance(made, Uniform) and made.signed and made.scale.numel() == 1
    assert fitted.findings == {"softmax_m": {}, "gelu_m": {}}


def test_m_is_limited_as_asked(fit):
    fitted = fit(softmax_m=1, gelu_m=2)
    assert max(fitted.findings["softmax_m"].values()) <= 1
    assert max(fitted.findings["gelu_m"].values()) <= 2


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"metric": "kl"}, "metric must be one of ('hessian', 'mse', 'cosine'), not 'kl'"),
        ({"weights": 3}, "weights must be one of ('per_tensor', 'per_channel'), not 3"),
        ({"twin": 2}, "twin must be one of (0, 1), not 2"),
        ({"rounds": 0}, "rounds must be a whole number from 1 on, not 0"),
        ({"rows": "x"}, "rows must be a whole number from 1 on, not 'x'"),
        ({"images": 0}, "images must be a whole number from 1 on, not 0"),
        ({"candidates": 1}, "candidates must be a whole number from 2 on, not 1"),
        ({"softmax_m": -1}, "softmax_m must be a whole number from 0 on, not -1"),
        ({"alpha": 1.5}, "0 < alpha < beta must hold, not alpha 1.5, beta 1.2"),
        ({"beta": "x"}, "0 < alpha < beta must hold, not alpha 0.01, beta x"),
    ],
)
def test_options_say_what_must_hold(option, message):
    with pytest.raises(SpecError) as caught:
        Ptq4ViT(**option)
    assert str(caught.value) == message


def test_is_registered():
    assert METHODS["ptq4vit"] is Ptq4ViT
    with pytest.raises(UsageError):
        Bits.parse("w8a9")
