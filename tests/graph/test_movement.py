import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from hwq.graph.ir import Node, Tensor
from hwq.graph.movement import MOVEMENT, compress, move
from hwq.graph.ops import OPS
from hwq.runtime.float_executor import FLOAT_OPS

CASES = [
    ("reshape", {"shape": (6, 4)}),
    ("permute", {"axes": (2, 0, 1)}),
    ("slice", {"axis": 1, "start": 1, "stop": 3}),
    ("select", {"axis": 2, "index": 3}),
    ("expand", {"shape": (5, 2, 3, 4)}),
    ("concat", {"axis": 1}),
]


@pytest.mark.parametrize(("op", "attrs"), CASES)
def test_equals_the_float_executor(op, attrs):
    x = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    operands = [x, x + 100] if op == "concat" else [x]
    node = Node(op, ("x",), Tensor("y", ()), attrs)
    moved = move(node, operands)
    assert moved.dtype == np.int32
    assert_array_equal(moved, FLOAT_OPS[op](node, [torch.tensor(v) for v in operands]).numpy())
    assert moved.shape == OPS[op].infer([v.shape for v in operands], attrs)


def test_every_movement_operation_is_covered():
    moving = {op for op, definition in OPS.items() if definition.movement}
    assert {op for op, _ in CASES} == set(MOVEMENT) == moving | {"concat"}


def test_compress_reduces_constant_axes():
    values = np.broadcast_to(np.arange(3.0)[:, None], (2, 3, 4))
    assert_array_equal(compress(values), np.arange(3.0).reshape(1, 3, 1))
    assert compress(np.zeros((2, 3))).shape == (1, 1)
