from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.log2 import Log2Spec
from hwq.numerics.pe import MULTIPLY, SHIFT_PARITY
from hwq.quantizers.mac_form import MacForm

ZERO = np.zeros(4, np.int64)


def test_a_form_by_hand() -> None:
    form = MacForm(
        pe=SHIFT_PARITY,
        significand=np.array([1, 1, -3, 0]),
        shift=np.array([4, 2, 1, 0]),
        plane=np.array([0, 1, 1, 0]),
        plane_weights=(2, 5),
        offset=7,
        lsb=0.5,
    )
    assert form.bits == 2
    assert form.value_table().tolist() == [32, 20, -30, 0]
    assert [table.tolist() for table in form.plane_tables()] == [[16, 0, 0, 0], [0, 4, -6, 0]]
    codes = np.array([[0, 1, 2], [3, -1, -2]])  # -1 and -2 are the signed names of 3 and 2
    w = np.array([[1, 2], [3, -4], [5, 6]])
    expected = (np.array([[32, 20, -30], [0, 0, -30]]) - 7) @ w
    assert_array_equal(form.accumulate(codes, w), expected)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("offset", [0, 1, 5])
def test_logarithmic_values_are_the_powers(bits: int, steps: int, offset: int) -> None:
    spec = Log2Spec(16, bits, steps, offset)
    form = MacForm.logarithmic(spec)
    produced = set(np.unique(spec.compute(np.arange(1 << 16))).tolist())
    for code, v in enumerate(form.value_table().tolist()):
        r = code + offset
        if code == spec.zero_code or -(-r // steps) > 15:
            assert v == 0
            assert code == spec.zero_code or code not in produced
        else:
            odd = Fraction(181, 128) if steps == 2 and r % 2 else 1
            assert v * Fraction(form.lsb) == odd * Fraction(1, 1 << -(-r // steps))
    assert min(int(t[t > 0].min()) for t in form.plane_tables()) == 1
    assert max(int(t.max()) for t in form.plane_tables()) <= 1 << 15


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shift": np.zeros(2, np.int64)}, r"one length, a power of two, not \[2, 4\]"),
        ({k: np.zeros(3, np.int64) for k in ("significand", "shift", "plane")}, "power of two"),
        ({"plane": ZERO + 1}, r"plane must be in 0..0, not 1..1"),
        ({"shift": ZERO - 1}, "shift must not be negative, not -1"),
        ({"significand": ZERO + 1, "shift": ZERO + 16}, r"within 2\*\*15, not 65536"),
    ],
)
def test_errors_name_the_table(changed: dict[str, object], message: str) -> None:
    fields: dict[str, object] = {"pe": MULTIPLY, "significand": ZERO, "shift": ZERO}
    with pytest.raises(SpecError, match=message):
        MacForm(**(fields | {"plane": ZERO} | changed))
