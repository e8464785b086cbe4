"""Cycles of a slot: array, vector unit and DMA in closed form."""

from typing import NamedTuple

from hwq.arch.accelerator import Accelerator
from hwq.arch.kinds import Timing
from hwq.arch.systolic import matmul_cycles, timing_correction
from hwq.arch.vector_timing import pass_timing
from hwq.numerics.unit import UnitTiming, ceil_div
from hwq.plan.plan import Pass, Step
from hwq.plan.slots import Slot, Tile

READ_CYCLES = 1
"""Before its units work, a step reads its first word, and what streams behind a product its
parameters; `hwq.rtl.machine`."""


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
        self.read_cycles = READ_CYCLES if timing == "rtl" else 0
        self._rate, self._latency = accelerator.dram_bits_per_cycle, accelerator.dram.latency_cycles

    def transfer_cycles(self, bits: int) -> int:
        """Cycles of the DRAM for a batch of `bits`: its latency once, then its bandwidth."""
        if bits == 0:
            return 0
        rate = self._rate
        return self._latency + ceil_div(bits * rate.denominator, rate.numerator)

    def slot_cycles(self, slot: Slot) -> int:
        """Cycles until computing and moving are both done."""
        moving = self.transfer_cycles(slot.moved_bits)
        return moving if slot.tile is None else max(moving, self.work(slot.tile).cycles)

    def array_cycles(self, step: Step, m: int, n: int, k: int) -> int:
        """Cycles of the array for one tile."""
        assert step.product is not None
        array = self.accelerator.array
        return matmul_cycles(
            m + step.product.column_sums,
            n,
            k,
            array.rows,
            array.columns,
            step.product.dataflow,
            "rtl" if self.timing == "rtl" else "stall_free",
        )

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
        tail, busy_cycles, before = self.read_cycles, 0, array
        exposed, busy = [], []
        for work in step.passes:
            timing, items = self.share(work, tile)
            busy_of_pass = timing.busy_cycles(items)
            busy_cycles += busy_of_pass
            if self.timing == "rtl" and step.product is not None:
                # the last sums pass through what streams behind the array
                tail += timing.latency_cycles
            if step.product is None:
                until = busy_cycles + self.read_cycles
                busy_of_pass = until
            else:
                until = max(array + tail, busy_cycles)
            exposed.append(until - before)
            busy.append(busy_of_pass)
            before = until
        return Work(before, array, tuple(exposed), tuple(busy))

    def tail_cycles(self, step: Step) -> int:
        """Cycles by which the passes of a tile end after its last sum, or its last row came in."""
        if self.timing != "rtl" and step.product is not None:
            return 0
        unit = self.accelerator.vector_unit
        parts = (
            pass_timing(work.unit, work.rows, work.length, work.degree, unit)[0].latency_cycles
            for work in step.passes
        )
        return self.read_cycles * bool(step.passes) + sum(parts)

    def share(self, work: Pass, tile: Tile) -> tuple[UnitTiming, int]:
        """Timing of a pass, and the items that one tile gives it."""
        step, (m, n, _) = tile.step, tile.extents
        rows = ceil_div(work.rows * m, step.m * tile.times)
        length = ceil_div(work.length * n, step.n)
        return pass_timing(work.unit, rows, length, work.degree, self.accelerator.vector_unit)
