import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.outlier_join import OutlierJoinSpec
from hwq.numerics.units import UNITS
from hwq.rtl.catalog import TWINS
from hwq.rtl.outlier_join import OutlierJoin
from hwq.testing import run_stream

CASES = TWINS["outlier_join"].verified


@pytest.mark.parametrize("label", CASES)
def test_rtl_equals_numerics(label: str, check, payloads) -> None:
    unit = CASES[label]
    check(unit, payloads(unit, 40), UNITS["outlier_join"].timing(sum(unit.runs)))


def test_sums_walk_through_columns_and_tokens() -> None:
    spec = OutlierJoinSpec(np.array([1, 10]), np.array([100, 200]))
    # four sums, of 1, 2, 1 and 1 terms; the second term's accumulator does not count
    terms = [[1, 0, 0, 1], [2, 3, 4, 0], [99, 5, -6, 1], [3, 0, 0, 1], [4, 1, 1, 1]]
    unit = OutlierJoin(spec, runs=(1, 2, 1, 1))
    run = run_stream(unit, np.array(terms * 2))
    assert_array_equal(run.outputs, [101, 184, 1030, 2050] * 2)


def test_sums_must_fit() -> None:
    with pytest.raises(SpecError, match=r"a joined sum must stay below 2\*\*45"):
        OutlierJoin(TWINS["outlier_join"].default.spec, channels=4096)
