import numpy as np
import pytest
import torch

from hwq.errors import GraphError
from hwq.graph.ir import Graph, Node, Tensor
from hwq.runtime.float_executor import TorchExecutor


def test_batch_equals_one_by_one(tiny_graph):
    images = torch.randn((3, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    executor = TorchExecutor(tiny_graph)
    together = executor(images)["head"]
    alone = torch.cat([executor(image[None])["head"] for image in images])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert together.shape == (3, 10)


def test_fetch_gives_any_tensor_without_its_leading_one(tiny_graph):
    names = ["blocks.0.attn.softmax", "blocks.1.norm1", "blocks.0.attn.permute"]
    got = TorchExecutor(tiny_graph)(torch.zeros(2, 3, 32, 32), names)
    assert {name: tuple(value.shape) for name, value in got.items()} == {
        "blocks.0.attn.softmax": (2, 2, 17, 17),
        "blocks.1.norm1": (2, 17, 32),
        "blocks.0.attn.permute": (2, 3, 1, 2, 17, 16),
    }


def test_values_are_freed_after_their_last_use(build_graph):
    seen = []

    def spy(node, x):
        seen.append(node.name)
        return x[0] + 0

    gelu = {"function": "gelu"}
    chain = [(f"n{i}", "activation", [f"n{i - 1}" if i else "image"], gelu) for i in range(4)]
    graph = build_graph((1, 2), {}, *chain)
    executor = TorchExecutor(graph, {"activation": spy})
    result = executor.run({"image": torch.ones(1, 2)}, ["n1", "n3"])
    assert seen == ["n0", "n1", "n2", "n3"] and set(result) == {"n1", "n3"}


def test_softmax_in_base_two():
    node = Node("softmax", ("image",), Tensor("y", (1, 3)), {"base": 2})
    graph = Graph("g", (Tensor("image", (1, 3)),), {}, (node,), ("y",))
    got = TorchExecutor(graph)(torch.tensor([[0.0, 1.0, 2.0]]))["y"]
    torch.testing.assert_close(got, torch.tensor([[1 / 7, 2 / 7, 4 / 7]]))


def test_unknown_operation_is_named():
    node = Node("encode", ("image",), Tensor("y", (1, 3)), {"unit": None})
    graph = Graph("g", (Tensor("image", (1, 3)),), {"c": np.zeros(1)}, (node,), ("y",))
    with pytest.raises(GraphError, match=r"^y: TorchExecutor cannot execute 'encode'$"):
        TorchExecutor(graph)
