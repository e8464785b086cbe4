"""A network on an accelerator as files: memories, results, and a bench that needs no hwq."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hwq.compiler.operand import Table
from hwq.compiler.program import Program
from hwq.errors import require
from hwq.plan.bit_memory import BitMemory
from hwq.plan.memory import Home
from hwq.plan.plan import Plan
from hwq.plan.slots import unroll
from hwq.plan.timing import Timer
from hwq.sim.accelerator import BENCH, MAIN, Memories
from hwq.sim.network import dram_of

_PATIENCE: Final = 4
"""How many times the planned cycles a run may take."""
_MOST_LATENCY: Final = 255
_DRAM_PAGE: Final = """# {name}: what is where in the DRAM

A beat is {beat_bits} bits: a line of dram.hex, the highest bit first. Element 0 of a tensor is in
the lowest bits of its first beat; element e is `place * bits` higher, and goes on in the next beat.
The order says which place that is, by loops over the tensor's elements, the last axis fastest: in
`4 @ 768, 8 @ 1`, element e is at place 768 * (e / 8) + e % 8. Integers are two's complement, but
pixels, which are 0..255. What is in no tensor is room for what units store.

"""


@dataclass(frozen=True, eq=False)
class NetworkFiles:
    """A network on an accelerator, and an image.

    Parameters
    ----------
    timer : Timer
        Of the accelerator, in the convention "rtl".
    plan, program : Plan, Program
    memories : Memories
    values : mapping of str to array
        Of the integer network; the results are taken.

    Raises
    ------
    SpecError
        For several results, for those that are not neighbours in the DRAM, and for a DRAM that
        the bench has not.
    """

    timer: Timer
    plan: Plan
    program: Program
    memories: Memories
    values: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        latency = self.timer.accelerator.dram.latency_cycles
        require(
            latency <= _MOST_LATENCY,
            f"dram.latency_cycles must be at most {_MOST_LATENCY} for a bench, not {latency}",
        )
        names = [home.tensor for home in self._results]
        require(len(names) == 1, f"a bench compares one result, not {', '.join(names) or 'none'}")
        view = self.result.view
        dense = view.last - view.offset == self.result.elements - 1
        require(dense, f"elements of the result {names[0]} must be neighbours")

    @property
    def _results(self) -> list[Home]:
        written = {layer.out.tensor for layer in self.program.layers}
        return [home for home in self.plan.homes if home.tensor in written]

    @property
    def result(self) -> Home:
        """Where the result is at the end."""
        return self._results[0]

    @property
    def beat_bits(self) -> int:
        """Bits of a beat."""
        return self.memories.beat_bits

    def first_beat(self, home: Home) -> int:
        """Return the beat of the DRAM in which a tensor begins."""
        # constants of the weight buffer come behind all else
        base = home.base + (self.plan.memory("dram").bits if home.memory == "weight" else 0)
        first = base + home.bits * home.view.offset
        require(first % self.beat_bits == 0, f"{home.tensor} must begin at a beat")
        return first // self.beat_bits

    def beats(self, home: Home) -> int:
        """Return how many beats a tensor lies in."""
        return -(-home.bits * (home.view.last - home.view.offset + 1) // self.beat_bits)

    def planned_cycles(self) -> int:
        """Cycles of all slots of the plan in the cost model."""
        return sum(self.timer.slot_cycles(slot) for slot in unroll(self.plan))

    def write(self, folder: Path) -> None:
        """Write memories, results, bench and the page about the DRAM."""
        self.memories.write(folder)
        for name, text in (
            ("expected.hex", self._expected()),
            ("bench.v", bench(self.parameters())),
            ("main.cpp", MAIN.read_text(encoding="utf-8")),
            ("dram.md", self.dram_page()),
        ):
            (folder / name).write_text(text, encoding="utf-8")

    def parameters(self) -> dict[str, int]:
        """Return what the bench has as parameters."""
        machine, records, planned = (
            self.timer.accelerator,
            self.memories.records,
            self.planned_cycles(),
        )
        rate = dram_of(machine).rate / self.beat_bits
        return {
            "BEAT": self.beat_bits,
            "DRAM_DEPTH": -(-8 * len(self.memories.dram) // self.beat_bits),
            "WORK_DEPTH": len(records.work),
            "TRANSFERS_DEPTH": len(records.transfers),
            "RATE": rate.numerator,
            "NEEDS": rate.denominator,
            "LATENCY": machine.dram.latency_cycles,
            "LIMIT": _PATIENCE * planned + 1_000_000,
            "RESULTS": self.result.elements,
            "RESULT_BITS": self.result.bits,
            "RESULT_BEAT": self.first_beat(self.result),
            "BEFORE": records.before,
            "PLANNED": planned,
        }

    def _expected(self) -> str:
        """Return the beats of the result, zero behind its last element."""
        home, bits = self.result, self.beat_bits
        memory = BitMemory(self.beats(home) * bits)
        places = home.view.places(0, 0, home.elements)
        values = self.values[home.tensor].ravel().astype(np.int64)
        mask = (1 << home.bits) - 1
        memory.write(home.bits * places, values & mask, home.bits, signed=False)
        rows = np.frombuffer(memory.content, np.uint8).reshape(-1, bits // 8)[:, ::-1]
        return "".join(f"{row.tobytes().hex()}\n" for row in rows)

    def dram_page(self) -> str:
        """Return what is where in the DRAM, in Markdown."""
        lines = [
            "| tensor | first beat | beats | elements | bits | order | what |\n",
            "|---|---|---|---|---|---|---|\n",
        ]
        for home in sorted(self.plan.homes, key=self.first_beat):
            order = ", ".join(f"{count} @ {stride}" for count, stride in home.view.axes[0])
            lines.append(
                f"| {home.tensor} | {self.first_beat(home)} | {self.beats(home)} | "
                f"{home.elements} | {home.bits} | {order} | {self._kind(home)} |\n"
            )
        page = _DRAM_PAGE.format(name=self.program.name, beat_bits=self.beat_bits)
        return page + "".join(lines)

    def _kind(self, home: Home) -> str:
        if home.tensor == self.result.tensor:
            return "the result, at the end"
        constant = self.program.constants.get(home.tensor)
        if constant is None:
            return "the image"
        if isinstance(constant, Table):
            return ", ".join(f"{part.name} {part.bits}" for part in constant.fields)
        where = "of the weight buffer, filled first" if home.memory == "weight" else ""
        return f"constant {where}".rstrip()


def bench(parameters: Mapping[str, int]) -> str:
    """Return the bench with these values of its parameters."""
    text = BENCH.read_text(encoding="utf-8")
    for name, value in parameters.items():
        pattern = rf"^(  parameter (?:\[[\d:]+\] )?{name} = )\d+;$"
        width = max(value.bit_length(), 1)
        number = str(value) if width < 32 else f"{width}'d{value}"
        text, count = re.subn(pattern, rf"\g<1>{number};", text, flags=re.MULTILINE)
        require(count == 1, f"the bench must have one parameter {name}, not {count}")
    return text
