"""Energy of a layer: operations and accesses times their table entries, leakage times time."""

import math
from dataclasses import dataclass
from functools import cache

from hwq.arch.accelerator import Accelerator, SramBuffer
from hwq.arch.area_table import accelerator_figures
from hwq.arch.energy_table import EnergyTable
from hwq.arch.sram_table import sram_figures
from hwq.cost.result import Energy
from hwq.cost.traffic import MemoryBits, Traffic
from hwq.numerics.pe import PeSpec
from hwq.numerics.unit import Action
from hwq.numerics.units import UNITS
from hwq.plan.plan import Pass


@dataclass(frozen=True, slots=True)
class _BufferPrices:
    """pJ per bit."""

    read: float
    write: float

    def pj(self, bits: MemoryBits) -> float:
        return self.read * bits.read + self.write * bits.write


class EnergyModel:
    """Prices of one accelerator.

    Parameters
    ----------
    accelerator : Accelerator
        Its node, cells and DRAM choose the rows of the tables.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        node_nm = accelerator.technology_nm
        self.table = EnergyTable(node_nm, accelerator.energy_scaling)
        sram = accelerator.sram
        self._activation = _buffer_prices(sram.activation, node_nm)
        self._weight = _buffer_prices(sram.weight, node_nm)
        self._parameter = _buffer_prices(sram.parameter, node_nm)
        self._output = _buffer_prices(sram.output, node_nm)
        self._dram_pj_per_bit = self.table.dram_pj_per_bit(accelerator.dram.kind)
        self._leakage_pj_per_cycle = (
            accelerator_figures(accelerator).leakage_mw * 1000 / accelerator.clock_mhz
        )

    def product_pj(self, pe: PeSpec, operations: int) -> float:
        """Energy of the processing elements."""
        return operations * self.table.pe_pj(pe.kind, pe.a_bits, pe.b_bits)

    def pass_pj(self, work: Pass) -> float:
        """Energy of a unit: its work for every element, and for every result."""
        unit = UNITS[work.unit]
        elements = work.rows * work.length * _work_pj(self.table, unit.work)
        return elements + work.results * _work_pj(self.table, unit.result_work)

    def total(self, mac: float, vector: float, traffic: Traffic, cycles: int) -> Energy:
        """Energy of a layer that moves `traffic` and is exposed for `cycles`."""
        sram = (
            self._activation.pj(traffic.activation)
            + self._weight.pj(traffic.weight)
            + self._parameter.pj(traffic.parameter)
            + self._output.pj(traffic.output)
        )
        dram = (traffic.dram.read + traffic.dram.write) * self._dram_pj_per_bit
        leakage = cycles * self._leakage_pj_per_cycle
        total = math.fsum((mac, sram, dram, vector, leakage))
        return Energy(mac, sram, dram, vector, leakage, total)


@cache
def _work_pj(table: EnergyTable, work: tuple[Action, ...]) -> float:
    return math.fsum(
        times * table.action_pj(action, a_bits, b_bits) for action, a_bits, b_bits, times in work
    )


def _buffer_prices(buffer: SramBuffer, node_nm: float) -> _BufferPrices:
    bank = sram_figures(buffer.bank_kib, buffer.width_bits, node_nm, buffer.cell)
    return _BufferPrices(bank.read_pj_per_bit, bank.write_pj_per_bit)
