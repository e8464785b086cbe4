"""The result as trace events for Perfetto and Chrome: which resource works on what, and when."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hwq.cost.result import LayerCost, SimulationResult
from hwq.files import write_text

TRACKS: Final = ("array", "vector unit", "DRAM stalls")
"""Names of the tracks; the thread id of a track is its position, counted from 1."""

_ARRAY, _VECTOR, _STALLS = range(1, 4)
_PROCESS: Final = 1
_DECIMALS: Final = 3  # of a microsecond: viewers count nanoseconds


def to_trace(result: SimulationResult) -> str:
    """Return the result as JSON text in the trace-event format.

    Notes
    -----
    One event per layer, in execution order, on the track of its resource. Time is exposed time: it
    starts at 0 with the image and ends at `totals.cycles`.

    * A matmul starts where the layer before it ends and lasts its exposed cycles, stalls included.
    * Vector work that is not hidden does the same, on its own track.
    * Vector work of which cycles are hidden lasts the cycles for which the unit works. The first
      behind a matmul starts with it, the next where the one before ends. What of it outlasts the
      array is exposed tile by tile, and drawn behind the matmul in one piece: there is a gap on
      this track where the last of it is hidden.
    * A layer's stalls are one event at the end of its time. How many there are is known, not where
      between its tiles each of them lies.

    `ts` and `dur` are microseconds, rounded to nanoseconds. `args` has the fields of the layer that
    apply, and the exact cycles between which the event lies (`start_cycle`, `end_cycle`).
    """
    content = result.to_dict()
    trace = {
        "displayTimeUnit": "ns",
        "otherData": content["run"] | content["totals"],
        "traceEvents": [*_names(result), *_events(result, content["layers"])],
    }
    return json.dumps(trace, indent=1, allow_nan=False) + "\n"


def write_trace(result: SimulationResult, path: str | Path) -> None:
    """Write the trace to `path`, whole or not at all.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    write_text(path, to_trace(result))


def _names(result: SimulationResult) -> Iterator[dict[str, Any]]:
    """Metadata: the names of the process and of its tracks, and the order of the tracks."""
    process = f"{result.run.model} on {result.run.accelerator}"
    yield _metadata("process_name", 0, {"name": process})
    for thread, name in enumerate(TRACKS, start=1):
        yield _metadata("thread_name", thread, {"name": name})
        yield _metadata("thread_sort_index", thread, {"sort_index": thread})


def _metadata(name: str, thread: int, args: dict[str, Any]) -> dict[str, Any]:
    return {"ph": "M", "pid": _PROCESS, "tid": thread, "name": name, "args": args}


def _events(result: SimulationResult, fields: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    period_us = 1000 * result.totals.latency_ms / result.totals.cycles
    now = 0  # where the exposed time of the next layer starts
    fused_from = 0  # where the vector unit is free for what is fused to the last matmul
    for layer, args in zip(result.layers, fields, strict=True):
        end = now + layer.cycles
        if layer.op == "matmul":
            fused_from = now
            yield _event(layer.name, _ARRAY, now, end, period_us, args)
        elif layer.compute_cycles > layer.cycles:
            start, fused_from = fused_from, fused_from + layer.compute_cycles
            hidden = {"hidden_cycles": layer.compute_cycles - layer.cycles}
            yield _event(layer.name, _VECTOR, start, fused_from, period_us, args | hidden)
        else:
            yield _event(layer.name, _VECTOR, now, end, period_us, args)
        if layer.stall_cycles:
            yield _stall(layer, end, period_us)
        now = end


def _stall(layer: LayerCost, end: int, period_us: float) -> dict[str, Any]:
    args = {
        "stall_cycles": layer.stall_cycles,
        "dram_read_bytes": layer.dram_read_bytes,
        "dram_write_bytes": layer.dram_write_bytes,
    }
    return _event(layer.name, _STALLS, end - layer.stall_cycles, end, period_us, args)


def _event(
    name: str, thread: int, start: int, end: int, period_us: float, args: dict[str, Any]
) -> dict[str, Any]:
    """Return a complete event from cycle `start` up to, not including, cycle `end`."""
    ts = round(start * period_us, _DECIMALS)
    return {
        "ph": "X",
        "pid": _PROCESS,
        "tid": thread,
        "name": name,
        "cat": TRACKS[thread - 1],
        "ts": ts,
        "dur": round(round(end * period_us, _DECIMALS) - ts, _DECIMALS),
        "args": {
            "start_cycle": start,
            "end_cycle": end,
            **{key: value for key, value in args.items() if value is not None},
        },
    }
