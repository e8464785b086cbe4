"""The reference is checked against numbers worked out by hand, and against torch in the reals."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from hwq.graph.ir import Node, Tensor
from hwq.quantizers.log2 import Log2
from hwq.quantizers.log_sqrt2 import LogSqrt2
from hwq.quantizers.twin_uniform import TwinUniform
from hwq.quantizers.uniform import Uniform
from hwq.runtime.integer_executor import INTEGER_OPS
from hwq.runtime.reference_executor import REFERENCE_OPS, ReferenceExecutor

QUANTIZERS = {
    "uniform": Uniform(torch.tensor(1.0), torch.tensor(5), 4),
    "signed": Uniform(torch.tensor(1.0), torch.tensor(0), 4, signed=True),
    "log2": Log2(4),
    "log_sqrt2": LogSqrt2(4, 1),
    "twin_uniform": TwinUniform.softmax(4, 3),
}


def product(quantizer, op="matmul"):
    form = quantizer.mac_form()
    dtype = "int32" if len(form.plane_weights) == 1 else "int64"
    return Node(op, ("a", "b"), Tensor("y", (1, 2, 3, 2), dtype), {"form": form, "alpha": 1})


@pytest.mark.parametrize("quantizer", QUANTIZERS.values(), ids=QUANTIZERS)
def test_product_is_the_sum_over_k_of_values_times_codes(quantizer):
    form = quantizer.mac_form()
    rng = np.random.default_rng(0)
    signed = getattr(quantizer, "signed", False)
    lo = -8 if signed else 0
    a = rng.integers(lo, lo + 16, (1, 2, 3, 5), np.int8 if signed else np.uint8)
    b = rng.integers(-8, 8, (1, 2, 5, 2), np.int8)
    node = product(quantizer)
    got, saturated = REFERENCE_OPS["matmul"](node, [a, b])
    values = form.value_table() - form.offset
    for h in range(2):
        for m in range(3):
            for n in range(2):
                wanted = sum(int(values[a[0, h, m, k]]) * int(b[0, h, k, n]) for k in range(5))
                assert got[0, h, m, n] == wanted
    assert saturated == 0 and got.dtype == node.output.dtype
    decoded = quantizer.decode(torch.tensor(a.astype(np.int64)))
    exact = [Fraction(v) / Fraction(float(form.lsb)) for v in decoded.double().flatten().tolist()]
    assert [values[c] for c in a.flatten()] == exact


@pytest.mark.parametrize("quantizer", QUANTIZERS.values(), ids=QUANTIZERS)
def test_fast_product_is_equal_for_every_pair_of_codes(quantizer):
    signed = getattr(quantizer, "signed", False)
    lo = -8 if signed else 0
    a = np.arange(lo, lo + 16).astype(np.int8 if signed else np.uint8).reshape(1, 1, 16, 1)
    b = np.arange(-128, 128).astype(np.int8).reshape(1, 1, 1, 256)
    node = product(quantizer)
    node = Node(node.op, node.inputs, Tensor("y", (1, 1, 16, 256), node.output.dtype), node.attrs)
    wanted, _ = REFERENCE_OPS["matmul"](node, [a, b])
    got, _ = INTEGER_OPS["matmul"](node, [a, b])
    assert_array_equal(got, wanted)
    assert got.dtype == wanted.dtype


def test_linear_reads_its_weight_by_rows():
    quantizer = QUANTIZERS["signed"]
    node = Node(
        "linear", ("a", "b"), Tensor("y", (1, 1, 2), "int32"), {"form": quantizer.mac_form()}
    )
    a = np.array([[[1, -2, 3]]], np.int8)
    weight = np.array([[1, 1, 1], [0, 0, 7]], np.int8)
    assert_array_equal(REFERENCE_OPS["linear"](node, [a, weight])[0], [[[2, 21]]])


def test_runs_a_network(quantise, lower, tiny_calibration):
    graph = lower(quantise("minmax", "w8a8"))
    run = ReferenceExecutor(graph).run(tiny_calibration.pixels[0])
    assert run.values["head"].shape == (1, 10) and run.values["head"].dtype == np.int16
