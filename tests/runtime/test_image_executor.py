import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import GraphError
from hwq.graph.ir import Graph, Node, Tensor
from hwq.graph.ops import OPS
from hwq.numerics.add import AddSpec
from hwq.numerics.fixed_point import FixedPoint
from hwq.runtime.image_executor import ImageExecutor, unit_ops
from hwq.runtime.integer_executor import INTEGER_OPS, IntegerExecutor
from hwq.runtime.reference_executor import REFERENCE_OPS


def test_both_executors_know_the_same_operations():
    # the fast executor's linear layers read weights that it has packed
    assert {*INTEGER_OPS, "linear"} == set(REFERENCE_OPS)
    assert set(REFERENCE_OPS) == set(OPS) - {"conv2d", "quantize"}


def test_unknown_operation_is_named(tiny_prepared, quantise):
    with pytest.raises(GraphError, match=r": IntegerExecutor cannot execute 'quantize'$"):
        IntegerExecutor(quantise("minmax", "w8a8"))


def chain(count):
    nodes, source = [], "image"
    for index in range(count):
        nodes.append(
            Node("activation", (source,), Tensor(f"n{index}", (1, 2)), {"function": "gelu"})
        )
        source = f"n{index}"
    return Graph("g", (Tensor("image", (1, 2)),), {}, tuple(nodes), (source,))


def test_values_are_freed_after_their_last_use():
    alive = []

    class Value(np.ndarray):
        def __del__(self):
            alive.remove(self.tag)

    def step(node, x):
        value = np.zeros(2, int).view(Value)
        value.tag = node.name
        alive.append(node.name)
        assert len(alive) <= 3, alive
        return value, 0

    run = ImageExecutor(chain(6), {"activation": step}).run(np.zeros(2, np.uint8), ["n1", "n5"])
    assert sorted(alive) == ["n1", "n5"]
    assert set(run.values) == {"n1", "n5"}


def test_saturations_are_kept_per_node():
    run = ImageExecutor(chain(3), {"activation": lambda n, x: (x[0], int(n.name[1]))}).run(
        np.zeros(2, np.uint8)
    )
    assert run.saturations == {"n0": 0, "n1": 1, "n2": 2}
    assert list(run.values) == ["n2"]


@pytest.mark.parametrize("which", ["compute", "reference"])
def test_add_clamps_and_counts(which):
    form = FixedPoint(16, 4)
    node = Node("add", ("a", "b"), Tensor("y", (4,)), {"unit": AddSpec(form)})
    a = np.array([32767, -32768, 32767, 5], np.int16)
    b = np.array([1, -1, 0, -6], np.int16)
    held, saturated = unit_ops(which)["add"](node, [a, b])
    assert_array_equal(held, np.array([32767, -32768, 32767, -1], np.int16))
    assert held.dtype == np.int16 and saturated == 2


def test_images_are_independent_of_each_other(quantise, lower, tiny_calibration):
    executor = IntegerExecutor(lower(quantise("scalepredictor/minmax", "w8a8")))
    first, second = tiny_calibration.pixels[:2]
    alone = executor.run(second).values["head"]
    executor.run(first)
    assert_array_equal(executor.run(second).values["head"], alone)
    kept = second.copy()
    executor.run(second)
    assert_array_equal(second, kept)
