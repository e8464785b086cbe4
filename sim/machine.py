"""A machine's program with its data: built by layers, run in the simulator, read back as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib import data
from numpy.typing import NDArray

from hwq.errors import require
from hwq.rtl.epilogue import SCALING
from hwq.rtl.machine import Machine
from hwq.rtl.machine_program import Route
from hwq.rtl.payload import pack, unpack
from hwq.sim.bank import Bank
from hwq.sim.launch import launch
from hwq.sim.runner import BenchFailed

Int = NDArray[np.int64]


@dataclass(frozen=True)
class Span:
    """Scaling and range of an epilogue or encoder: int64 scalars or arrays over the columns.

    code = clamp((((value + addend) * mult + 2**(shift-1)) >> shift) + zero_point, lo, hi).
    """

    addend: Int
    mult: Int
    shift: Int
    zero_point: Int
    lo: int
    hi: int

    def columns(self, count: int) -> Int:
        """int64[count, 4]: the scaling of every column."""
        parts = (self.addend, self.mult, self.shift, self.zero_point)
        return np.stack([np.broadcast_to(np.ravel(p), count) for p in parts], axis=-1)


_ZERO = np.zeros((), np.int64)
IDENTITY = Span(_ZERO, _ZERO + (1 << 15), _ZERO + 15, _ZERO, lo=0, hi=0)
"""Scaling of an encoder that is not used."""


@dataclass(frozen=True)
class Done:
    """What a command did.

    Parameters
    ----------
    cycles : int
    words : int64[n, lanes]
        What it stored, in order.
    addresses : list of int
    sums : int64[n, lanes, planes]
        What left the array, if it used it.
    """

    cycles: int
    words: Int
    addresses: list[int]
    sums: Int


@dataclass
class MachineProgram:
    """Commands and memories of one run; places in a memory are given by the caller.

    Parameters
    ----------
    machine : Machine
    """

    machine: Machine
    commands: list[Mapping[str, Any]] = field(default_factory=list)
    writes: dict[str, list[tuple[int, int]]] = field(
        default_factory=lambda: {
            f"{name}_write": [] for name in ("a", "b", "vector", "parameter", "command")
        }
    )

    def store(self, memory: str, base: int, words: Int) -> None:
        """Put int64[n, lanes] words into memory "a", "b" or "vector" before the run."""
        port = getattr(self.machine, f"{memory}_write")
        if memory == "a":
            words = words & ((1 << self.machine.spec.array.pe.a_bits) - 1)
        packed = pack(port.data.shape(), np.ascontiguousarray(words, np.int64))
        self.writes[f"{memory}_write"] += [(base + k, word) for k, word in enumerate(packed)]

    def matmul(
        self,
        extents: tuple[int, int, int],
        bases: tuple[int, int, int],
        parameters: int,
        epilogue: Span,
        target: Mapping[str, int],
        encoder: Span | None = None,
    ) -> None:
        """Add out[m, n] = a[m, k] b[k, n] and what streams behind it.

        Parameters
        ----------
        extents : (m, k, n)
        bases : tuple of int
            First words of a, b and the sums.
        parameters : int
            First word of the epilogue's parameters, a word for each tile of columns.
        epilogue : Span
        target : mapping of str to int
            The walk of what is stored, and `to_operand`; words come tile by tile of columns, row
            by row.
        encoder : Span, optional
            The activation and this encoder follow the epilogue.
        """
        m, _, n = extents
        lanes = self.machine.spec.lanes
        tiles = -(-n // lanes)
        scaling = np.zeros((tiles * lanes, 4), np.int64)
        scaling[:, 2] = 1
        scaling[:n] = epilogue.columns(n)
        words = pack(self.machine.parameters, scaling.reshape(tiles, lanes * 4))
        self.writes["parameter_write"] += [(parameters + k, w) for k, w in enumerate(words)]
        source = {"base": parameters, "inner": m, "outer": tiles}
        route = Route.REQUANTIZE if encoder is None else Route.ACTIVATION
        program = self.machine.spec.array.program(*extents, bases=bases)
        self._add(route, source, {"inner": m, "outer": tiles, **target}, epilogue, encoder, program)
        # every tile of columns has parameters of its own, the same for all its rows
        self.commands[-1]["source"].update(inner_stride=0, outer_stride=1)

    def vector(
        self,
        route: Route,
        source: Mapping[str, int],
        target: Mapping[str, int],
        encoder: Span | None = None,
    ) -> None:
        """Add a layer that reads the vector memory; both walks are of as many words."""
        self._add(route, source, target, IDENTITY, encoder, {})

    def _add(
        self,
        route: Route,
        source: Mapping[str, int],
        target: Mapping[str, int],
        epilogue: Span,
        encoder: Span | None,
        program: Mapping[str, int],
    ) -> None:
        used = IDENTITY if encoder is None else encoder
        place = dict(target)
        (scaling,) = used.columns(1)
        self.commands.append(
            {
                "route": route,
                "last": 0,
                "program": program,
                "source": dict(source),
                "to_operand": place.pop("to_operand", 0),
                "target": place,
                "epilogue": {"lo": epilogue.lo, "hi": epilogue.hi},
                "encoder": {
                    "scaling": dict(zip([n for n, _ in SCALING], scaling.tolist(), strict=True)),
                    "lo": used.lo,
                    "hi": used.hi,
                },
            }
        )

    def job(self) -> dict[str, Any]:
        """Return what the bench reads."""
        depth = self.machine.spec.program_depth
        count = len(self.commands)
        require(1 <= count <= depth, f"commands must be 1..{depth}, not {count}")
        shape: data.StructLayout = self.machine.command_shape
        words = []
        for number, command in enumerate(self.commands):
            last = int(number == count - 1)
            words.append((number, shape.const({**command, "last": last}).as_bits()))
        return {**self.writes, "command_write": words, "commands": count}

    def run(self, bank: Bank, work: Path, seed: int = 0) -> tuple[int, list[Done]]:
        """Return the cycles of the program, and what each command did; "machine" in the bank.

        Raises
        ------
        BenchFailed
            If the machine does not come to its end.
        """
        (outcome,) = run_programs(bank, {"machine": self}, work, seed)
        if isinstance(outcome, str):
            raise BenchFailed(outcome)
        return outcome

    def done(self, cycles: int, written: list[list[int]], sums: list[list[int]]) -> Done:
        """Return what the bench says of a command as arrays."""
        machine = self.machine
        word = machine.array.o.sums.shape()
        lanes, planes = machine.spec.lanes, machine.spec.array.pe.planes
        left = unpack(word, [value for _, value in sums])
        return Done(
            cycles,
            unpack(machine.word, [value for _, _, value in written]).reshape(-1, lanes),
            [address for _, address, _ in written],
            left.reshape(-1, lanes, planes),
        )


ProgramOutcome = tuple[int, list[Done]] | str
"""Cycles of a program and what its commands did, or why it did not end."""


def run_programs(
    bank: Bank,
    programs: Mapping[str, MachineProgram],
    work: Path,
    seed: int = 0,
    runs: int = 1,
    limit: int = 1_000_000,
) -> list[ProgramOutcome]:
    """Run programs one after the other in one process; `start` stays on while they begin.

    Parameters
    ----------
    bank : Bank
        From `hwq.sim.component.build_components`.
    programs : mapping of str to MachineProgram
        Name of the machine in the bank -> what it runs.
    work : Path
        Folder for the run's files.
    seed : int
        Seed of the simulator.
    runs : int
        How often each is run; all runs must do the same.
    limit : int
        Cycles after which a program counts as endless.

    Raises
    ------
    BenchFailed
        If the simulator stops before the bench does.
    """
    common = {"runs": runs, "limit": limit}
    entries = [{"name": name, **common, **result.job()} for name, result in programs.items()]
    results = launch(bank, "tb_machine", entries, work, seed)
    if not results:
        raise BenchFailed(f"the simulator stopped early; see {work / 'run.log'}")
    outcomes: list[ProgramOutcome] = []
    for program, result in zip(programs.values(), results, strict=True):
        if "failure" in result:
            outcomes.append(result["failure"])
        else:
            outcomes.append((result["cycles"], [program.done(**c) for c in result["commands"]]))
    return outcomes
