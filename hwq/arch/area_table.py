"""Area and leakage of an accelerator's blocks, from `area_table.csv` and the SRAM table."""

from dataclasses import dataclass
from functools import cache
from typing import Final

from hwq.arch.accelerator import Accelerator, Array, SramBuffer
from hwq.arch.energy_table import EnergyTable
from hwq.arch.node_scaling import node_factor, read_table
from hwq.arch.pe_ratio import pe_ratio
from hwq.arch.sram_table import sram_figures
from hwq.numerics.pe import PeKind

_SHIFT_CODE_BITS: Final = 4  # widest logarithmic code
_LANE: Final = (("int_multiply", 32, 16), ("int_add", 32, 32), ("shift", 32, 32))
_LANE_REGISTER_BITS: Final = 4 * 32  # two operands, a product, a result


@dataclass(frozen=True, slots=True)
class BlockFigures:
    """Area and leakage of one block."""

    area_um2: float
    leakage_mw: float


def accelerator_figures(accelerator: Accelerator) -> BlockFigures:
    """Array, vector unit and buffers together; controllers and wiring are not counted."""
    array, vector_unit = accelerator.array, accelerator.vector_unit
    table = EnergyTable(accelerator.technology_nm, accelerator.energy_scaling)
    blocks = [
        _times(array.rows * array.columns, pe_figures(array, table)),
        _times(vector_unit.pipes * vector_unit.lanes, lane_figures(table)),
    ]
    sram = accelerator.sram
    blocks += [
        buffer_figures(buffer, table.node_nm)
        for buffer in (sram.activation, sram.weight, sram.parameter, sram.output)
    ]
    return BlockFigures(
        sum(block.area_um2 for block in blocks), sum(block.leakage_mw for block in blocks)
    )


def buffer_figures(buffer: SramBuffer, node_nm: float) -> BlockFigures:
    """All banks of one buffer."""
    bank = sram_figures(buffer.bank_kib, buffer.width_bits, node_nm, buffer.cell)
    return _times(buffer.banks, BlockFigures(bank.area_mm2 * 1e6, bank.leakage_mw))


def pe_figures(array: Array, table: EnergyTable) -> BlockFigures:
    """One processing element with all its kinds.

    The kinds share operand registers and the accumulator (the fit's base and width terms). What a
    kind adds is the rest of its area. Of kinds of one family, which share a multiplier or a
    shifter, the largest counts.
    """
    shared_bits = (array.activation_bits, array.weight_bits)
    area, leakage = _shared_pe(*shared_bits)
    for family in {kind.family: None for kind in array.pe_kinds}:
        parts = [_own_part(k, *shared_bits) for k in array.pe_kinds if k.family == family]
        area += max(part[0] for part in parts)
        leakage += max(part[1] for part in parts)
    return _at_node(area, leakage, table)


def lane_figures(table: EnergyTable) -> BlockFigures:
    """One lane of the vector unit: a 32 x 16 multiplier, an adder, a shifter, four registers."""
    parts = [_block(block, a_bits, b_bits) for block, a_bits, b_bits in _LANE]
    parts.append(_block("register", _LANE_REGISTER_BITS, 1))
    return _at_node(sum(part[0] for part in parts), sum(part[1] for part in parts), table)


def _own_part(kind: PeKind, a_bits: int, b_bits: int) -> tuple[float, float]:
    """Area and leakage of a kind's datapath without the shared part."""
    a_bits = a_bits if kind.multiplies else min(a_bits, _SHIFT_CODE_BITS)
    ratio = pe_ratio(kind, a_bits, b_bits, "area")
    shared = _shared_pe(a_bits, b_bits)
    product = _block("pe_product", a_bits, b_bits)
    area, leakage = (
        max(0.0, ratio * (common + extra) - common)
        for common, extra in zip(shared, product, strict=True)
    )
    return area, leakage


def _shared_pe(a_bits: int, b_bits: int) -> tuple[float, float]:
    base, width = _block("pe_base", 1, 1), _block("pe_width", 1, 1)
    mean = (a_bits + b_bits) / 2
    return base[0] + width[0] * mean, base[1] + width[1] * mean


@cache
def _block(block: str, a_bits: int, b_bits: int) -> tuple[float, float]:
    """Area in um2 and leakage in uW of a block, both brought to 45 nm."""
    (row,) = (row for row in read_table("area_table.csv") if row["block"] == block)
    bits, node_nm = int(row["bits"]), float(row["node_nm"])
    factor = {"constant": 1.0, "linear": a_bits / bits, "product": a_bits * b_bits / bits**2}
    area = float(row["area_um2"]) * factor[row["law"]] / node_factor("area", node_nm)
    return area, float(row["leakage_uw"]) * factor[row["law"]]


def _at_node(area_um2: float, leakage_uw: float, table: EnergyTable) -> BlockFigures:
    """From 45 nm to the table's node; logic leakage follows the adder's energy."""
    leakage = leakage_uw * table.action_pj("int_add") / EnergyTable(45).action_pj("int_add")
    return BlockFigures(area_um2 * node_factor("area", table.node_nm), leakage / 1000)


def _times(count: int, block: BlockFigures) -> BlockFigures:
    return BlockFigures(count * block.area_um2, count * block.leakage_mw)
