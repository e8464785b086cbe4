"""A small machine, a program that takes all its routes on seeded data, and what must come of it."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from hwq.numerics.activation import ActivationSpec
from hwq.numerics.array import ArraySpec
from hwq.numerics.epilogue import EpilogueSpec
from hwq.numerics.pe import MULTIPLY, PeSpec
from hwq.numerics.softmax import SoftmaxSpec
from hwq.rtl.activation import Activation
from hwq.rtl.epilogue import Epilogue
from hwq.rtl.machine import Machine
from hwq.rtl.machine_program import ELEMENT, MachineSpec, Route
from hwq.rtl.softmax import Softmax
from hwq.sim.machine import Done, Int, MachineProgram, ProgramOutcome, Span

# a[M, K] b[K, N] -> softmax over N -> codes; their product with b2[N, P] -> activation -> codes;
# again
M, K, N, P, Q = 5, 7, 4, 8, 2
CODES, HIDDEN = 64, 128  # where commands store operands
PROBABILITIES, RESULT = 64, 128  # and words
FIXED16 = (-(1 << 15), (1 << 15) - 1)
SIX_BITS = PeSpec(MULTIPLY, 6, 5, 20, (*range(32), *range(-32, 0)))
BY_ROW = (1, 2)  # commands whose words come row by row
TO_SCORES, TO_ACTIVATION, TO_RESULT, OF_PROBABILITIES, OF_ACTIVATION = range(5)


def small_machine(lanes: int) -> Machine:
    """All routes, for data of `operands`."""
    lo, hi = -(1 << (ELEMENT.width - 1)), (1 << (ELEMENT.width - 1)) - 1
    return Machine(
        MachineSpec(
            ArraySpec(lanes, lanes, "weight_stationary", SIX_BITS, 256, 256, 256, 8),
            epilogue=partial(Epilogue, EpilogueSpec(lo, hi, acc_bits=20)),
            activation=partial(Activation, ActivationSpec()),
            encoder=partial(Epilogue, EpilogueSpec(lo, hi, acc_bits=ELEMENT.width)),
            rows=Softmax(SoftmaxSpec(8), N, lanes),
            vector_depth=256,
            parameter_depth=32,
            program_depth=8,
        )
    )


def operands() -> tuple[Int, ...]:
    """Codes of a[M, K], b[K, N], b2[N, P] and b3[P, Q]."""
    rng = np.random.default_rng(0)
    a = rng.integers(-32, 32, (M, K))
    a[0, :2] = -32, 31
    return a, *(rng.integers(-16, 16, shape) for shape in ((K, N), (N, P), (P, Q)))


def spans() -> list[Span]:
    """Of scores, of inputs of the activation, of the result; of probabilities, of activations."""
    rng = np.random.default_rng(1)

    def columns(count: int, shift: int, lo: int, hi: int) -> Span:
        """About 2**(16-shift) times the value, by another multiplier in every column."""
        return Span(
            rng.integers(-9, 9, count),
            rng.integers(30_000, 1 << 16, count),
            rng.integers(shift, shift + 2, count),
            rng.integers(-3, 4, count),
            *(lo, hi),
        )

    def same(addend: int, mult: int, shift: int, zero_point: int, lo: int, hi: int) -> Span:
        """One scaling for all columns."""
        return Span(np.array(addend), np.array(mult), np.array(shift), np.array(zero_point), lo, hi)

    return [
        columns(N, 16, *FIXED16),
        columns(P, 12, *FIXED16),
        columns(Q, 19, 6, 30),
        same(3, 45001, 26, -7, -5, 20),
        same(-40, 39001, 22, -20, -25, 31),
    ]


def scaled(unit: Epilogue, values: Int, span: Span) -> Int:
    """Return what an epilogue or encoder makes of int64[rows, columns]."""
    parts = (span.addend, span.mult, span.shift, span.zero_point)
    fields = [values, *(np.broadcast_to(part, values.shape) for part in parts)]
    codes = unit.compute(np.stack(fields, axis=-1).reshape(-1, 5)).reshape(values.shape)
    return np.clip(codes, span.lo, span.hi)


def wanted(machine: Machine) -> list[Int]:
    """Return what every command stores: int64[M, columns]."""
    spec, of = machine.spec, spans()
    a, *others = operands()
    codes = np.asarray(a)

    def product(left: Int, right: Int, span: Span) -> Int:
        return scaled(spec.epilogue(), spec.array.compute(left, right)[0], span)

    scores = product(codes, others[0], of[TO_SCORES])
    probabilities = spec.rows.spec.compute(scores.astype(np.int32)).astype(np.int64)
    codes = scaled(spec.encoder(), probabilities, of[OF_PROBABILITIES])
    inner = product(codes, others[1], of[TO_ACTIVATION])
    activation = spec.activation().compute(inner.ravel()).reshape(inner.shape)
    hidden = scaled(spec.encoder(), activation, of[OF_ACTIVATION])
    return [scores, probabilities, codes, hidden, product(hidden, others[2], of[TO_RESULT])]


def program(machine: Machine) -> MachineProgram:
    """Return the program: requantize, rows, encode, activation, requantize."""
    program, array, of = MachineProgram(machine), machine.spec.array, spans()
    a, *others = operands()
    bases, at = [], 0
    for b in others:
        program.store("b", at, array.b_words(b, fill=5))
        bases.append(at)
        at += len(array.b_words(b))
    program.store("a", 0, array.a_words(a, fill=1))
    words = -(-N // machine.spec.lanes)
    by_row = {"inner": words, "outer": M, "inner_stride": 1, "outer_stride": words}
    by_tile = {"inner": words, "outer": M, "inner_stride": M, "outer_stride": 1}
    program.matmul(
        *((M, K, N), (0, bases[0], 0), 0, of[TO_SCORES]),
        {"base": 0, "inner_stride": words, "outer_stride": 1},
    )
    program.vector(Route.ROWS, {"base": 0, **by_row}, {"base": PROBABILITIES, **by_row})
    program.vector(
        *(Route.ENCODE, {"base": PROBABILITIES, **by_row}),
        *({"base": CODES, "to_operand": 1, **by_tile}, of[OF_PROBABILITIES]),
    )
    program.matmul(
        *((M, N, P), (CODES, bases[1], 0), 8, of[TO_ACTIVATION]),
        *(
            {"base": HIDDEN, "to_operand": 1, "inner_stride": 1, "outer_stride": M},
            of[OF_ACTIVATION],
        ),
    )
    program.matmul(
        *((M, P, Q), (HIDDEN, bases[2], 0), 16, of[TO_RESULT]),
        {"base": RESULT, "inner_stride": 1, "outer_stride": M},
    )
    return program


def stored(done: Done, columns: int, by_row: bool) -> Int:
    """Return the words of a command as int64[M, columns]; they come by row, or tile by tile."""
    lanes = done.words.shape[1]
    if by_row:
        return done.words.reshape(M, -1)[:, :columns]
    tiles = done.words.reshape(-1, M, lanes).swapaxes(0, 1)
    return tiles.reshape(M, -1)[:, :columns]


def places(target: Mapping[str, int]) -> list[int]:
    """Return the addresses of a walk."""
    base, inner_stride, outer_stride = (
        target[name] for name in ("base", "inner_stride", "outer_stride")
    )
    return [
        base + outer * outer_stride + inner * inner_stride
        for outer in range(target["outer"])
        for inner in range(target["inner"])
    ]


def difference(
    program: MachineProgram, outcome: ProgramOutcome, cycles: Sequence[int]
) -> str | None:
    """Return what differs first, if anything does, in what came of `program`.

    Values are held to the units, addresses to the walks, cycles of the commands to `cycles`.
    """
    if isinstance(outcome, str):
        return outcome
    total, commands = outcome
    values = wanted(program.machine)
    for number, (done, want) in enumerate(zip(commands, values, strict=True)):
        if done.addresses != places(program.commands[number]["target"]):
            return f"command {number} stored words at {done.addresses}"
        got = stored(done, want.shape[1], by_row=number in BY_ROW)
        if not np.array_equal(got, want):
            place = tuple(np.argwhere(got != want)[0].tolist())
            return f"command {number}: {place} is {got[place]}, not {want[place]}"
    counted = [done.cycles for done in commands]
    if counted != list(cycles) or total != sum(cycles):
        return f"commands took {counted}, {total} in all, not {list(cycles)}"
    return None
