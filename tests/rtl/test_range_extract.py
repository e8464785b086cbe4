import numpy as np
import pytest

from hwq.errors import SpecError
from hwq.numerics.range_extract import RangeExtractSpec
from hwq.numerics.units import UNITS
from hwq.rtl.catalog import TWINS
from hwq.rtl.range_extract import RangeExtract

CASES = TWINS["range_extract"].verified


@pytest.mark.parametrize("label", CASES)
def test_rtl_equals_numerics(label: str, check, payloads) -> None:
    unit = CASES[label]
    timing = UNITS["range_extract"].timing(unit.spec.tokens * unit.spec.channels)
    check(unit, payloads(unit, 6), timing)


def test_widest_range_fits(check) -> None:
    unit = RangeExtract(RangeExtractSpec(channels=2, chunk_tokens=2, chunks=5))
    tokens = np.tile([-32768, 32767, 32767, -32768], 5 * 4)
    assert unit.compute(tokens).max() == 5 * 65535
    check(unit, tokens, UNITS["range_extract"].timing(20))


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("chunk_tokens", [1, 2])
def test_few_channels_are_read_behind_what_is_written(
    channels: int, chunk_tokens: int, check, payloads
) -> None:
    unit = RangeExtract(RangeExtractSpec(channels, chunk_tokens, chunks=3))
    check(unit, payloads(unit, 40), UNITS["range_extract"].timing(3 * chunk_tokens * channels))


@pytest.mark.parametrize("label", CASES)
def test_stimulus_reaches_the_widest_sum_and_every_range(label: str, payloads) -> None:
    unit = CASES[label]
    ranges = unit.compute(payloads(unit, 200))
    assert ranges.max() == unit.spec.chunks * 65535
    assert len(np.unique(ranges)) > 100


def test_rejects_one_channel() -> None:
    with pytest.raises(SpecError, match="channels must be at least 2 in RTL, not 1"):
        RangeExtract(RangeExtractSpec(channels=1))
