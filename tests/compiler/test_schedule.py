from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwq.compiler.schedule import best_schedule, stream_cycles, transfer_cycles
from hwq.compiler.tiling import Capacities, TileProblem, Tiling, fitting_tilings
from hwq.errors import SpecError

KIB = 8192


def ceil_div(a, b):
    return -(-a // b)


def tile_cycles(m, n, k):
    """A 4 x 4 output-stationary array."""
    return ceil_div(m, 4) * ceil_div(n, 4) * (k + 6)


def problem(m=20, n=24, k=16, count=1, epilogue=0, room=(KIB, KIB, 4 * KIB), a=False, b=False):
    return TileProblem(m, n, k, count, 4, 4, 4, 8, 8, a, b, 32, epilogue, Capacities(*room))


def walk(p, tiling, bits_per_cycle, correction=0):
    """Execute the nest step by step: (cycles, DRAM bits without the epilogue's rounding)."""
    m_range = range(0, p.m, tiling.tile_m)
    n_range = range(0, p.n, tiling.tile_n)
    outer, inner = (m_range, n_range) if tiling.m_outer else (n_range, m_range)
    steps = []
    for c, o, i, k in product(range(p.count), outer, inner, range(0, p.k, tiling.tile_k)):
        m, n = (o, i) if tiling.m_outer else (i, o)
        size = (min(tiling.tile_m, p.m - m), min(tiling.tile_n, p.n - n))
        steps.append(((c, m, k), (c, k, n), (c, m, n), (*size, min(tiling.tile_k, p.k - k))))
    loads, a_held, b_held = [], None, None
    for a, b, _, (tm, tn, tk) in steps:
        bits = 0
        if not p.a_on_chip and a != a_held:
            bits += tm * tk * p.a_bits
        if not p.b_on_chip and b != b_held:
            bits += tk * tn * p.b_bits
        a_held, b_held = a, b
        loads.append(bits)
    total = transfer_cycles(loads[0], bits_per_cycle)
    finished = 0
    for t, (_, _, out, (tm, tn, tk)) in enumerate(steps):
        last_of_instance = t + 1 == len(steps) or steps[t + 1][2][0] != out[0]
        compute = tile_cycles(tm, tn, tk) - correction * last_of_instance
        moved = finished + (loads[t + 1] if t + 1 < len(steps) else 0)
        total += max(compute, transfer_cycles(moved, bits_per_cycle))
        done = t + 1 == len(steps) or steps[t + 1][2] != out
        finished = ceil_div(p.epilogue_bits * tm * tn, p.count * p.m * p.n) if done else 0
    return total + transfer_cycles(finished, bits_per_cycle), sum(loads)


def tilings(p):
    grid = fitting_tilings(p)
    return [(grid.tiling(row), int(grid.dram_bits[row])) for row in range(len(grid.tile_m))]


extent = st.integers(1, 40)
problems = st.builds(
    problem,
    extent,
    extent,
    extent,
    st.integers(1, 7),
    st.sampled_from([0, 8 * 97, 12345]),
    st.sampled_from([(1 << 30,) * 3, (2048, 2048, 4096), (512, 4096, 8192)]),
    st.booleans(),
    st.booleans(),
)
rates = st.fractions(Fraction(1, 3), 300, max_denominator=7)


@settings(deadline=None)
@given(problems, rates, st.sampled_from([0, 1]))
def test_best_schedule_is_the_best_of_all_tilings_walked_step_by_step(p, rate, correction):
    found = best_schedule(p, tile_cycles, rate, correction)
    walked = {tiling: (bits, *walk(p, tiling, rate, correction)) for tiling, bits in tilings(p)}
    for bits, _, loaded in walked.values():
        assert bits == loaded + p.epilogue_bits
    least = min(bits for bits, _, _ in walked.values())
    assert found.dram_bits == least
    assert found.cycles == min(cycles for bits, cycles, _ in walked.values() if bits == least)
    assert found.cycles == walked[found.tiling][1]
    assert found.compute_cycles <= found.cycles


@settings(deadline=None)
@given(problems, rates, rates)
def test_more_bandwidth_is_never_slower(p, one, other):
    slow, fast = sorted((one, other))
    assert best_schedule(p, tile_cycles, fast).cycles <= best_schedule(p, tile_cycles, slow).cycles


@settings(deadline=None)
@given(problems)
def test_every_tiling_fits_its_buffers(p):
    grid = fitting_tilings(p)
    assert (grid.buffer_bits <= sum(p.capacities)).all()
    assert (grid.buffer_bits > 0).all()


def test_with_everything_on_chip_only_the_array_takes_time():
    found = best_schedule(problem(a=True, b=True, count=3), tile_cycles, Fraction(1))
    assert found.cycles == found.compute_cycles == 3 * tile_cycles(20, 24, 16)


def test_one_tile_is_first_load_compute_last_store():
    p = problem(4, 4, 4, epilogue=128)
    found = best_schedule(p, tile_cycles, Fraction(8))
    first, compute, last = 2 * 4 * 4 * 8 // 8, tile_cycles(4, 4, 4), 128 // 8
    assert found.tiling == Tiling(4, 4, 4, m_outer=True)
    assert found.cycles == first + compute + last


def test_a_single_tile_needs_one_buffer_and_several_need_two():
    grid = fitting_tilings(problem(8, 8, 8))
    sizes = {grid.tiling(row): int(grid.buffer_bits[row]) for row in range(len(grid.tile_m))}
    assert sizes[Tiling(8, 8, 8, True)] == 8 * 8 * 8 + 8 * 8 * 8 + 8 * 8 * 32
    assert sizes[Tiling(4, 8, 8, True)] == 2 * 4 * 8 * 8 + 8 * 8 * 8 + 2 * 4 * 8 * 32


@pytest.mark.parametrize(
    ("room", "message"),
    [
        ((100, KIB, KIB), "sram.activation must have 0.03125 KiB free for the smallest tile, "),
        ((KIB, 100, KIB), "sram.weight must have 0.03125 KiB free for the smallest tile, not "),
        ((KIB, KIB, -5), "sram.output must have 0.125 KiB free for the smallest tile, not 0"),
    ],
)
def test_a_buffer_too_small_for_one_tile_is_named(room, message):
    with pytest.raises(SpecError) as caught:
        fitting_tilings(problem(room=room))
    assert str(caught.value).startswith(message)


def test_buffers_that_only_fit_different_tiles_are_refused():
    p = problem(4, 24, 5, room=(200, 300, KIB))  # a fits whole in K, b only in pieces
    with pytest.raises(SpecError, match="the buffers must hold one tile of each operand at"):
        fitting_tilings(p)


def test_a_row_stream_hides_the_shorter_of_work_and_transfer():
    assert stream_cycles(10, 500, 800, 400, Fraction(8)) == 10 + 500 + 5
    assert stream_cycles(10, 50, 800, 400, Fraction(8)) == 10 + (1200 - 120) // 8 + 5
    assert stream_cycles(10, 50, 0, 0, Fraction(8)) == 50


def test_transfers_round_up():
    assert transfer_cycles(17, Fraction(8)) == 3
    assert transfer_cycles(3, Fraction(3, 2)) == 2
    assert transfer_cycles(0, Fraction(8)) == 0
