"""A kind of processing element: codes stand for 0, 2**s or 3 * 2**s, an adder and a shifter."""

from hwq.numerics.pe import CodeTables, PeKind


def _codes(bits: int) -> CodeTables:
    """Even codes are powers of two, odd ones three times as much; the top code is zero."""
    codes = range(1 << bits)
    significand = tuple(0 if code == codes[-1] else 3 if code % 2 else 1 for code in codes)
    return CodeTables(significand, tuple(min(code // 2, 13) for code in codes))


SHIFT_TRIPLE = PeKind("shift_triple", "shift_triple", _codes, shifts=16, least=0, most=3)
