"""Exact integer matmul with AVX-512 VNNI: register tiles written in LLVM IR.

An instruction multiplies four unsigned by four signed bytes (vpdpbusd), or two pairs of 16 bits
(vpdpwssd), and adds them to a 32-bit lane, without saturation. A tile is 12 or 1 rows of A times
32 columns of B; its 24 accumulators stay in registers while K goes by, four values a step.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from hwq.numerics._jit import kernel

PANEL = 32
"""Columns of B side by side in a panel: two vectors of 16 lanes."""

GROUP = 4
"""Values of K side by side in a panel: the bytes of a lane."""

ROWS = 12
"""Rows of a full tile: 24 accumulators, 4 operands of B and 2 of A fill the 32 registers."""

_BLOCK = 48  # rows of A that stay in the cache while all of B goes by

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_LANES = ir.VectorType(_I32, 16)
_WORDS = ir.VectorType(ir.IntType(16), 32)
# Operands of 32-bit lanes: the form that every LLVM since 9 takes, newer ones by upgrading it.
_DOT = ir.FunctionType(_LANES, [_LANES, _LANES, _LANES])


def _load(builder: Any, address: Any, kind: Any) -> Any:
    """A load of any alignment: numba promises no more than 32 bytes, and rows start anywhere."""
    value = builder.load(builder.inttoptr(address, ir.PointerType(kind)))
    value.align = 1
    return value


def _offset(builder: Any, address: Any, count: Any, size: int) -> Any:
    return builder.add(address, builder.mul(count, _I64(size)))


def _broadcast(builder: Any, address: Any) -> Any:
    """32 bits of memory in all 16 lanes."""
    undefined = ir.Constant(_LANES, ir.Undefined)
    lane = builder.insert_element(undefined, _load(builder, address, _I32), _I32(0))
    return builder.shuffle_vector(lane, undefined, ir.Constant(_LANES, [0] * 16))


def _dot_row(builder: Any, name: str, row: list[Any], a: Any, panel: list[Any]) -> list[Any]:
    """One instruction for every accumulator of a row: acc + a . b per lane."""
    function = builder.module.globals.get(name) or ir.Function(builder.module, _DOT, name)
    return [builder.call(function, [acc, a, b]) for acc, b in zip(row, panel, strict=True)]


def _dot_bytes(
    builder: Any, accs: list[list[Any]], rows: list[Any], panel: list[Any]
) -> list[list[Any]]:
    """Per lane acc + a0*b0 + a1*b1 + a2*b2 + a3*b3, of unsigned a and signed b, 8 bits each."""
    name = "llvm.x86.avx512.vpdpbusd.512"
    return [
        _dot_row(builder, name, row, _broadcast(builder, address), panel)
        for row, address in zip(accs, rows, strict=True)
    ]


def _dot_words(
    builder: Any, accs: list[list[Any]], rows: list[Any], panel: list[Any]
) -> list[list[Any]]:
    """The same of signed 16-bit a in the order a0 a2 a1 a3: with bytes 0 and 2, then 1 and 3."""
    name = "llvm.x86.avx512.vpdpwssd.512"
    eight = ir.Constant(_WORDS, [8] * 32)
    words = [builder.bitcast(b, _WORDS) for b in panel]
    even = [builder.ashr(builder.shl(b, eight), eight) for b in words]
    odd = [builder.ashr(b, eight) for b in words]
    even, odd = ([builder.bitcast(b, _LANES) for b in half] for half in (even, odd))
    new = []
    for row, address in zip(accs, rows, strict=True):
        half = _dot_row(builder, name, row, _broadcast(builder, address), even)
        odd_address = builder.add(address, _I64(4))
        new.append(_dot_row(builder, name, half, _broadcast(builder, odd_address), odd))
    return new


def _emit_tile(builder: Any, args: Any, row_count: int, a_bytes: int) -> None:
    """C[rows, 32] = start[32] + A[rows, 4*steps] . B[steps, 32, 4], steps at least 1."""
    a, a_stride, b, start, c, c_stride, steps = args
    dot = _dot_bytes if a_bytes == 1 else _dot_words
    first = [_load(builder, builder.add(start, _I64(64 * v)), _LANES) for v in (0, 1)]
    bases = [builder.add(a, builder.mul(a_stride, _I64(r))) for r in range(row_count)]
    entry, loop = builder.block, builder.append_basic_block("step")
    done = builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    step = builder.phi(_I64)
    step.add_incoming(_I64(0), entry)
    accs = [[builder.phi(_LANES) for _ in first] for _ in range(row_count)]
    panel_address = _offset(builder, b, step, PANEL * GROUP)
    panel = [_load(builder, builder.add(panel_address, _I64(64 * v)), _LANES) for v in (0, 1)]
    rows = [_offset(builder, base, step, GROUP * a_bytes) for base in bases]
    new = dot(builder, accs, rows, panel)
    following = builder.add(step, _I64(1))
    step.add_incoming(following, loop)
    for row, new_row in zip(accs, new, strict=True):
        for acc, initial, final in zip(row, first, new_row, strict=True):
            acc.add_incoming(initial, entry)
            acc.add_incoming(final, loop)
    builder.cbranch(builder.icmp_signed("<", following, steps), loop, done)
    builder.position_at_end(done)
    for r, new_row in enumerate(new):
        row_address = builder.add(c, builder.mul(builder.mul(c_stride, _I64(r)), _I64(4)))
        for v, final in enumerate(new_row):
            address = builder.add(row_address, _I64(64 * v))
            store = builder.store(final, builder.inttoptr(address, ir.PointerType(_LANES)))
            store.align = 4


def _make_tile(row_count: int) -> Any:
    """Return the intrinsic of a tile with `row_count` rows.

    Its arguments: any element of A (for its type), address of A, bytes from row to row, address
    of a panel, address of 32 starting values, address of C, elements from row to row, steps.
    """

    def tile(
        _context: Any,
        element: Any,
        a: Any,
        a_stride: Any,
        b: Any,
        start: Any,
        c: Any,
        c_stride: Any,
        steps: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            _emit_tile(builder, args[1:], row_count, element.bitwidth // 8)
            return context.get_dummy_value()

        return types.void(element, *[types.intp] * 7), generate

    return intrinsic(tile)


_full_tile = _make_tile(ROWS)
_row_tile = _make_tile(1)


@kernel
def _dot_vnni(
    a: NDArray[np.integer], panels: NDArray[np.int8], start: NDArray[np.int32], columns: int
) -> NDArray[np.int32]:
    """uint8 or int16[M, 4S] . int8[P, S, 32, 4] + start[32P] -> int32[M, columns], modulo 2**32.

    int16 rows are in the order that `_pair_order` makes.
    """
    tokens, depth = a.shape
    count, steps = panels.shape[:2]
    out = np.empty((tokens, columns), np.int32)
    edge = np.empty((ROWS, PANEL), np.int32)
    stride = depth * a.itemsize
    rows = ROWS if tokens >= ROWS else 1
    for low in range(0, tokens, _BLOCK):
        high = min(low + _BLOCK, tokens)
        for p in range(count):
            b = panels.ctypes.data + p * steps * PANEL * GROUP
            first = start.ctypes.data + 4 * p * PANEL
            width = min(columns - p * PANEL, PANEL)
            m = low
            while m < high:
                # the last tile starts early enough to be full, and repeats a few rows
                m = min(m, tokens - rows)
                row = a.ctypes.data + m * stride
                if width == PANEL:
                    c, pitch = out.ctypes.data + 4 * (m * columns + p * PANEL), columns
                else:
                    c, pitch = np.int64(edge.ctypes.data), PANEL
                if rows == 1:
                    _row_tile(a[0, 0], row, stride, b, first, c, pitch, steps)
                else:
                    _full_tile(a[0, 0], row, stride, b, first, c, pitch, steps)
                if width < PANEL:
                    for r in range(rows):
                        for j in range(width):
                            out[m + r, p * PANEL + j] = edge[r, j]
                m += rows
    return out


@kernel
def _pair_order(a: NDArray[np.int16], steps: int) -> NDArray[np.int16]:
    """int16[M, K] -> int16[M, 4*steps]: a0 a2 a1 a3 of every four, zeros behind the end."""
    tokens, depth = a.shape
    out = np.zeros((tokens, GROUP * steps), np.int16)
    whole = depth // GROUP
    for m in range(tokens):
        for s in range(whole):
            k = GROUP * s
            out[m, k] = a[m, k]
            out[m, k + 1] = a[m, k + 2]
            out[m, k + 2] = a[m, k + 1]
            out[m, k + 3] = a[m, k + 3]
        for k in range(GROUP * whole, depth):
            position = k - GROUP * whole  # 0, 1, 2 go to 0, 2, 1
            out[m, GROUP * whole + (2 * position) % 3] = a[m, k]
    return out


@kernel
def _pack_rows(b: NDArray[np.int8]) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """int8[K, N] -> int8[P, S, 32, 4] panels and int32[32P] -128 * column sums, zero padded."""
    depth, columns = b.shape
    count, steps = (columns + PANEL - 1) // PANEL, (depth + GROUP - 1) // GROUP
    panels = np.zeros((count, steps, PANEL, GROUP), np.int8)
    start = np.zeros(count * PANEL, np.int32)
    for p in range(count):
        width = min(columns - p * PANEL, PANEL)
        for s in range(steps):
            for g in range(min(depth - s * GROUP, GROUP)):
                for j in range(width):
                    value = b[s * GROUP + g, p * PANEL + j]
                    panels[p, s, j, g] = value
                    start[p * PANEL + j] -= np.int32(value) << 7
    return panels, start


@kernel
def _pack_columns(b: NDArray[np.int8]) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """int8[N, K], B transposed -> the same as `_pack_rows`."""
    columns, depth = b.shape
    count, steps = (columns + PANEL - 1) // PANEL, (depth + GROUP - 1) // GROUP
    panels = np.zeros((count, steps, PANEL, GROUP), np.int8)
    start = np.zeros(count * PANEL, np.int32)
    for n in range(columns):
        p, j = n // PANEL, n % PANEL
        total = np.int32(0)
        for k in range(depth):
            value = b[n, k]
            panels[p, k // GROUP, j, k % GROUP] = value
            total += np.int32(value)
        start[n] = -128 * total
    return panels, start
