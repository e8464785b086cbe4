"""A whole accelerator's logic as tables for a page, beside the area that the cost model claims."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from hwq.arch.accelerator import Accelerator
from hwq.arch.area_table import lane_figures, pe_figures
from hwq.arch.energy_table import EnergyTable
from hwq.arch.pe_ratio import measured
from hwq.numerics.pe import MULTIPLY
from hwq.rtl.synthesis.markdown import Row, table
from hwq.rtl.synthesis.whole_table import TOTAL

GROUPS: Final = {
    "elements": r"StationaryPe",
    "rest of the array": r"product\.core.*",
    "transposer": r"product\.transposer",
    "decoders of codes": r"product\.decoder",
    "epilogues": r"EpilogueCore",
    "activation functions": r"ActivationCore.*",
    "encoders": r"Encoder",
    "result pipe, without those": r"results",
    "softmax": r"vector\.softmax.*",
    "layer norm": r"vector\.norm.*",
    "outliers": r"(vector\.split|joiner)(\..*)?|JoinLane",
    "scales of an image": r"vector\.(ranges|predictor|rescale)(\..*)?|Rescale",
    "vector engine, without those": r"vector",
    "ports of the buffers": r"(activation|weight|parameters)(\..*)?",
    "addresses": r".*_walk",
    "DMA": r"dma.*",
    "commands": r"fetch_.*|sequencer|product|accelerator",
}
"""Lines of a page: kinds of modules by their names; the first pattern that fits counts."""
_VECTOR: Final = (
    *("epilogues", "activation functions", "encoders", "result pipe, without those"),
    *("softmax", "layer norm", "outliers", "scales of an image", "vector engine, without those"),
)
_BLOCKS: Final = {
    "elements of the array": ("elements",),
    "vector unit": _VECTOR,
    "what the model does not count": tuple(
        group for group in GROUPS if group not in ("elements", *_VECTOR)
    ),
}


def group(part: str) -> str:
    """Return the line that a kind of module belongs to."""
    # addresses come with what they are for, so they are looked for first
    order = sorted(GROUPS, key=lambda name: name != "addresses")
    return next(name for name in order if re.fullmatch(GROUPS[name], part))


def whole_tables(rows: Sequence[Row], machine: Accelerator) -> dict[str, str]:
    """Return the tables `parts` and `parts_model`, from rows of `hwq synth --accelerator`."""
    areas = {name: _sum(rows, name, "osu018", "area_um2") / 1e6 for name in (*GROUPS, TOTAL)}
    return {"parts": _parts(rows, areas), "parts_model": _model(areas, machine)}


def _parts(rows: Sequence[Row], areas: Mapping[str, float]) -> str:
    lines = [
        (
            name,
            *(f"{_sum(rows, name, 'ecp5', c):,.0f}" for c in ("lut", "carry", "flip_flops", "dsp")),
            f"{area:.2f}",
            f"{area / areas[TOTAL]:.1%}",
            f"{_sum(rows, name, 'osu018', 'memory_bits') / 8192:,.1f}",
            _slowest(_of(rows, name, "ecp5"), "fmax_mhz", min),
            _slowest(_of(rows, name, "osu018"), "path_ns", max),
        )
        for name, area in areas.items()
    ]
    titles = ("part", "LUT", "carry", "FF", "DSP", "mm2", "share", "memory KiB", "MHz", "ns")
    return table(titles, lines)


def _of(rows: Sequence[Row], name: str, target: str) -> list[Row]:
    """Return the rows of a line; those of the sum are the sum's."""
    return [
        row
        for row in rows
        if row["target"] == target
        and (row["part"] == name if TOTAL in (name, row["part"]) else group(row["part"]) == name)
    ]


def _sum(rows: Sequence[Row], name: str, target: str, column: str) -> float:
    return sum(int(r["count"]) * float(r[column] or 0) for r in _of(rows, name, target))


def _slowest(rows: Sequence[Row], column: str, end: Callable[..., tuple[float, str]]) -> str:
    """Return the least clock or the most ns, and the kind of module it is of if not all are."""
    figures = [(float(row[column]), row["part"]) for row in rows if float(row[column] or 0)]
    if not figures:
        return ""
    figure, part = end(figures)
    return f"{figure:.1f}" if len(figures) == 1 else f"{figure:.1f}: `{part}`"


def _model(areas: Mapping[str, float], machine: Accelerator) -> str:
    """Square micrometres at the machine's node, beside cells in the same measure.

    The measure is an element `multiply` 8 x 8, which the model has from published synthesis and the
    cells from `synthesis.csv`: what one is to the other, all cells are.
    """
    energy = EnergyTable(machine.technology_nm, machine.energy_scaling)
    simple = machine.array.model_copy(update={"pe": (MULTIPLY.name,)})
    cells = measured(MULTIPLY, "area_um2")[8, 8]["default"]
    factor = pe_figures(simple, energy).area_um2 / cells
    array, unit = machine.array, machine.vector_unit
    claimed = {
        "elements of the array": array.rows * array.columns * pe_figures(array, energy).area_um2,
        "vector unit": unit.pipes * unit.lanes * lane_figures(energy).area_um2,
    }
    lines = []
    for block, groups in _BLOCKS.items():
        found = factor * 1e6 * sum(areas[name] for name in groups)
        given = claimed.get(block, 0.0)
        ratio = f"{found / given:.2f}" if given else ""
        lines.append((block, f"{given:,.0f}", f"{found:,.0f}", ratio))
    given, found = sum(claimed.values()), factor * 1e6 * areas[TOTAL]
    lines.append(("all logic", f"{given:,.0f}", f"{found:,.0f}", f"{found / given:.2f}"))
    return table(("block", "cost model, um2", "cells in its measure, um2", "ratio"), lines)
