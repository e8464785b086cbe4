"""All routes of small machines on seeded data: values of the integer units, cycles of formulas."""

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_array_equal

pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")

from hwq.arch.unit_timing import UNIT_TIMING
from hwq.cost.systolic import matmul_cycles
from hwq.numerics.array import ArraySpec
from hwq.numerics.epilogue import EpilogueSpec
from hwq.numerics.gelu import GeluSpec
from hwq.numerics.pe import PeSpec
from hwq.numerics.softmax import SoftmaxSpec
from hwq.rtl.epilogue import Epilogue
from hwq.rtl.gelu import Gelu
from hwq.rtl.machine import Machine
from hwq.rtl.machine_program import ELEMENT, MachineSpec, Route
from hwq.rtl.softmax import Softmax
from hwq.sim.component import build_components
from hwq.sim.machine import MachineProgram, Span

# a[M, K] b[K, N] -> softmax over N -> codes; their product with b2[N, P] -> GELU -> codes; again
M, K, N, P, Q = 5, 7, 4, 8, 2
CODES, HIDDEN = 64, 128  # where commands store operands
PROBABILITIES, RESULT = 64, 128  # and words
FIXED16 = (-(1 << 15), (1 << 15) - 1)
SIX_BITS = PeSpec("multiply", 6, 5, 20, (*range(32), *range(-32, 0)))
TO_SCORES, TO_GELU, TO_RESULT, OF_PROBABILITIES, OF_GELU = range(5)


def make_machine(lanes: int) -> Machine:
    lo, hi = -(1 << (ELEMENT.width - 1)), (1 << (ELEMENT.width - 1)) - 1
    return Machine(
        MachineSpec(
            ArraySpec(lanes, lanes, "weight_stationary", SIX_BITS, 256, 256, 256, 8),
            epilogue=partial(Epilogue, EpilogueSpec(lo, hi, acc_bits=20)),
            gelu=partial(Gelu, GeluSpec()),
            encoder=partial(Epilogue, EpilogueSpec(lo, hi, acc_bits=ELEMENT.width)),
            rows=Softmax(SoftmaxSpec(8), N, lanes),
            vector_depth=256,
            parameter_depth=32,
            program_depth=8,
        )
    )


def operands() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    a = rng.integers(-32, 32, (M, K))
    a[0, :2] = -32, 31
    return a, *(rng.integers(-16, 16, shape) for shape in ((K, N), (N, P), (P, Q)))


def spans() -> list[Span]:
    """Of scores, of GELU's inputs, of the result; of probabilities, of GELU's outputs."""
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

    one, other = ([np.array(v) for v in vs] for vs in ((3, 45001, 26, -7), (-40, 39001, 22, -20)))
    return [
        columns(N, 16, *FIXED16),
        columns(P, 12, *FIXED16),
        columns(Q, 19, 6, 30),
        Span(*one, lo=-5, hi=20),
        Span(*other, lo=-25, hi=31),
    ]


def scaled(unit: Epilogue, values: np.ndarray, span: Span) -> np.ndarray:
    """What an epilogue or encoder makes of int64[rows, columns]."""
    parts = (span.addend, span.mult, span.shift, span.zero_point)
    fields = [values, *(np.broadcast_to(part, values.shape) for part in parts)]
    codes = unit.compute(np.stack(fields, axis=-1).reshape(-1, 5)).reshape(values.shape)
    return np.clip(codes, span.lo, span.hi)


def wanted(machine: Machine) -> list[np.ndarray]:
    """What every command stores: int64[rows, columns]."""
    spec, of = machine.spec, spans()
    a, *others = operands()
    codes = np.asarray(a)

    def product(left: np.ndarray, right: np.ndarray, span: Span) -> np.ndarray:
        return scaled(spec.epilogue(), spec.array.compute(left, right)[0], span)

    scores = product(codes, others[0], of[TO_SCORES])
    probabilities = spec.rows.spec.compute(scores.astype(np.int32)).astype(np.int64)
    codes = scaled(spec.encoder(), probabilities, of[OF_PROBABILITIES])
    inner = product(codes, others[1], of[TO_GELU])
    gelu = spec.gelu().compute(inner.ravel()).reshape(inner.shape)
    hidden = scaled(spec.encoder(), gelu, of[OF_GELU])
    return [scores, probabilities, codes, hidden, product(hidden, others[2], of[TO_RESULT])]


def program(machine: Machine) -> MachineProgram:
    """Requantize, rows, encode, gelu, requantize."""
    made, array, of = MachineProgram(machine), machine.spec.array, spans()
    a, *others = operands()
    bases, at = [], 0
    for b in others:
        made.store("b", at, array.b_words(b, fill=5))
        bases.append(at)
        at += len(array.b_words(b))
    made.store("a", 0, array.a_words(a, fill=1))
    words = -(-N // machine.spec.lanes)
    by_row = {"inner": words, "outer": M, "inner_stride": 1, "outer_stride": words}
    by_tile = {"inner": words, "outer": M, "inner_stride": M, "outer_stride": 1}
    made.matmul(
        *((M, K, N), (0, bases[0], 0), 0, of[TO_SCORES]),
        {"base": 0, "inner_stride": words, "outer_stride": 1},
    )
    made.vector(Route.ROWS, {"base": 0, **by_row}, {"base": PROBABILITIES, **by_row})
    made.vector(
        *(Route.ENCODE, {"base": PROBABILITIES, **by_row}),
        *({"base": CODES, "to_operand": 1, **by_tile}, of[OF_PROBABILITIES]),
    )
    made.matmul(
        *((M, N, P), (CODES, bases[1], 0), 8, of[TO_GELU]),
        *({"base": HIDDEN, "to_operand": 1, "inner_stride": 1, "outer_stride": M}, of[OF_GELU]),
    )
    made.matmul(
        *((M, P, Q), (HIDDEN, bases[2], 0), 16, of[TO_RESULT]),
        {"base": RESULT, "inner_stride": 1, "outer_stride": M},
    )
    return made


def cycles(machine: Machine) -> list[int]:
    """Of every command, by the formulas of docs/machine.md."""
    lanes = machine.spec.lanes
    epilogue, gelu = UNIT_TIMING["epilogue"](), UNIT_TIMING["gelu"]()

    def product(m: int, k: int, n: int, *behind: int) -> int:
        return matmul_cycles(m, n, k, lanes, lanes, "weight_stationary", "rtl") + 1 + sum(behind)

    return [
        product(M, K, N, epilogue.latency_cycles),
        1 + UNIT_TIMING["softmax"](N, lanes).busy_cycles(M),
        1 + epilogue.busy_cycles(M * -(-N // lanes)),
        product(M, N, P, 2 * epilogue.latency_cycles, gelu.latency_cycles),
        product(M, P, Q, epilogue.latency_cycles),
    ]


@pytest.mark.parametrize("lanes", [1, 3])
def test_every_route_equals_the_units_in_the_time_of_their_formulas(
    lanes, simulator, tmp_path, seed
):
    machine = make_machine(lanes)
    bank = build_components(simulator, {"machine": machine})
    total, commands = program(machine).run(bank, tmp_path, seed)
    row_major = (False, True, True, False, False)
    for done, want, by_row in zip(commands, wanted(machine), row_major, strict=True):
        columns = want.shape[1]
        words = done.words.reshape(-1, lanes)
        tiles = words.reshape(*((M, -1) if by_row else (-1, M)), lanes)
        stored = (tiles if by_row else tiles.swapaxes(0, 1)).reshape(M, -1)
        assert_array_equal(stored[:, :columns], want)
        assert len(np.unique(want)) > M
    assert [done.cycles for done in commands] == cycles(machine)
    assert total == sum(cycles(machine))
