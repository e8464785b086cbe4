import numpy as np
import pytest
import torch

from hwq.errors import SpecError, UsageError
from hwq.graph.text import to_text
from hwq.methods.base import Bits
from hwq.methods.calibration import Calibration
from hwq.methods.catalog import METHODS
from hwq.methods.scalepredictor import ScalePredictor, find_taps
from hwq.methods.sites import predictable
from hwq.quantizers.dynamic import Dynamic
from hwq.runtime.fake_quant_executor import FakeQuantExecutor

BITS = Bits(4, 4)


@pytest.fixture(scope="module")
def base(tiny_prepared, tiny_calibration):
    return METHODS["minmax"]().fit(tiny_prepared, tiny_calibration, BITS)


@pytest.fixture(scope="module")
def contrasts():
    """Images of very different contrast: what the scales should be follows from the ranges."""
    rng = np.random.default_rng(0)
    noise = rng.integers(-127, 128, (128, 3, 32, 32))
    contrast = rng.uniform(0.05, 1.0, (128, 1, 1, 1))
    return Calibration((128 + noise * contrast).astype(np.uint8))


def test_taps_are_the_residual_stream_of_the_first_blocks(tiny_prepared):
    assert find_taps(tiny_prepared, 1) == ("add",)
    assert find_taps(tiny_prepared, 2) == ("add", "blocks.0.add_1")
    with pytest.raises(UsageError, match=r"^model 'tiny' has 5 residual sums, too few for 4 taps$"):
        find_taps(tiny_prepared, 4)


def test_predictable_are_linear_inputs_behind_the_taps(base):
    names = predictable(base.graph, "blocks.0.add_1")
    assert names == [
        "blocks.1.attn.qkv.a",
        "blocks.1.attn.proj.a",
        "blocks.1.mlp.fc1.a",
        "blocks.1.mlp.fc2.a",
        "head.a",
    ]
    assert set(names) < set(predictable(base.graph, "add"))


def test_a_model_without_blocks_behind_the_taps_is_refused(tiny_prepared, tiny_calibration):
    with pytest.raises(UsageError):
        ScalePredictor(base="minmax", taps=4).fit(tiny_prepared, tiny_calibration, BITS)


def test_it_cannot_be_its_own_base(tiny_prepared, tiny_calibration):
    with pytest.raises(UsageError, match=r"^scalepredictor cannot be its own base$"):
        ScalePredictor(base="scalepredictor").fit(tiny_prepared, tiny_calibration, BITS)


def test_the_choice_is_checked(tiny_prepared, tiny_calibration):
    with pytest.raises(UsageError, match=r"choose must be one of best, base, .*, not 'worst'"):
        ScalePredictor(choose="worst").fit(tiny_prepared, tiny_calibration, BITS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("taps", 0), ("features", 9), ("degree", 4), ("held_out", 1.0), ("images", 1)),
        *(("iterations", -1), ("batch", 0)),
    ],
)
def test_options_are_checked_before_anything_is_fitted(field, value):
    with pytest.raises(SpecError, match=f"^{field} must be "):
        ScalePredictor(**{field: value})


def test_the_verdict_is_by_held_out_logits(tiny_prepared, contrasts):
    found = ScalePredictor(base="minmax").fit(tiny_prepared, contrasts, BITS).findings
    sqnr = found["held_out_logit_sqnr_db"]
    assert set(sqnr) == {"base", "static", "dynamic", "dynamic and static"}
    assert sqnr[found["chosen"]] == max(sqnr.values())


def test_tuning_adds_a_candidate_that_is_the_same_every_time(tiny_prepared, contrasts, base):
    method = ScalePredictor(base="minmax", iterations=3, choose="tuned")
    first, again = (method.extend(base, tiny_prepared, contrasts) for _ in range(2))
    assert first.findings["chosen"] == "tuned"
    plain = ScalePredictor(base="minmax", choose="dynamic and static")
    found = [
        one.graph.by_name["scale_predictor"].attrs["predictor"]
        for one in (first, again, plain.extend(base, tiny_prepared, contrasts))
    ]
    assert torch.equal(found[0].coefficients, found[1].coefficients)
    assert torch.equal(found[0].biases, found[1].biases)
    assert not torch.equal(found[0].biases, found[2].biases)
    assert torch.equal(found[0].projection, found[2].projection)


def test_noise_is_not_fitted_but_counted(tiny_prepared):
    noise = Calibration.noise((3, 32, 32), 4, seed=0)
    fitted = ScalePredictor(base="minmax").fit(tiny_prepared, noise, BITS)
    assert "not fitted" in fitted.notes[-1] and "5 scales" in fitted.notes[-1]
    predictor = fitted.graph.by_name["scale_predictor"].attrs["predictor"]
    assert not predictor.coefficients.any() and not predictor.biases.any()
    plain = METHODS["minmax"]().fit(tiny_prepared, noise, BITS).graph
    pixels = torch.from_numpy(noise.pixels).float()
    wanted = FakeQuantExecutor(plain)(pixels)["head"]
    assert torch.equal(FakeQuantExecutor(fitted.graph)(pixels)["head"], wanted)


def test_closed_gates_give_the_base_method_and_say_so(tiny_prepared, tiny_calibration, base):
    method = ScalePredictor(base="minmax", min_r2=1.0, min_gain=1.0)
    fitted = method.fit(tiny_prepared, tiny_calibration, BITS)
    assert to_text(fitted.graph) == to_text(base.graph)
    assert "0 of 5 gates open, 0 other scales" in fitted.notes[-1]
    assert fitted.findings["gates_open"] == 0 and fitted.findings["chosen"] == "base"


def test_a_scale_behind_a_closed_gate_takes_the_best_static_value(tiny_prepared, contrasts, base):
    method = ScalePredictor(base="minmax", min_r2=1.0)
    fitted = method.extend(base, tiny_prepared, contrasts)
    assert fitted.findings["static_changed"] > 0 == fitted.findings["gates_open"]
    assert fitted.findings["chosen"] == "static"
    for row in fitted.findings["per_scale"]:
        old, new = (one.graph.by_name[row["name"]].quantizer for one in (base, fitted))
        changed = row["static_gain"] > method.min_gain
        assert bool(new.scale != old.scale) == changed
        assert torch.equal(new.zero_point, old.zero_point)


def test_open_gates_make_their_quantizers_dynamic(tiny_prepared, contrasts, lower):
    fitted = ScalePredictor(base="minmax", choose="dynamic").fit(tiny_prepared, contrasts, BITS)
    opened = [row["name"] for row in fitted.findings["per_scale"] if row["open"]]
    assert opened, fitted.findings
    dynamic = {
        node.name: node.quantizer.index
        for node in fitted.graph.nodes
        if isinstance(node.quantizer, Dynamic)
    }
    assert dynamic == {name: index for index, name in enumerate(opened)}
    assert f"{len(opened)} of 5 gates open" in fitted.notes[-1]
    assert fitted.findings["chosen"] == "dynamic"
    assert "reconstruction" in " ".join(fitted.notes)
    lower(fitted.graph)


def test_open_gates_lower_the_error_of_what_they_quantise(tiny_prepared, contrasts):
    """On images that the fit did not see."""
    fresh = Calibration(contrasts.pixels[::-1][:32].copy())
    seen = Calibration(contrasts.pixels[:96])
    fitted = ScalePredictor(base="minmax", choose="dynamic").fit(tiny_prepared, seen, BITS)
    plain = METHODS["minmax"]().fit(tiny_prepared, seen, BITS).graph
    opened = [row["name"] for row in fitted.findings["per_scale"] if row["open"]]
    assert opened
    better = 0
    for name in opened:
        errors = []
        for graph in (plain, fitted.graph):
            source = graph.by_name[name].inputs[0]
            got = fresh.collect(graph, [source, name])
            (linear,) = graph.consumers(name)
            right = graph.by_name[linear.inputs[1]]
            weight = torch.tensor(graph.constants[right.inputs[0]])
            codes = right.quantizer.fake_quantize(weight)
            errors.append(float(((got[name] - got[source]) @ codes.T).square().mean()))
        better += errors[1] < errors[0]
    assert better > len(opened) / 2


def test_base_and_its_options_are_passed_on(tiny_prepared, tiny_calibration):
    method = ScalePredictor(base="minmax", base_options={"softmax": "log2"}, min_r2=1.0)
    fitted = method.fit(tiny_prepared, tiny_calibration, BITS)
    assert fitted.graph.by_name["blocks.0.attn.matmul_1.a"].quantizer.name == "log2"
