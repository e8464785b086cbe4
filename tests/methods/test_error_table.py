from dataclasses import replace

import pytest
import torch

from hwq.methods.base import Bits
from hwq.methods.catalog import METHODS
from hwq.methods.error_table import OFFSETS, tabulate
from hwq.methods.scalepredictor import _with_ranges, find_taps
from hwq.methods.sites import apply_tuned
from hwq.runtime.fake_quant_executor import FakeQuantExecutor


@pytest.fixture(scope="module")
def graph(tiny_prepared, tiny_calibration):
    base = METHODS["minmax"]().fit(tiny_prepared, tiny_calibration, Bits(4, 4)).graph
    return _with_ranges(base, find_taps(base, 2))


@pytest.mark.parametrize("name", ["blocks.1.mlp.fc1", "head"])
def test_an_entry_is_the_error_of_the_layer_with_another_scale(name, graph, tiny_calibration):
    images = tiny_calibration.head(2)
    ranges, errors = tabulate(graph, [f"{name}.a"], images)
    assert ranges.shape == (2, 64) and errors.shape == (2, 1, len(OFFSETS))
    (pixels,) = images.batches()
    wanted = FakeQuantExecutor(_without(graph, f"{name}.a"))(pixels, [name])[name]
    for k in (0, 8, 16):
        other = apply_tuned(graph, {f"{name}.a": 2.0 ** OFFSETS[k]})
        got = FakeQuantExecutor(other)(pixels, [name])[name]
        error = (got - wanted).square().flatten(1).mean(1)
        torch.testing.assert_close(errors[:, 0, k], error, rtol=1e-3, atol=1e-6)


def _without(graph, name):
    """The graph with one quantizer less."""
    gone = graph.by_name[name]
    nodes = [
        replace(node, inputs=tuple(gone.inputs[0] if one == name else one for one in node.inputs))
        for node in graph.nodes
        if node is not gone
    ]
    return graph.rebuild(nodes)


def test_nothing_is_corrected_in_the_middle():
    assert OFFSETS[len(OFFSETS) // 2] == 0
    torch.testing.assert_close(OFFSETS, -OFFSETS.flip(0))
