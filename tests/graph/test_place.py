from dataclasses import fields, is_dataclass

import torch

from hwq.graph.place import place


def tensors(value):
    """Every tensor in a value."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))
    elif is_dataclass(value) and not isinstance(value, type):
        yield from tensors([getattr(value, one.name) for one in fields(value)])


def of_nodes(graph):
    return list(tensors([[dict(node.attrs), node.output.quant] for node in graph.nodes]))


def test_a_graph_that_is_there_is_returned_as_it_is(quantise):
    graph = quantise("scalepredictor/minmax", "w4a6")
    assert place(graph, "cpu") is graph


def test_every_tensor_moves_and_nothing_else(quantise):
    """To a device without storage, which every machine has."""
    graph = quantise("scalepredictor/minmax", "w4a6")
    moved = place(graph, "meta")
    assert {tensor.device.type for tensor in of_nodes(graph)} == {"cpu"}
    assert {tensor.device.type for tensor in of_nodes(moved)} == {"meta"}
    assert len(of_nodes(moved)) == len(of_nodes(graph)) > 20
    assert moved.constants is graph.constants and moved.inputs is graph.inputs
    for old, new in zip(graph.nodes, moved.nodes, strict=True):
        assert (old.op, old.inputs, old.output.shape) == (new.op, new.inputs, new.output.shape)
        if old.op == "quantize":
            assert type(new.output.quant) is type(old.output.quant)
