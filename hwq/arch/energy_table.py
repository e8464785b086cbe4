"""Energy per action, from `energy_table.csv`, where every row has its source and confidence."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from hwq.arch.kinds import DramKind
from hwq.arch.node_scaling import EnergyScaling, interpolate_log, node_factor, read_table
from hwq.arch.pe_ratio import pe_ratio
from hwq.errors import require
from hwq.numerics.pe import PeKind

_ADDER_EXPONENT: Final = 0.87  # Horowitz: 8, 16 and 32 bits cost 0.03, 0.05 and 0.1 pJ
_LAWS: Final[Mapping[str, Callable[[int, int, int], float]]] = {
    "constant": lambda a, b, row: 1.0,
    "linear": lambda a, b, row: a / row,
    "adder": lambda a, b, row: float((a / row) ** _ADDER_EXPONENT),
    "product": lambda a, b, row: a * b / row**2,
}
"""Widths of the operands, and of the row -> what the row's energy is multiplied by."""


@dataclass(frozen=True, slots=True)
class EnergyRow:
    """One measured action.

    Parameters
    ----------
    action : str
        What happens.
    node_nm : float or None
        Technology; None where energy does not follow the node (DRAM).
    bits : int
        Operand width of the measurement.
    law : {"constant", "linear", "adder", "product"}
        How energy follows the operand widths a and b from there: not at all, ~ a, ~ a**0.87, ~ a b.
    pj : float
        Energy of one action.
    scales_like : str
        The action whose two nodes give the scaling of one that is known at a single node.
    source, confidence : str
        Where the number comes from, and how far to trust it.
    """

    action: str
    node_nm: float | None
    bits: int
    law: str
    pj: float
    scales_like: str
    source: str
    confidence: str


@cache
def energy_rows() -> tuple[EnergyRow, ...]:
    """Every row of the table; a table that could price something wrongly raises `SpecError`."""
    rows = tuple(
        EnergyRow(
            row["action"],
            float(row["node_nm"]) if row["node_nm"] else None,
            int(row["bits"]),
            row["law"],
            float(row["pj"]),
            row["scales_like"],
            row["source"],
            row["confidence"],
        )
        for row in read_table("energy_table.csv")
    )
    check_rows(rows)
    return rows


def check_rows(rows: Sequence[EnergyRow]) -> None:
    """Raise `SpecError` unless every row is a price, and every action can follow the node."""
    nodes: dict[str, list[float]] = {}
    for row in rows:
        name = f"the energy table's row of {row.action!r}"
        require(row.law in _LAWS, f"{name}: law must be one of {', '.join(_LAWS)}, not {row.law!r}")
        require(row.bits >= 1, f"{name}: bits must be at least 1, not {row.bits}")
        require(
            row.pj > 0 and math.isfinite(row.pj),
            f"{name}: pj must be positive and finite, not {row.pj}",
        )
        nodes.setdefault(row.action, []).extend([] if row.node_nm is None else [row.node_nm])
    for row in rows:
        if row.node_nm is None:
            continue
        anchors = nodes.get(row.scales_like or row.action, [])
        require(
            len(set(anchors)) > 1,
            f"the energy table's row of {row.action!r} at {row.node_nm:g} nm needs a second node, "
            "of its own or of the action that it scales like",
        )


@dataclass(frozen=True, slots=True)
class EnergyTable:
    """Energy per action at one node; an action without a row raises `SpecError`.

    Parameters
    ----------
    node_nm : float
        Technology node.
    scaling : {"anchors", "stillmaker"}
        See `hwq.arch.node_scaling`.
    """

    node_nm: float
    scaling: EnergyScaling = "anchors"

    def action_pj(self, action: str, a_bits: int = 1, b_bits: int | None = None) -> float:
        """Energy of one `action` on operands of these widths; b_bits defaults to a_bits."""
        row = _rows_of(action)[-1]
        width = _LAWS[row.law](a_bits, a_bits if b_bits is None else b_bits, row.bits)
        return _action_at_node_pj(action, self.node_nm, self.scaling) * width

    def pe_pj(self, kind: PeKind, a_bits: int, b_bits: int) -> float:
        """Energy of one processing element for one cycle of work.

        Bit Fusion's fit for a multiply PE, base + width (a + b) / 2 + product a b, times the ratio
        of the kind.
        """
        multiply = (
            self.action_pj("pe_base")
            + self.action_pj("pe_width") * (a_bits + b_bits) / 2
            + self.action_pj("pe_product", a_bits, b_bits)
        )
        return multiply * pe_ratio(kind, a_bits, b_bits, "energy")

    def dram_pj_per_bit(self, kind: DramKind) -> float:
        """Energy of one bit to or from DRAM."""
        return self.action_pj(f"dram_{kind}")


@cache
def anchor_exponent(action: str) -> float:
    """Slope of log energy over log node between the 7 and the 45 nm row of `action`."""
    low, high = (
        _action_at_node_pj(action, 7.0, "anchors"),
        _action_at_node_pj(action, 45.0, "anchors"),
    )
    return math.log(high / low) / math.log(45.0 / 7.0)


@cache
def _rows_of(action: str) -> tuple[EnergyRow, ...]:
    """Rows of an action by node; what has none is refused, not free."""
    rows = [row for row in energy_rows() if row.action == action]
    require(bool(rows), f"the energy table has no row of action {action!r}")
    return tuple(sorted(rows, key=lambda row: row.node_nm or 0.0))


@cache
def _action_at_node_pj(action: str, node_nm: float, scaling: str) -> float:
    """Energy at the row's own width."""
    rows = _rows_of(action)
    reference = rows[-1]
    if reference.node_nm is None:
        return reference.pj
    if scaling == "stillmaker":
        ratio = node_factor("stillmaker", node_nm) / node_factor("stillmaker", reference.node_nm)
        return reference.pj * ratio
    if reference.scales_like:
        like = reference.scales_like
        here = _action_at_node_pj(like, node_nm, scaling)
        return reference.pj * here / _action_at_node_pj(like, reference.node_nm, scaling)
    return interpolate_log([(row.node_nm or 0.0, row.pj) for row in rows], node_nm)
