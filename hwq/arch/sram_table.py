"""Energy, leakage and area of one SRAM bank: CACTI 7, interpolated.

`sram_sweep.csv` is a sweep of CACTI 7 (minimum dynamic energy): 1 KiB to 4 MiB, words of 32 to 256
bits, ITRS high-performance cells at 45 and 22 nm (350 K) and low-standby-power cells at 22 nm
(300 K). Between its points every figure is interpolated on logarithmic axes of size, width and
node. Beyond its nodes: low-standby-power cells follow the high-performance ones above 22 nm; below
22 nm access energy follows the published SRAM energies at 45 and 7 nm (by size), area follows the
general area factors, and leakage stays at its 22 nm value.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

from hwq.arch.energy_table import anchor_exponent
from hwq.arch.kinds import SramCell
from hwq.arch.node_scaling import interpolate_log, node_factor, read_table

_NODES_NM: Final = (22.0, 45.0)
_ANCHOR_KIB: Final = (8.0, 1024.0)
_FIELDS: Final = {
    "read_pj_per_bit": "read_pJ",
    "write_pj_per_bit": "write_pJ",
    "leakage_mw": "leak_mW",
    "area_mm2": "area_mm2",
}


@dataclass(frozen=True, slots=True)
class SramFigures:
    """One bank: energy per bit of a word read or written, leakage and area."""

    read_pj_per_bit: float
    write_pj_per_bit: float
    leakage_mw: float
    area_mm2: float


@cache
def sram_figures(size_kib: float, width_bits: int, node_nm: float, cell: SramCell) -> SramFigures:
    """Figures of one bank.

    Parameters
    ----------
    size_kib : float in 1..4096
    width_bits : int in 32..256
    node_nm : float in 7..45
    cell : {"hp", "lstp"}
    """
    values = {
        field: _at_node(column, size_kib, width_bits, node_nm, cell)
        for field, column in _FIELDS.items()
    }
    return SramFigures(
        values["read_pj_per_bit"] / width_bits,
        values["write_pj_per_bit"] / width_bits,
        values["leakage_mw"],
        values["area_mm2"],
    )


def _at_node(
    column: str, size_kib: float, width_bits: int, node_nm: float, cell: SramCell
) -> float:
    fine, coarse = (_at_size(column, size_kib, width_bits, node, "hp") for node in _NODES_NM)
    at_base_node = _at_size(column, size_kib, width_bits, _NODES_NM[0], cell)
    if node_nm >= _NODES_NM[0]:
        between = list(zip(_NODES_NM, (fine, coarse), strict=True))
        return at_base_node * interpolate_log(between, node_nm) / fine
    if column == "leak_mW":
        return at_base_node
    if column == "area_mm2":
        return at_base_node * node_factor("area", node_nm) / node_factor("area", _NODES_NM[0])
    exponents = [anchor_exponent(f"sram_{kib:.0f}_kib") for kib in _ANCHOR_KIB]
    exponent = interpolate_log(list(zip(_ANCHOR_KIB, exponents, strict=True)), size_kib)
    return float(at_base_node * (node_nm / _NODES_NM[0]) ** exponent)


def _at_size(column: str, size_kib: float, width_bits: int, node_nm: float, cell: str) -> float:
    grid = _sweep()[node_nm, cell, column]
    by_width = [(width, interpolate_log(points, size_kib)) for width, points in grid]
    return interpolate_log(by_width, width_bits)


Grid = tuple[tuple[float, tuple[tuple[float, float], ...]], ...]


@cache
def _sweep() -> dict[tuple[float, str, str], Grid]:
    """(node, cell, column) -> for each width, (size in KiB, value) in ascending order."""
    collected: dict[tuple[float, str, str], dict[float, list[tuple[float, float]]]] = {}
    for row in read_table("sram_sweep.csv"):
        node_nm = float(row["node_um"]) * 1000
        for column in _FIELDS.values():
            grid = collected.setdefault((node_nm, row["cell"].removeprefix("itrs-"), column), {})
            points = grid.setdefault(float(row["width_bits"]), [])
            points.append((int(row["size_bytes"]) / 1024, float(row[column])))
    return {
        key: tuple((width, tuple(sorted(points))) for width, points in sorted(grid.items()))
        for key, grid in collected.items()
    }
