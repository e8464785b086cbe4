"""Energy of a layer: operations and accesses times their table entries, leakage times time."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

from hwq.arch.accelerator import Accelerator, SramBuffer
from hwq.arch.area_table import accelerator_figures
from hwq.arch.energy_table import EnergyTable
from hwq.arch.sram_table import sram_figures
from hwq.compiler.program import Layer, MatmulLayer
from hwq.cost.result import Energy
from hwq.cost.traffic import BufferBits, Traffic

Action = tuple[str, int, int, int]
"""Name in the energy table, widths of both operands, number per element."""

_REQUANTIZE: Final[tuple[Action, ...]] = (
    ("int_multiply", 32, 16, 1),
    ("int_add", 32, 32, 1),
    ("shift", 32, 32, 1),
    ("compare", 32, 32, 2),  # saturate at both ends
)

VECTOR_WORK: Final[dict[str, tuple[Action, ...]]] = {
    "softmax": (
        ("compare", 16, 16, 1),  # maximum
        ("int_add", 16, 16, 1),  # distance from it
        ("int_multiply", 18, 14, 4),  # exp2, degree 4
        ("int_add", 18, 18, 4),
        ("shift", 32, 32, 2),
        ("int_add", 42, 42, 1),  # sum
        ("int_multiply", 18, 18, 1),  # times the reciprocal of the sum
        ("register", 16, 16, 2),  # the queues of scores and of powers
        ("register", 18, 18, 2),
    ),
    "layernorm": (
        ("int_add", 32, 32, 2),  # sum and sum of squares
        ("int_multiply", 16, 16, 1),  # square
        ("int_multiply", 16, 12, 1),  # times the length
        ("int_add", 28, 28, 1),  # minus the sum
        ("int_multiply", 28, 18, 1),  # times the reciprocal of the deviation
        ("int_multiply", 23, 16, 1),  # times gamma
        ("int_add", 40, 40, 1),  # plus beta
        ("shift", 40, 40, 2),
        ("register", 16, 16, 2),  # the queue of the token
    ),
    "activation": (
        ("int_multiply", 16, 9, 2),  # degree 2 on a segment
        ("int_add", 24, 24, 3),
        ("shift", 32, 32, 1),
    ),
    "requantize": _REQUANTIZE,
    "rescale": (
        ("int_multiply", 32, 16, 1),
        ("int_add", 32, 32, 1),
        ("shift", 32, 32, 1),
    ),
    "encode": _REQUANTIZE,  # a uniform encoder is a requantizer; log codes take less
    "add": (("int_add", 16, 16, 1), ("compare", 16, 16, 2)),
    "mul": (
        ("int_multiply", 16, 16, 1),
        ("int_add", 32, 32, 1),
        ("shift", 32, 32, 1),
        ("compare", 32, 32, 2),
    ),
    "mean": (("int_add", 46, 46, 1),),  # onto the sum
    "move": (("register", 16, 16, 1),),
    "outlier_split": (("compare", 16, 16, 2), ("register", 16, 16, 1)),
    "outlier_join": (("int_multiply", 16, 8, 1), ("int_add", 32, 32, 1)),
    "range_extract": (("compare", 16, 16, 2),),
    "scale_predictor": (
        ("int_multiply", 16, 16, 1),
        ("int_add", 32, 32, 1),
        ("shift", 32, 32, 1),
    ),
}
"""What each unit does for one element, after the algorithms in `hwq.numerics`."""

RESULT_WORK: Final[dict[str, tuple[Action, ...]]] = {"mean": _REQUANTIZE}
"""What a unit does besides for one result, where it makes one of many elements."""


@dataclass(frozen=True, slots=True)
class _BufferPrices:
    """pJ per bit."""

    read: float
    write: float

    def pj(self, bits: BufferBits) -> float:
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
        self._output = _buffer_prices(sram.output, node_nm)
        self._dram_pj_per_bit = self.table.dram_pj_per_bit(accelerator.dram.kind)
        self._leakage_pj_per_cycle = (
            accelerator_figures(accelerator).leakage_mw * 1000 / accelerator.clock_mhz
        )

    def layer_energy(self, layer: Layer, traffic: Traffic, cycles: int) -> Energy:
        """Energy of one layer that moves `traffic` and is exposed for `cycles`."""
        mac = vector = 0.0
        if isinstance(layer, MatmulLayer):
            operations = layer.count * layer.rows * layer.n * layer.k
            mac = operations * self.table.pe_pj(layer.pe.kind, layer.a.bits, layer.b.bits)
        else:
            vector = layer.elements * _work_pj(self.table, VECTOR_WORK[layer.op])
            vector += layer.out.elements * _work_pj(self.table, RESULT_WORK.get(layer.op, ()))
        sram = (
            self._activation.pj(traffic.activation)
            + self._weight.pj(traffic.weight)
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
