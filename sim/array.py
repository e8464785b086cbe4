"""Products -> a bank of arrays -> what came out, and in how many cycles."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwq.rtl.array import Array
from hwq.rtl.array_program import program_layout
from hwq.rtl.payload import pack
from hwq.sim.bank import TOP, Bank
from hwq.sim.runner import BenchFailed
from hwq.sim.tools import tool_environment


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
        """Return what the bench does, tile after tile."""
        spec = array.spec
        tiles = self.k_tiles or [self.a.shape[1]]
        entries = []
        start = 0
        # what is beyond the edges must not matter: it is no zero
        for extent in tiles:
            a, b = self.a[:, start : start + extent], self.b[start : start + extent]
            registers = spec.program(
                a.shape[0],
                extent,
                b.shape[1],
                accumulate=start > 0,
                complete=start + extent == self.a.shape[1],
            )
            program = program_layout(spec).const(registers).as_bits()
            entries.append(
                {
                    "shape": [a.shape[0], extent, b.shape[1]],
                    "program": program,
                    "a": pack(array.a_word, spec.a_words(a, fill=1)),
                    "b": pack(array.b_word, spec.b_words(b, fill=1)),
                    "wanted": [],
                }
            )
            start += extent
        words = spec.result_words(spec.compute(self.a, self.b))
        entries[-1]["wanted"] = pack(array.result_word, words.reshape(len(words), -1))
        return entries


def run_array(
    bank: Bank, name: str, array: Array, products: Sequence[Product], work: Path
) -> list[list[int]]:
    """Run products one after another; return the cycles of each of their programs.

    Parameters
    ----------
    bank : Bank
        From `hwq.sim.component.build_components`.
    name : str
        The array in the bank.
    array : Array
    products : sequence of Product
    work : Path
        Folder for the run's files.

    Raises
    ------
    BenchFailed
        A word of results is wrong, the array does not end, or its counter is not the number of
        clock cycles that went by.
    """
    from cocotb_tools.runner import get_runner

    programs = [product.programs(array) for product in products]
    jobs, outcome = work / "jobs.json", work / "outcome.json"
    jobs.write_text(json.dumps([entry for entries in programs for entry in entries]))
    outcome.unlink(missing_ok=True)
    environment = {
        "HWQ_SIM_ARRAY": name,
        "HWQ_SIM_JOBS": str(jobs),
        "HWQ_SIM_OUTCOME": str(outcome),
        # the simulator's Python must not wait for threads that it does not use
        "OMP_NUM_THREADS": "1",
    }
    # the runner exits, or raises, when the bench fails; the outcome says why
    with tool_environment(), suppress(SystemExit, RuntimeError, OSError):
        get_runner(bank.simulator).test(
            hdl_toplevel=TOP,
            hdl_toplevel_lang="verilog",
            test_module="hwq.sim.tb_array",
            build_dir=bank.folder,
            test_dir=work,
            results_xml=str(work / "results.xml"),
            extra_env=environment,
            log_file=work / "run.log",
        )
    if not outcome.exists():
        raise BenchFailed(f"{name}: the simulator stopped early; see {work / 'run.log'}")
    found = json.loads(outcome.read_text())
    if found["failure"] is not None:
        raise BenchFailed(f"{name}: {found['failure']}")
    cycles = iter(found["cycles"])
    return [[next(cycles) for _ in entries] for entries in programs]
