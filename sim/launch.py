"""A bench of `hwq.sim` run in a simulator: jobs in, outcomes out, both as JSON."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hwq.sim.bank import TOP, Bank
from hwq.sim.tools import tool_environment


def launch(
    bank: Bank,
    bench: str,
    jobs: Sequence[Any],
    work: Path,
    seed: int = 0,
    waves: Path | None = None,
) -> list[Any]:
    """Return what a bench wrote of its jobs; of fewer than all, or none, if the simulator stopped.

    Parameters
    ----------
    bank : Bank
        The simulator program.
    bench : str
        Module of `hwq.sim` with the cocotb test. It finds its jobs in the file $HWQ_SIM_JOBS,
        writes its outcomes to $HWQ_SIM_OUTCOMES, and has the seed in $HWQ_SIM_SEED.
    jobs : sequence
        What JSON can hold.
    work : Path
        Folder for the run's files; "run.log" is what the simulator printed.
    seed : int
        Seed of whatever is random.
    waves : Path, optional
        File for the waves, if the bank can write them.
    """
    from cocotb_tools.runner import get_runner

    file, outcomes = work / "jobs.json", work / "outcomes.json"
    file.write_text(json.dumps(jobs))
    outcomes.unlink(missing_ok=True)
    environment = {
        "HWQ_SIM_JOBS": str(file),
        "HWQ_SIM_OUTCOMES": str(outcomes),
        "HWQ_SIM_SEED": str(seed),
        # the simulator's Python must not wait for threads that it does not use
        "OMP_NUM_THREADS": "1",
    }
    verilator = bank.simulator == "verilator"
    options = [] if waves is None or not verilator else ["--trace-file", str(waves)]
    plus = [] if waves is None or verilator else [f"+dumpfile_path={waves}"]
    # the runner exits, or raises, when a bench fails; the file of outcomes says why
    with tool_environment(), suppress(SystemExit, RuntimeError, OSError):
        get_runner(bank.simulator).test(
            hdl_toplevel=TOP,
            hdl_toplevel_lang="verilog",
            test_module=f"hwq.sim.{bench}",
            build_dir=bank.folder,
            test_dir=work,
            results_xml=str(work / "results.xml"),
            extra_env=environment,
            test_args=options,
            plusargs=plus,
            waves=waves is not None,
            seed=seed,
            log_file=work / "run.log",
        )
    results: list[Any] = json.loads(outcomes.read_text()) if outcomes.exists() else []
    return results
