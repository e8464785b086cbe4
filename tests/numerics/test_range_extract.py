import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from hwq.errors import SpecError
from hwq.numerics.range_extract import RangeExtractSpec

SPECS = [
    RangeExtractSpec(channels=192),
    RangeExtractSpec(channels=1, chunk_tokens=1, chunks=1),
    RangeExtractSpec(channels=3, chunk_tokens=1, chunks=5),
    RangeExtractSpec(channels=5, chunk_tokens=7, chunks=2),
    RangeExtractSpec(channels=2, chunk_tokens=4, chunks=1000),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_kernel_equals_reference(spec: RangeExtractSpec) -> None:
    rng = np.random.default_rng(0)
    for low, high in [(-32768, 32768), (-3, 4), (32767, 32768)]:
        tokens = rng.integers(low, high, (spec.tokens, spec.channels)).astype(np.int16)
        assert_array_equal(spec.compute(tokens), spec.reference(tokens))


def test_streams_are_computed_one_by_one() -> None:
    spec = RangeExtractSpec(channels=3, chunk_tokens=4, chunks=2)
    streams = np.random.default_rng(0).integers(-99, 99, (2, 5, 8, 3)).astype(np.int16)
    wanted = [[spec.compute(stream) for stream in row] for row in streams]
    assert_array_equal(spec.compute(streams), wanted)
    assert_array_equal(spec.reference(streams), wanted)


def test_widest_input_does_not_wrap() -> None:
    spec = RangeExtractSpec(channels=2, chunk_tokens=2, chunks=1 << 15)
    tokens = np.full((spec.tokens, 2), -32768, np.int16)
    tokens[::2] = 32767
    assert spec.compute(tokens).tolist() == [65535 << 15] * 2


def test_an_outlier_widens_one_chunk_only() -> None:
    spec = RangeExtractSpec(channels=1, chunk_tokens=2, chunks=4)
    tokens = np.array([[0], [8]] * 4, np.int16)
    tokens[2] = 1000
    assert spec.compute(tokens).tolist() == [3 * 8 + 992]


@settings(max_examples=30, deadline=None)
@given(st.integers(-1000, 1000), st.integers(0, 2**32 - 1))
def test_shifting_all_tokens_changes_nothing(shift: int, seed: int) -> None:
    spec = RangeExtractSpec(channels=4, chunk_tokens=3, chunks=2)
    tokens = np.random.default_rng(seed).integers(-30000, 30000, (6, 4)).astype(np.int16)
    shifted = (tokens + shift).astype(np.int16)
    assert_array_equal(spec.compute(tokens), spec.compute(shifted))


def test_a_view_is_read_in_its_own_order() -> None:
    spec = RangeExtractSpec(channels=3, chunk_tokens=2, chunks=2)
    tokens = np.random.default_rng(1).integers(-99, 99, (3, 4)).astype(np.int16).T
    assert_array_equal(spec.compute(tokens), spec.reference(tokens))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": 0}, "channels must be in 1..65536, not 0"),
        ({"channels": 4, "chunk_tokens": 0}, "chunk_tokens must be in 1..65536, not 0"),
        ({"channels": 4, "chunks": 1 << 16}, "chunks must be in 1..32768, not 65536"),
    ],
)
def test_errors_name_the_field(fields: dict[str, int], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        RangeExtractSpec(**fields)


@pytest.mark.parametrize("tokens", [np.zeros((6, 3), np.int16), np.zeros((6, 4), np.int32)])
def test_rejects_tokens_of_another_shape_or_type(tokens: NDArray[np.int16]) -> None:
    spec = RangeExtractSpec(channels=4, chunk_tokens=3, chunks=2)
    with pytest.raises(SpecError, match=r"tokens must be int16\[\.\.\., 6, 4\], not"):
        spec.compute(tokens)
