import pytest
import torch

from hwq.errors import UsageError
from hwq.methods.base import Bits
from hwq.methods.minmax import MinMax
from hwq.methods.units import residual_sums, split_units
from hwq.runtime.fake_quant_executor import FakeQuantExecutor


@pytest.fixture(scope="module")
def quantised(tiny_prepared, tiny_calibration):
    return MinMax().fit(tiny_prepared, tiny_calibration, Bits(4, 4)).graph


def test_residual_sums_are_those_that_all_data_passes(tiny_prepared, quantised):
    sums = [node.name for node in tiny_prepared.nodes if node.op == "add"]
    assert residual_sums(tiny_prepared) == tuple(sums)
    assert residual_sums(quantised) == tuple(sums)


def test_a_sum_inside_a_branch_is_no_cut(build_graph):
    graph = build_graph(
        (1, 4),
        {},
        ("inner", "add", ["image", "image"]),
        ("again", "activation", ["image"], {"function": "gelu"}),
        ("outer", "add", ["inner", "again"]),
    )
    assert residual_sums(graph) == ("outer",)


@pytest.mark.parametrize(("blocks", "attentions"), [(False, 2), (True, 2)])
def test_units_chained_are_the_network(quantised, tiny_calibration, blocks, attentions):
    units = split_units(quantised, blocks)
    assert len(units) == (4 if blocks else 6)  # embedding, blocks or modules, head
    assert sum(unit.attention for unit in units) == attentions
    x = pixels = next(tiny_calibration.batches())
    for unit in units:
        x = FakeQuantExecutor(unit.graph)(x)[unit.result]
    wanted = FakeQuantExecutor(quantised)(pixels)["head"]
    assert torch.equal(x, wanted)


def test_a_unit_has_its_twin_in_the_float_network(quantised, tiny_prepared):
    unit = split_units(quantised)[1]
    twin = unit.of(tiny_prepared)
    assert (twin.source, twin.result) == (unit.source, unit.result)
    assert not any(node.op == "quantize" for node in twin.graph.nodes)


def test_a_network_without_residual_sums_is_refused(build_graph):
    graph = build_graph((1, 4), {}, ("y", "activation", ["image"], {"function": "gelu"}))
    with pytest.raises(UsageError, match="small"):
        split_units(graph)
