"""Products and shifts of more bits than one cycle takes, in two: parts of them, and the rest."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, ValueLike

PART_BITS = 17
"""Of a factor in one multiplier block: those of FPGAs take 18 bits with a sign."""
SHORT_BITS = 3
"""Of a factor that needs no multiplier block."""
NEAR_BITS = 3
"""Of a shift's distance that are left to its second step: one of eight."""

Part = tuple[int, Value]
"""How far left a value counts, and the value."""


def register(
    m: Module, load: ValueLike, value: ValueLike, name: str, shape: Shape | None = None
) -> Signal:
    """Return a register that takes `value`, of its own shape by default, whenever `load` is one."""
    before = Value.cast(value)
    after = Signal(before.shape() if shape is None else shape, name=name)
    with m.If(load):
        m.d.sync += after.eq(before)
    return after


def carried(m: Module, loads: Sequence[Value], value: ValueLike, name: str) -> Value:
    """Return `value` behind a register for each of `loads`."""
    carried = Value.cast(value)
    for k, load in enumerate(loads):
        carried = register(m, load, carried, f"{name}_{k + 1}")
    return carried


def parts(value: Value) -> list[Part]:
    """Return pieces of PART_BITS at most that add up to `value`; a sign is one more of the last."""
    signed = value.shape().signed
    *starts, last = range(0, max(len(value) - signed, 1), PART_BITS)
    pieces = [(start, value[start : start + PART_BITS]) for start in starts]
    return [*pieces, (last, value[last:].as_signed() if signed else value[last:])]


def part_products(m: Module, load: ValueLike, a: Value, b: Value, name: str) -> list[Part]:
    """Return registers of the products of all parts of both factors; they add up to a * b."""
    return [
        (i + j, register(m, load, _product(x, y), f"{name}_{i + j}_{k}"))
        for i, x in parts(a)
        for k, (j, y) in enumerate(parts(b))
    ]


def _product(x: Value, y: Value) -> Value:
    """Return x * y; for so short an x that adders are nearer than a multiplier block, by adders."""
    if len(x) > SHORT_BITS or x.shape().signed:
        return x * y
    return sum((Mux(bit, y << k, 0) for k, bit in enumerate(x)), start=Const(0, 0))


def total(terms: Sequence[Part]) -> Value:
    """Return the sum of all terms; those that do not overlap share an adder's operand."""
    rows: list[list[Part]] = []
    for start, value in sorted(terms, key=lambda term: term[0]):
        for row in rows:
            last_start, last = row[-1]
            if not last.shape().signed and last_start + len(last) <= start:
                row.append((start, value))
                break
        else:
            rows.append([(start, value)])
    first, *others = map(_joined, rows)
    return sum(others, start=first)


def _joined(row: Sequence[Part]) -> Value:
    """Return terms of one row, ascending, as one operand."""
    pieces: list[Value] = []
    end = 0
    for start, value in row:
        pieces += [Const(0, start - end), value]
        end = start + len(value)
    joined = Cat(*pieces)
    return joined.as_signed() if row[-1][1].shape().signed else joined


def shifted_far(value: Value, shift: Value) -> Value:
    """Return value >> shift, but for the low NEAR_BITS of the distance."""
    return value >> Cat(Const(0, NEAR_BITS), shift[NEAR_BITS:])


def shifted_near(value: Value, shift: Value) -> Value:
    """Return what `shifted_far` leaves, shifted by the rest of the distance."""
    return value >> shift[:NEAR_BITS]


def rounded(value: Value, addend: Value) -> Value:
    """Return value / 2 to nearest, ties up, plus `addend`: one adder for both."""
    sign = Cat() if addend.shape().signed else Const(0, 1)
    return (value + Cat(Const(1, 1), addend, sign).as_signed()) >> 1


def leading(value: Value) -> Value:
    """Return the place of the highest one, 0 of nothing: the upper half where it has any."""
    if len(value) <= 2:
        return value[1] if len(value) == 2 else Const(0, 1)
    half = 1 << ((len(value) - 1).bit_length() - 1)
    lower, upper = value[:half], value[half:]
    return Cat(Mux(upper.any(), leading(upper), leading(lower)), upper.any())
