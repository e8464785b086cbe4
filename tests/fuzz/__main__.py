"""Run many cases: `python -m tests.fuzz --cases 1000000`; the exit code is 1 after a fault."""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator

from tests.fuzz.families import FAMILIES, share_of
from tests.fuzz.harness import Tally
from tests.fuzz.process import run, start

_CHUNK = 500


def main() -> int:
    """Run the families side by side and print what became of their cases."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    add = parser.add_argument
    add("--cases", type=int, default=20_000, help="of all families together (%(default)s)")
    add("--seed", type=int, default=0, help="of the first case of each (%(default)s)")
    add("--family", choices=FAMILIES, action="append", help="only this one, all cases")
    add("--jobs", type=int, default=os.cpu_count(), help="processes (%(default)s)")
    given = parser.parse_args()
    chosen = given.family or list(FAMILIES)
    counts = {
        name: given.cases // len(chosen) if given.family else share_of(name, given.cases)
        for name in chosen
    }
    tallies = {name: Tally(name) for name in counts}
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        chunks = list(_chunks(counts, given.seed, folder))
        # spawned, so that torch and numba start anew; a job stays with a family while it can
        context = multiprocessing.get_context("spawn")
        with context.Pool(given.jobs, start) as pool:
            for tally in pool.imap_unordered(run, chunks, chunksize=1):
                tallies[tally.family].add(tally)
    print(f"{'family':14}{'cases':>10}{'accepted':>10}{'slowest':>10}{'memory':>12}{'faults':>8}")
    for tally in tallies.values():
        print(
            f"{tally.family:14}{tally.cases:10,}{tally.accepted:10,}{tally.slowest_s:8.2f} s"
            f"{tally.memory_mib:8,.0f} MiB{len(tally.faults):8,}"
        )
    print(f"{sum(t.cases for t in tallies.values()):,} cases in {time.monotonic() - begun:,.0f} s")
    faults = [fault for tally in tallies.values() for fault in tally.faults[:5]]
    print("\n\n".join(faults), file=sys.stderr)
    return int(bool(faults))


def _chunks(counts: dict[str, int], seed: int, folder: str) -> Iterator[tuple[str, range, str]]:
    for name, count in counts.items():
        for first in range(seed, seed + count, _CHUNK):
            yield name, range(first, min(first + _CHUNK, seed + count)), folder


if __name__ == "__main__":
    sys.exit(main())
