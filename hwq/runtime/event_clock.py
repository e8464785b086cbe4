"""Counts the cycles of a plan's commands the slow way: fold by fold, item by item, beat by beat.

What every unit states of itself (its timing, its items) is given; how that adds up is counted here
anew, and the closed forms of `hwq.plan.timing` and `hwq.arch.systolic` are to give the same.
"""

from collections.abc import Sequence

from hwq.arch.accelerator import Accelerator
from hwq.arch.vector_timing import pass_timing
from hwq.errors import require
from hwq.plan.commands import Apply, Multiply, SlotCommands, Transfer
from hwq.plan.plan import Pass, Plan, Product, Step
from hwq.plan.timing import (
    FETCH_CYCLES,
    LOAD_CYCLES,
    OPERAND_CYCLES,
    PASS_CYCLES,
    RESULT_CYCLES,
    STORE_CYCLES,
    TRANSFER_WORDS,
    WORK_WORDS,
)
from hwq.plan.window import Window


class EventClock:
    """The time of one run.

    Parameters
    ----------
    plan : Plan
        Of timing "rtl" or "stall_free".
    accelerator : Accelerator
        What it was planned for.

    Attributes
    ----------
    cycles : int
        So far.
    """

    def __init__(self, plan: Plan, accelerator: Accelerator) -> None:
        require(plan.timing != "scalesim", "a convention of reports has no events")
        self.cycles = 0
        self._machine, self._rtl = accelerator, plan.timing == "rtl"
        self._layers: list[tuple[Product | Pass, Step, int]] = []
        for group in plan.groups:
            for step in group.steps:
                works = ((step.product,) if step.product else ()) + step.passes
                self._layers += [(work, step, group.times) for work in works]

    def advance(self, slot: SlotCommands) -> None:
        """Let one slot pass: until work and transfers are done and the next commands there."""
        fetched = (WORK_WORDS + FETCH_CYCLES) * self._rtl
        self.cycles += max(self._work(slot.work), self._transfers(slot.transfers), fetched)

    def _work(self, work: Sequence[Multiply | Apply]) -> int:
        summed, unit_free, tail = 0, 0, RESULT_CYCLES * self._rtl
        behind_product = False
        for command in work:
            layer, step, times = self._layers[command.layer]
            if isinstance(command, Multiply):
                assert isinstance(layer, Product)
                summed, behind_product = self._product(command, layer), True
                continue
            assert isinstance(layer, Pass)
            rows = -(-layer.rows * command.size[0] // (step.m * times))
            length = -(-layer.length * command.size[1] // step.n)
            timing, items = pass_timing(
                layer.unit, rows, length, self._machine.vector_unit, layer.results
            )
            for _ in range(items):
                unit_free += timing.interval_cycles
            unit_free += timing.latency_cycles
            if self._rtl and behind_product:
                tail += timing.latency_cycles
        if not behind_product:
            return unit_free + PASS_CYCLES * self._rtl if work else 0
        if all(isinstance(command, Multiply) for command in work):
            return summed
        return max(summed + tail, unit_free)

    def _product(self, command: Multiply, product: Product) -> int:
        (_, m, k), (_, _, n) = ([s.count for s in w.spans] for w in (command.a, command.b))
        m += product.column_sums
        rows, columns = self._machine.array.rows, self._machine.array.columns
        on_rows, on_columns, stream = {
            "output_stationary": (m, n, k),
            "weight_stationary": (k, n, m),
            "input_stationary": (k, m, n),
        }[product.dataflow]
        loads_first = product.dataflow != "output_stationary"
        loaded = streamed = drained = 0
        for _ in range(0, on_columns, columns):
            for _ in range(0, on_rows, rows):
                if not self._rtl:
                    streamed += (rows if loads_first else 0) + stream + rows + columns - 2
                elif loads_first:
                    # the next block is loaded while this one is in use
                    loaded = max(loaded, 0) + rows
                    begins = max(loaded, streamed)
                    streamed, loaded = begins + stream, begins
                else:
                    # results move out while the next ones are summed
                    streamed = max(streamed + stream, drained)
                    drained = streamed + rows
        if not self._rtl:
            return streamed
        skew, registers = rows + columns - 2, 4 + OPERAND_CYCLES
        # a block of b whose elements are neighbours along K is read whole before it is turned
        turned = rows if _is_row(command.b, 1) and not _is_row(command.b, 2) else 0
        return max(streamed, drained) + skew + registers + turned

    def _transfers(self, transfers: Sequence[Transfer]) -> int:
        return sum(self._transfer(transfer) for transfer in transfers)

    def _transfer(self, transfer: Transfer) -> int:
        load = transfer.source.memory == "dram"
        rate = self._machine.dram_bits_per_cycle
        cycles, moved = self._machine.dram.latency_cycles * load, 0
        while moved < transfer.bits * rate.denominator:
            moved += rate.numerator
            cycles += 1
        if not self._rtl:
            return cycles
        cycles += LOAD_CYCLES if load else STORE_CYCLES
        return max(cycles, TRANSFER_WORDS + FETCH_CYCLES)


def _is_row(window: Window, axis: int) -> bool:
    """Whether elements along an axis are neighbours."""
    levels = window.spans[axis].axis
    return bool(levels) and levels[-1][1] == 1 and levels[-1][0] > 1
