"""Products -> a bank of arrays -> what came out, and in how many cycles."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwq.numerics.array import ArraySpec
from hwq.rtl.array import Array
from hwq.rtl.array_program import program_layout
from hwq.rtl.payload import pack
from hwq.sim.bank import Bank
from hwq.sim.launch import launch
from hwq.sim.runner import BenchFailed

CycleModel = Callable[[int, int, int, ArraySpec], int]
"""M, K, N and the array -> cycles of a program."""


@dataclass(frozen=True)
class Product:
    """A matrix product that an array is to compute.

    Parameters
    ----------
    a : int[M, K]
        Codes.
    b : int[K, N]
    k_tiles : sequence of int
        Extents of K of the programs that add up to the product; the whole K by default.
    """

    a: NDArray[np.integer]
    b: NDArray[np.integer]
    k_tiles: Sequence[int] = ()

    def programs(self, array: Array) -> list[dict[str, object]]:
        """Return what the bench does, tile after tile; every operand ends where its memory does."""
        spec = array.spec
        m, n = self.a.shape[0], self.b.shape[1]
        words = spec.result_words(spec.compute(self.a, self.b))
        wanted = pack(array.result_word, words.reshape(len(words), -1))
        entries: list[dict[str, object]] = []
        start = 0
        for extent in self.extents:
            a, b = self.a[:, start : start + extent], self.b[start : start + extent]
            start += extent
            # what is beyond the edges must not matter: it is no zero
            a_words = pack(array.a_word, spec.a_words(a, fill=1))
            b_words = pack(array.b_word, spec.b_words(b, fill=1))
            bases = (
                spec.a_depth - len(a_words),
                spec.b_depth - len(b_words),
                spec.result_depth - len(wanted),
            )
            complete = start == self.a.shape[1]
            registers = spec.program(
                *(m, extent, n), bases=bases, accumulate=start > extent, complete=complete
            )
            entries.append(
                {
                    "shape": [m, extent, n],
                    "program": program_layout(spec).const(registers).as_bits(),
                    "bases": bases,
                    "a": a_words,
                    "b": b_words,
                    "wanted": wanted if complete else [],
                }
            )
        return entries

    @property
    def extents(self) -> Sequence[int]:
        """Extents of K of the programs, one after another."""
        return self.k_tiles or [self.a.shape[1]]


@dataclass(frozen=True)
class Run:
    """Products for one array of a bank.

    Parameters
    ----------
    name : str
        The array in the bank.
    array : Array
    products : sequence of Product
    """

    name: str
    array: Array
    products: Sequence[Product]


def run_arrays(bank: Bank, runs: Sequence[Run], model: CycleModel, work: Path) -> list[str | None]:
    """Run the products of every array; return what failed first in each, if anything did.

    A word of results is wrong, in the memory or as it leaves, or none leaves; the array does not
    end; its counter is not the number of clock cycles that went by; that is not the model's.

    Parameters
    ----------
    bank : Bank
        From `hwq.sim.component.build_components`.
    runs : sequence of Run
    model : callable
    work : Path
        Folder for the run's files.

    Raises
    ------
    BenchFailed
        If the simulator stops before the bench does.
    """
    entries = [
        {
            "name": run.name,
            "programs": [
                entry for product in run.products for entry in product.programs(run.array)
            ],
        }
        for run in runs
    ]
    outcomes = launch(bank, "tb_array", entries, work)
    if not outcomes:
        raise BenchFailed(f"the simulator stopped early; see {work / 'run.log'}")
    return [_failure(run, model, **outcome) for run, outcome in zip(runs, outcomes, strict=True)]


def _failure(run: Run, model: CycleModel, cycles: list[int], failure: str | None) -> str | None:
    """Return the bench's failure, or the first program whose cycles are not the model's."""
    if failure is not None:
        return f"{run.name}: {failure}"
    shapes = [
        (len(product.a), k, product.b.shape[1]) for product in run.products for k in product.extents
    ]
    for (m, k, n), got in zip(shapes, cycles, strict=True):
        want = model(m, k, n, run.array.spec)
        if got != want:
            return f"{run.name}: M = {m}, K = {k}, N = {n}: {got} cycles, want {want}"
    return None
