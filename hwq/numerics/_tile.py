"""Register tiles of an exact integer matrix product, written in LLVM IR for any vector width.

A tile is a few rows of A times two vectors of columns of B; its accumulators stay in registers
while K goes by, four values a step. What differs between processors is the width of a vector and
the instruction that multiplies: a `Rung` names both.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from hwq.numerics._rung import GROUP, RUNGS, VECTORS, Rung

_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)


_MADD_WORDS = {8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}
_MADD_BYTES = {8: "llvm.x86.avx2.pmadd.ub.sw", 16: "llvm.x86.avx512.pmaddubs.w.512"}


class _Tile:
    """Emits one tile: C[rows, columns] = start[columns] + A[rows, 4*steps] . B[steps, columns, 4].

    Bytes of A are unsigned. Words of A are signed and in the order a0 a2 a1 a3, so that even and
    odd bytes of B, widened in their lanes, are their partners.
    """

    def __init__(self, builder: Any, rung: Rung, rows: int, words: bool) -> None:
        self.builder, self.rung, self.rows, self.words = builder, rung, rows, words
        self.lanes = ir.VectorType(_I32, rung.lanes)
        self.pairs = ir.VectorType(_I16, 2 * rung.lanes)
        self.bytes = ir.VectorType(ir.IntType(8), 4 * rung.lanes)
        # 16-bit sums of bytes, which must be widened after a run
        self.short = rung.dot == "madd" and not words
        self.accumulator = self.pairs if self.short else self.lanes

    def emit(
        self, a: Any, a_stride: Any, b: Any, start: Any, c: Any, c_stride: Any, steps: Any, run: Any
    ) -> None:
        """Write the loops; all arguments are 64-bit integers, strides of A and C in bytes."""
        builder, width = self.builder, 4 * self.rung.lanes
        places = [builder.add(a, builder.mul(a_stride, _I64(r))) for r in range(self.rows)]
        results = [
            [
                builder.add(builder.add(c, builder.mul(c_stride, _I64(r))), _I64(width * v))
                for v in range(VECTORS)
            ]
            for r in range(self.rows)
        ]
        first = [self._load(builder.add(start, _I64(width * v))) for v in range(VECTORS)]
        if not self.short:
            sums = self._steps(places, b, _I64(0), steps, first)
            self._store(results, sums)
            return
        self._store(results, [first] * self.rows)
        entry, again = builder.block, builder.append_basic_block("run")
        builder.branch(again)
        builder.position_at_end(again)
        low = builder.phi(_I64)
        low.add_incoming(_I64(0), entry)
        limit = builder.add(low, run)
        high = builder.select(builder.icmp_signed("<", limit, steps), limit, steps)
        zero = [ir.Constant(self.pairs, [0] * self.pairs.count)] * VECTORS
        sums = self._steps(places, b, low, high, zero)
        ones = ir.Constant(self.pairs, [1] * self.pairs.count)
        wide = [[self._call(_MADD_WORDS, x, ones, self.lanes) for x in row] for row in sums]
        olds = [[self._load(address) for address in row] for row in results]
        self._store(
            results,
            [
                [builder.add(x, y) for x, y in zip(new, old, strict=True)]
                for new, old in zip(wide, olds, strict=True)
            ],
        )
        low.add_incoming(high, builder.block)
        done = builder.append_basic_block("done")
        builder.cbranch(builder.icmp_signed("<", high, steps), again, done)
        builder.position_at_end(done)

    def _steps(self, places: list[Any], b: Any, low: Any, high: Any, first: list[Any]) -> Any:
        """The loop over steps low..high-1, at least one, from `first` in every row."""
        builder = self.builder
        entry, loop = builder.block, builder.append_basic_block("step")
        done = builder.append_basic_block("sums")
        builder.branch(loop)
        builder.position_at_end(loop)
        step = builder.phi(_I64)
        step.add_incoming(low, entry)
        sums = [[builder.phi(self.accumulator) for _ in first] for _ in places]
        size = 4 * self.rung.lanes
        panel = [
            self._load(builder.add(self._offset(b, step, VECTORS * size), _I64(size * v)))
            for v in range(VECTORS)
        ]
        here = [self._offset(place, step, 2 * GROUP if self.words else GROUP) for place in places]
        new = self._add_products(sums, here, panel)
        following = builder.add(step, _I64(1))
        step.add_incoming(following, loop)
        for row, new_row in zip(sums, new, strict=True):
            for total, initial, final in zip(row, first, new_row, strict=True):
                total.add_incoming(initial, entry)
                total.add_incoming(final, loop)
        builder.cbranch(builder.icmp_signed("<", following, high), loop, done)
        builder.position_at_end(done)
        return new

    def _add_products(self, sums: Any, places: list[Any], panel: list[Any]) -> Any:
        """Add four values of every row of A times the panel."""
        if self.rung.dot == "mul":
            return self._add_by_multiplying(sums, places, panel)
        if not self.words:
            values = [self._broadcast(place) for place in places]
            add = self._add_short if self.short else self._add_bytes
            return [
                [add(total, a, b) for total, b in zip(row, panel, strict=True)]
                for row, a in zip(sums, values, strict=True)
            ]
        eight = ir.Constant(self.pairs, [8] * self.pairs.count)
        words = [self.builder.bitcast(b, self.pairs) for b in panel]
        even = [self.builder.ashr(self.builder.shl(b, eight), eight) for b in words]
        odd = [self.builder.ashr(b, eight) for b in words]
        new = []
        for row, place in zip(sums, places, strict=True):
            a = self._broadcast(place)
            half = [self._add_words(total, a, b) for total, b in zip(row, even, strict=True)]
            a = self._broadcast(self.builder.add(place, _I64(GROUP)))
            new.append([self._add_words(total, a, b) for total, b in zip(half, odd, strict=True)])
        return new

    def _add_bytes(self, total: Any, a: Any, b: Any) -> Any:
        # operands of 32-bit lanes: the form that every LLVM since 9 takes, newer ones by upgrading
        name = f"llvm.x86.avx512.vpdpbusd.{32 * self.rung.lanes}"
        return self._intrinsic(name, self.lanes, [total, a, b])

    def _add_short(self, total: Any, a: Any, b: Any) -> Any:
        product = self._call(
            _MADD_BYTES, self._as(a, self.bytes), self._as(b, self.bytes), self.pairs
        )
        return self.builder.add(total, product)

    def _add_words(self, total: Any, a: Any, b: Any) -> Any:
        if self.rung.dot == "vnni":
            name = f"llvm.x86.avx512.vpdpwssd.{32 * self.rung.lanes}"
            return self._intrinsic(name, self.lanes, [total, a, self._as(b, self.lanes)])
        product = self._call(_MADD_WORDS, self._as(a, self.pairs), b, self.lanes)
        return self.builder.add(total, product)

    def _add_by_multiplying(self, sums: Any, places: list[Any], panel: list[Any]) -> Any:
        """Value by value: byte 0, 2, 1, 3 of a lane, widened, times a word in all lanes."""
        builder = self.builder
        for k, byte in enumerate((0, 2, 1, 3) if self.words else (0, 1, 2, 3)):
            left = ir.Constant(self.lanes, [24 - 8 * byte] * self.rung.lanes)
            right = ir.Constant(self.lanes, [24] * self.rung.lanes)
            column = [builder.ashr(builder.shl(b, left), right) for b in panel]
            new = []
            for row, place in zip(sums, places, strict=True):
                if self.words:
                    a = builder.sext(self._load(builder.add(place, _I64(2 * k)), _I16), _I32)
                else:
                    a = builder.zext(self._load(builder.add(place, _I64(k)), ir.IntType(8)), _I32)
                lanes = self._spread(a)
                new.append(
                    [
                        builder.add(total, builder.mul(lanes, b))
                        for total, b in zip(row, column, strict=True)
                    ]
                )
            sums = new
        return sums

    def _broadcast(self, address: Any) -> Any:
        """32 bits of memory in all lanes."""
        return self._spread(self._load(address, _I32))

    def _spread(self, value: Any) -> Any:
        undefined = ir.Constant(self.lanes, ir.Undefined)
        lane = self.builder.insert_element(undefined, value, _I32(0))
        mask = ir.Constant(self.lanes, [0] * self.rung.lanes)
        return self.builder.shuffle_vector(lane, undefined, mask)

    def _load(self, address: Any, kind: Any = None) -> Any:
        """A load of any alignment: numba promises at most 32 bytes, and rows start anywhere."""
        pointer = ir.PointerType(self.lanes if kind is None else kind)
        value = self.builder.load(self.builder.inttoptr(address, pointer))
        value.align = 1
        return value

    def _store(self, addresses: list[list[Any]], values: list[list[Any]]) -> None:
        for row, new in zip(addresses, values, strict=True):
            for address, value in zip(row, new, strict=True):
                pointer = self.builder.inttoptr(address, ir.PointerType(self.lanes))
                self.builder.store(value, pointer).align = 4

    def _offset(self, address: Any, count: Any, size: int) -> Any:
        return self.builder.add(address, self.builder.mul(count, _I64(size)))

    def _as(self, value: Any, kind: Any) -> Any:
        return self.builder.bitcast(value, kind)

    def _call(self, names: dict[int, str], a: Any, b: Any, result: Any) -> Any:
        return self._intrinsic(names[self.rung.lanes], result, [a, b])

    def _intrinsic(self, name: str, result: Any, operands: list[Any]) -> Any:
        kind = ir.FunctionType(result, [operand.type for operand in operands])
        known = self.builder.module.globals.get(name)
        return self.builder.call(known or ir.Function(self.builder.module, kind, name), operands)


def _rows(_context: Any, rung: Any) -> Any:

    def generate(_context: Any, _builder: Any, _signature: Any, _args: Any) -> Any:
        return _I64(RUNGS[rung.ndim - 1].rows)

    return types.intp(rung), generate


def _make_tile(full: bool) -> Any:
    """Return the intrinsic of a full tile, or of one row.

    Its arguments: the rung's tag, any element of A (for its type), address of A, bytes from row to
    row, address of a panel, address of the panel's starting values, address of C, bytes from row
    to row, steps, longest run of 16-bit sums.
    """

    def tile(
        _context: Any,
        rung: Any,
        element: Any,
        a: Any,
        a_stride: Any,
        b: Any,
        start: Any,
        c: Any,
        c_stride: Any,
        steps: Any,
        run: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            chosen = RUNGS[rung.ndim - 1]
            rows = chosen.rows if full else 1
            _Tile(builder, chosen, rows, words=element.bitwidth == 16).emit(*args[2:])
            return context.get_dummy_value()

        return types.void(rung, element, *[types.intp] * 8), generate

    return intrinsic(tile)


tile_rows: Any = intrinsic(_rows)
"""Rows of a full tile of the rung whose tag is given: a constant."""

full_tile: Any = _make_tile(full=True)
row_tile: Any = _make_tile(full=False)
