"""Cycles of a slot: array, vector unit and DMA in closed form."""

from typing import Any, Final, NamedTuple

from hwq.arch.accelerator import Accelerator
from hwq.arch.kinds import Timing
from hwq.arch.systolic import matmul_cycles, timing_correction
from hwq.arch.vector_timing import pass_timing
from hwq.numerics.unit import UnitTiming, ceil_div
from hwq.plan.plan import Pass, Step
from hwq.plan.slots import Slot, Tile

# What gateware (`hwq.rtl.accelerator`) adds to what its units state of themselves
OPERAND_CYCLES: Final = 2
"""Words of a product's operands are there so many cycles later than those of a small memory."""
RESULT_CYCLES: Final = 2
"""Sums wait for their parameters, and results until a buffer has them."""
PASS_CYCLES: Final = 5
"""From the first word's address to the first word, and from the last word to the next pass."""
LOAD_CYCLES: Final = 3
STORE_CYCLES: Final = 6
"""Of a transfer, besides those in which beats are asked for."""
WORK_WORDS: Final = 32
TRANSFER_WORDS: Final = 8
"""Words of 64 bits that command a slot, and a transfer; the next ones are fetched meanwhile."""
FETCH_CYCLES: Final = 2
"""Of what is fetched, besides its words."""


class Work(NamedTuple):
    """Cycles of one tile.

    Parameters
    ----------
    cycles : int
        Until all of it is done.
    array : int
        For which the array works.
    exposed, busy : tuple of int
        Of each pass: by how much it lasts longer than what is before it; for which it works.
    """

    cycles: int
    array: int
    exposed: tuple[int, ...]
    busy: tuple[int, ...]


class Timer:
    """Closed forms of one accelerator under one convention."""

    def __init__(self, accelerator: Accelerator, timing: Timing) -> None:
        self.accelerator, self.timing = accelerator, timing
        self._rtl = timing == "rtl"
        self.rate = accelerator.dram_bits_per_cycle

    def transfer_cycles(self, bits: int, load: bool) -> int:
        """Cycles of one transfer: the latency of a load, and the bandwidth."""
        cycles = ceil_div(bits * self.rate.denominator, self.rate.numerator)
        cycles += self.accelerator.dram.latency_cycles * load
        if not self._rtl:
            return cycles
        cycles += LOAD_CYCLES if load else STORE_CYCLES
        return max(cycles, TRANSFER_WORDS + FETCH_CYCLES)

    def moving_cycles(self, slot: Slot) -> int:
        """Cycles of all transfers of a slot, one after another."""
        return sum(self.transfer_cycles(move.bits, load=False) for move in slot.stores) + sum(
            self.transfer_cycles(move.bits, load=True) for move in slot.loads
        )

    def slot_cycles(self, slot: Slot) -> int:
        """Cycles until computing and moving are both done, and the next commands are there."""
        computing = 0 if slot.tile is None else self.work(slot.tile).cycles
        fetching = (WORK_WORDS + FETCH_CYCLES) * self._rtl
        return max(self.moving_cycles(slot), computing, fetching)

    def array_cycles(self, step: Step, m: Any, n: Any, k: Any) -> Any:
        """Cycles of the array for one tile; extents may be arrays."""
        assert step.product is not None
        array = self.accelerator.array
        cycles: Any = matmul_cycles(
            m + step.product.column_sums,
            n,
            k,
            array.rows,
            array.columns,
            step.product.dataflow,
            "rtl" if self._rtl else "stall_free",
        )
        return cycles + self._rtl * (OPERAND_CYCLES + array.rows * step.turns_b)

    def work(self, tile: Tile) -> Work:
        """Cycles of a tile, which the passes end that follow complete sums."""
        step, (m, n, k) = tile.step, tile.extents
        array = 0
        if step.product is not None:
            array = self.array_cycles(step, m, n, k)
            if tile.ends_instance:
                array -= timing_correction(self.timing)
            if not tile.completes:
                return Work(array, array, (0,) * len(step.passes), (0,) * len(step.passes))
        tail, busy_cycles, before = RESULT_CYCLES * self._rtl, 0, array
        exposed, busy = [], []
        for work in step.passes:
            timing, items = self.share(work, tile)
            busy_of_pass = timing.busy_cycles(items)
            busy_cycles += busy_of_pass
            if self._rtl and step.product is not None:
                # the last sums pass through what streams behind the array
                tail += timing.latency_cycles
            if step.product is None:
                until = busy_cycles + PASS_CYCLES * self._rtl
                busy_of_pass = until
            else:
                until = max(array + tail, busy_cycles)
            exposed.append(until - before)
            busy.append(busy_of_pass)
            before = until
        return Work(before, array, tuple(exposed), tuple(busy))

    def tail_cycles(self, step: Step) -> int:
        """Cycles by which the passes of a tile end after its last sum, or its last row came in."""
        if not self._rtl and step.product is not None:
            return 0
        unit = self.accelerator.vector_unit
        parts = (
            pass_timing(work.unit, work.rows, work.length, unit)[0].latency_cycles
            for work in step.passes
        )
        extra = (PASS_CYCLES if step.product is None else RESULT_CYCLES) * self._rtl
        return extra * bool(step.passes) + sum(parts)

    def share(self, work: Pass, tile: Tile) -> tuple[UnitTiming, int]:
        """Timing of a pass, and the items that one tile gives it."""
        step, (m, n, _) = tile.step, tile.extents
        rows = ceil_div(work.rows * m, step.m * tile.times)
        length = ceil_div(work.length * n, step.n)
        unit = self.accelerator.vector_unit
        return pass_timing(work.unit, rows, length, unit, work.results)
