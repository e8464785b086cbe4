"""Bytes, words or digits, whatever the codes stand for: sums never leave 32 bits."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.numerics._product import multiply_rows
from hwq.numerics.gemm import RUNGS, available_rungs
from hwq.numerics.log2 import Log2Spec
from hwq.quantizers.mac_form import MacForm
from hwq.quantizers.twin_uniform import TwinUniform
from hwq.quantizers.uniform import Uniform
from hwq.runtime.fused.kernels import copy_codes, has_digits, multiply_digits
from hwq.runtime.fused.operands import LeftOperand, prepare_computed, prepare_constant

FORMS = {
    "codes of 8 bits": (Uniform.symmetric(1.0, 8).mac_form(), True),
    "codes of 4 bits": (Uniform.from_range(-1.0, 1.0, 4).mac_form(), False),
    "log2, 2**15": (MacForm.logarithmic(Log2Spec(16, 8, 1)), False),
    "log_sqrt2, 8 bits": (MacForm.logarithmic(Log2Spec(16, 8, 2)), False),
    "log_sqrt2, 4 bits": (MacForm.logarithmic(Log2Spec(16, 4, 2, 4)), False),
    "twin, signed": (TwinUniform.gelu(1.0, 8, 2).mac_form(), False),
}
CASES = [(name, depth) for name in FORMS for depth in (3, 197, 1536, 6144)]


@pytest.fixture(params=[rung.name for rung in RUNGS])
def rung(request, monkeypatch):
    if request.param not in available_rungs():
        pytest.skip(f"this CPU has no {request.param}")
    monkeypatch.setattr("hwq.numerics.gemm.best_rung", lambda: request.param)
    monkeypatch.setattr("hwq.runtime.fused.operands.best_rung", lambda: request.param)
    return request.param


def operands(form, depth, columns=9):
    """Codes of the largest and the least values, and random ones; columns of one sign, too."""
    rng = np.random.default_rng(depth)
    codes = rng.integers(0, 1 << form.bits, (7, depth)).astype(np.uint8)
    codes[0], codes[1] = form.value_table().argmax(), form.value_table().argmin()
    b = rng.integers(-128, 127, (depth, columns), np.int8, endpoint=True)
    b[:, 0], b[:, 1] = -128, 127
    return codes, b


def product_of(form, signed, codes, b):
    values = form.value_table()[codes & ((1 << form.bits) - 1)]
    if form.pe.multiplies and form.pe.shifts == 1:
        values = codes.astype(np.int64)
        if signed:
            values = (values + (1 << form.bits - 1)) % (1 << form.bits) - (1 << form.bits - 1)
    return values @ b.astype(np.int64)


def multiply(codes, left, product, columns):
    """Sums of 64 bits: of digits, or what 32 bits hold."""
    acc = np.empty((len(codes), product[2][1].size), np.int32)
    if has_digits(left):
        total = np.empty((len(codes), columns), np.int64)
        multiply_digits(codes, left, product, acc, total)
        return total
    copy_codes(codes, left, product[1])
    multiply_rows(product[0], product[1], len(codes), product[2], acc)
    return acc[:, :columns]


@pytest.mark.parametrize(("name", "depth"), CASES)
def test_a_constant_is_multiplied_exactly_or_not_at_all(rung, name, depth):
    form, signed = FORMS[name]
    codes, b = operands(form, depth)
    wanted = product_of(form, signed, codes, b)
    prepared = prepare_constant(LeftOperand.of(form, signed), b)
    if prepared is None:
        assert np.abs(wanted).max() >= 1 << 31 and depth > 4096
        return
    left, product = prepared
    if not has_digits(left):  # what accumulators do not hold is refused when a graph is lowered
        fits = np.abs(wanted) < 1 << 31
        got = multiply(codes, left, product, b.shape[1])
        assert_array_equal(got[fits], wanted[fits])
        assert fits.all() or form.pe.multiplies
        return
    assert_array_equal(multiply(codes, left, product, b.shape[1]), wanted)


@pytest.mark.parametrize("name", FORMS)
def test_a_computed_operand_is_packed_by_kernels(rung, name):
    """Its sums start from what bytes have lost; an offset is taken off where there is no digit."""
    from hwq.numerics._product import pack_rows
    from hwq.runtime.fused.attention import start_sums

    form, signed = FORMS[name]
    codes, b = operands(form, 197)
    for offset in (0, 5):
        prepared = prepare_computed(LeftOperand.of(form, signed), b.shape, 8, offset)
        if prepared is None:
            assert offset
            continue
        left, product, factor = prepared
        pack_rows(b, product[2][0])
        start_sums(product[2][0], factor, product[2][1])
        wanted = product_of(form, signed, codes, b) - offset * b.sum(0, dtype=np.int64)
        assert_array_equal(multiply(codes, left, product, b.shape[1]), wanted)
