"""A predictor that starts at nothing learns what the blocks need."""

from dataclasses import replace

import pytest
import torch

from hwq.methods.base import Bits
from hwq.methods.calibration import Calibration
from hwq.methods.catalog import METHODS
from hwq.methods.scalepredictor import ScalePredictor
from hwq.methods.tune_predictor import tune_predictor
from hwq.methods.units import split_units
from hwq.methods.workspace import NO_WORKSPACE, Workspace
from hwq.quantizers.dynamic import Dynamic

SHAPE = (3, 32, 32)


def changed(graph, op, change):
    """Replace the attributes of the nodes of one operation."""
    nodes = [
        replace(node, attrs={**node.attrs, **change(node)}) if node.op == op else node
        for node in graph.nodes
    ]
    return replace(graph, nodes=tuple(nodes))


@pytest.fixture(scope="module")
def images():
    return Calibration.noise(SHAPE, 32, seed=0)


@pytest.fixture(scope="module")
def untuned(tiny_prepared, images):
    """All gates open, nothing corrected, and every scale that is predicted far too large."""
    base = METHODS["minmax"]().fit(tiny_prepared, images, Bits(8, 4))
    graph = ScalePredictor(base="minmax").extend(base, tiny_prepared, images).graph

    def enlarge(node):
        quantizer = node.quantizer
        if not isinstance(quantizer, Dynamic):
            return node
        larger = replace(quantizer, base=quantizer.base.rescaled(torch.tensor(2.0)))
        return replace(node, output=replace(node.output, quant=larger))

    return replace(graph, nodes=tuple(map(enlarge, graph.nodes)))


def error(graph, reference, images):
    names = [unit.result for unit in split_units(reference, blocks=True)]
    wanted, got = (images.collect(one, names) for one in (reference, graph))
    shares = [(got[n] - wanted[n]).square().mean() / wanted[n].square().mean() for n in names]
    return float(torch.stack(shares).mean())


def test_the_error_of_the_blocks_falls(untuned, tiny_prepared, images):
    steps = []

    def track(items, what, count):
        steps.append((what, count))
        return items

    workspace = Workspace(track=track)
    tuned = tune_predictor(untuned, tiny_prepared, images, 40, 8, workspace)
    corrected = changed(untuned, "scale_predictor", lambda node: {"predictor": tuned})
    before = error(untuned, tiny_prepared, images)
    after = error(corrected, tiny_prepared, images)
    assert after < 0.8 * before, (before, after)
    assert (tuned.biases < 0).all()
    assert steps == [("scale predictor", 40)]


def test_what_comes_back_can_be_kept(untuned, tiny_prepared, images):
    tuned = tune_predictor(untuned, tiny_prepared, images, 1, 4, NO_WORKSPACE)
    start = untuned.by_name["scale_predictor"].attrs["predictor"]
    assert not tuned.biases.requires_grad and not tuned.coefficients.requires_grad
    assert tuned.biases.shape == start.biases.shape
    assert torch.equal(tuned.projection, start.projection)
    assert not start.biases.any(), "what was there before must not change"
