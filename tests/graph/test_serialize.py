from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from hwq.errors import GraphError
from hwq.graph.serialize import Packer, Unpacker, pack_graph, to_constant, unpack_graph
from hwq.graph.text import describe, to_text


@dataclass(frozen=True, eq=False)
class Inner:
    scale: torch.Tensor
    bits: int = 4


@dataclass(frozen=True, eq=False)
class Outer:
    inner: Inner
    table: np.ndarray
    pair: tuple[float, float]
    options: dict[str, Any] = field(default_factory=dict)
    made: int = field(init=False, default=7)


CLASSES = {"inner": Inner, "outer": Outer}


def name_of(kind):
    return next((name for name, known in CLASSES.items() if known is kind), None)


def round_trip(value):
    packer = Packer(name_of)
    content = packer.pack(value, "node.quantizer")
    unpacker = Unpacker(CLASSES.__getitem__, packer.tensors).load(packer.objects)
    return unpacker.unpack(content), packer


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        0.1,
        -1e-300,
        float("inf"),
        "text",
        (1, (2.0, "b"), ()),
        {"a": (1, 2), "b": {"c": None}},
        torch.tensor(1.5),
        torch.arange(6, dtype=torch.int32).reshape(2, 3).T,
        torch.tensor([True, False]),
        np.arange(3, dtype=np.int16),
        (torch.ones(2), {"deep": torch.zeros(1, dtype=torch.float64)}),
        Inner(torch.tensor([[0.5], [0.25]])),
        Outer(Inner(torch.tensor(2.0)), np.eye(2, dtype=np.float32), (1.0, 2.0), {"a": 1}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_comes_back(value):
    back, _ = round_trip(value)
    assert describe(back) == describe(value) and type(back) is type(value)


def test_numpy_numbers_become_plain_ones():
    back, _ = round_trip((np.int64(3), np.float32(0.5), np.bool_(True)))
    assert back == (3, 0.5, True) and [type(one) for one in back] == [int, float, bool]


def test_equal_values_are_written_once_however_they_were_shared():
    one, same, other = (Inner(torch.tensor(scale)) for scale in (0.5, 0.5, 0.25))
    packers = [Packer(name_of), Packer(name_of)]
    shared = [packers[0].pack(x, f"node{n}") for n, x in enumerate((one, one, other))]
    apart = [packers[1].pack(x, f"node{n}") for n, x in enumerate((one, same, other))]
    assert shared == apart and packers[0].objects == packers[1].objects
    assert len(packers[0].objects) == 2 and list(packers[0].tensors) == [
        "node0.scale",
        "node2.scale",
    ]
    unpacker = Unpacker(CLASSES.__getitem__, packers[0].tensors).load(packers[0].objects)
    first, second, third = (unpacker.unpack(content) for content in shared)
    assert first is second and third is not first


def test_type_and_shape_tell_values_apart():
    packer = Packer(name_of)
    scales = (torch.zeros(4), torch.zeros(2, 2), torch.zeros(4, dtype=torch.int32))
    for number, scale in enumerate(scales):
        packer.pack(Inner(scale), f"node{number}")
    assert len(packer.objects) == 3


def test_tensors_are_on_the_cpu_and_without_gradient():
    scale = torch.ones(3, requires_grad=True)
    back, packer = round_trip(Inner(scale))
    assert isinstance(packer.tensors["node.quantizer.scale"], np.ndarray)
    assert not back.scale.requires_grad


@pytest.mark.parametrize("value", [object(), {"a": [1, object()]}, 1j, torch.float32])
def test_what_cannot_be_kept_is_named(value):
    with pytest.raises(GraphError, match=r"node\.quantizer.* cannot be kept in a file"):
        round_trip(value)


def test_a_class_without_a_name_is_refused():
    @dataclass(frozen=True)
    class Stranger:
        bits: int = 3

    with pytest.raises(GraphError, match="a Stranger cannot be kept in a file"):
        round_trip(Stranger())


def test_a_field_that_does_not_exist_is_named():
    packer = Packer(name_of)
    packer.pack(Inner(torch.tensor(1.0)), "node.quantizer")
    packer.objects[0]["value"]["fields"]["wits"] = 3
    with pytest.raises(GraphError, match=r"node\.quantizer: .*wits"):
        Unpacker(CLASSES.__getitem__, packer.tensors).load(packer.objects)


def test_an_unknown_kind_of_value_is_named():
    with pytest.raises(GraphError, match="unknown kind of value 'pickle'"):
        Unpacker(CLASSES.__getitem__, {}).unpack({"pickle": "x"})


def test_a_graph_comes_back(tiny_graph):
    packer = Packer(name_of)
    content = pack_graph(tiny_graph, packer)
    assert not packer.objects and not packer.tensors
    back = unpack_graph(content, tiny_graph.constants, Unpacker(CLASSES.__getitem__, {}))
    assert to_text(back) == to_text(tiny_graph)


def test_constants_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        to_constant(np.zeros(2))[0] = 1
