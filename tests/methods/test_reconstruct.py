from dataclasses import replace

import pytest
import torch

from hwq.errors import SpecError
from hwq.methods.base import Bits
from hwq.methods.calibration import Calibration
from hwq.methods.minmax import MinMax
from hwq.methods.reconstruct import Reconstruction, reconstruct, without_weight_codes
from hwq.methods.workspace import Workspace
from hwq.runtime.fake_quant_executor import FakeQuantExecutor

SETTINGS = Reconstruction(iterations=20, batch=4, weight_rate=2e-2, scale_rate=1e-2)
WAYS = {
    "float": replace(SETTINGS, weights="float"),
    "straight through": SETTINGS,
    "rounding": replace(SETTINGS, weights="rounding", rounding_rate=3e-2),
    "attention": replace(SETTINGS, attention_weight=1.0, blocks=False),
}


@pytest.fixture(scope="module")
def calibration():
    return Calibration(Calibration.noise((3, 32, 32), 16, seed=2).pixels)


@pytest.fixture(scope="module")
def start(tiny_prepared, calibration):
    return MinMax().fit(tiny_prepared, calibration, Bits(3, 3)).graph


def error(graph, reference, calibration):
    """Squared error of the logits."""
    (pixels,) = calibration.batches()
    with torch.no_grad():
        got, wanted = (FakeQuantExecutor(one)(pixels)["head"] for one in (graph, reference))
    return float((got - wanted).square().mean())


def parameters(graph):
    """Every number that reconstruction may change."""
    found = {name: torch.tensor(value) for name, value in graph.constants.items()}
    for node in graph.nodes:
        if node.op == "quantize":
            found[node.name] = node.quantizer.scale.clone()
    return found


@pytest.mark.parametrize("way", WAYS)
def test_brings_the_network_nearer_to_the_float_one(way, start, tiny_prepared, calibration):
    tuned = reconstruct(start, tiny_prepared, calibration, WAYS[way], Workspace(), "tuning")
    before, after = (error(graph, tiny_prepared, calibration) for graph in (start, tuned))
    if way == "float":
        before, after = (
            error(without_weight_codes(graph), tiny_prepared, calibration)
            for graph in (start, tuned)
        )
    assert after < 0.9 * before


def test_hardened_weights_are_on_their_grid(start, tiny_prepared, calibration):
    tuned = reconstruct(start, tiny_prepared, calibration, WAYS["rounding"], Workspace(), "tuning")
    for node in tuned.nodes:
        if node.op == "quantize" and node.inputs[0] in tuned.constants:
            weight = torch.tensor(tuned.constants[node.inputs[0]])
            assert torch.equal(node.quantizer.fake_quantize(weight), weight), node.name


def test_resuming_gives_the_same_bits(start, tiny_prepared, calibration, tmp_path):
    def run(folder):
        settings = replace(SETTINGS, iterations=5)
        return parameters(
            reconstruct(start, tiny_prepared, calibration, settings, Workspace(7, folder), "tuning")
        )

    whole = run(tmp_path)
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == 4
    for path in kept[2:]:  # as if it had been killed after two units
        path.unlink()
    resumed, alone = run(tmp_path), run(None)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert all(torch.equal(whole[name], alone[name]) for name in whole)


def test_the_seed_matters(start, tiny_prepared, calibration):
    settings = replace(SETTINGS, iterations=3)
    one, other = (
        parameters(
            reconstruct(start, tiny_prepared, calibration, settings, Workspace(seed), "tuning")
        )
        for seed in (0, 1)
    )
    assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("field", "value"),
    [("iterations", 0), ("batch", 0), ("drop", 1.5), ("weight_rate", -1.0)],
)
def test_settings_are_checked(field, value):
    with pytest.raises(SpecError, match=field):
        Reconstruction(**{field: value})
