"""What an accelerator is: frozen, validated, every quantity with its unit in its name.

Every field has a bound that no chip reaches, so that nothing computed from it can overflow.
"""

from fractions import Fraction
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hwq.arch.kinds import (
    DataflowChoice,
    DramKind,
    SramCell,
    Timing,
)
from hwq.arch.node_scaling import NODE_MAX_NM, NODE_MIN_NM, EnergyScaling
from hwq.numerics.pe import PE_KINDS, PeKind


def _pe_name(name: str) -> str:
    if name not in PE_KINDS:
        raise ValueError(f"must be one of {', '.join(PE_KINDS)}, not {name!r}")
    return name


def _unit_stem(name: str) -> str:
    # its kernels take a while to import, and few files name a unit
    from hwq.numerics.units import UNITS

    known = [stem for stem, unit in UNITS.items() if unit.ops]
    if name not in known:
        raise ValueError(f"must be one of {', '.join(known)}, not {name!r}")
    return name


Count = Annotated[int, Field(ge=1, le=1 << 16)]
OperandBits = Annotated[int, Field(ge=1, le=32)]
PeName = Annotated[str, AfterValidator(_pe_name)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Array(_Part):
    """The systolic array.

    Parameters
    ----------
    rows, columns : int in 1..65536
        Processing elements along each edge.
    dataflow : str
        What stays in the array, or "auto": the one with fewest cycles for each layer.
    pe : tuple of str
        Kinds of product that a processing element can form.
    activation_bits, weight_bits : int in 1..32
        Widest codes at the ports of the first and of the second operand.
    acc_bits : int in 8..64
        Width of an accumulator.
    """

    rows: Count
    columns: Count
    dataflow: DataflowChoice = "auto"
    pe: Annotated[tuple[PeName, ...], Field(min_length=1, strict=False)] = tuple(PE_KINDS)
    activation_bits: OperandBits = 8
    weight_bits: OperandBits = 8
    acc_bits: Annotated[int, Field(ge=8, le=64)] = 32

    @property
    def acc_planes(self) -> int:
        """Accumulators per processing element."""
        return max(kind.planes for kind in self.pe_kinds)

    @property
    def pe_kinds(self) -> tuple[PeKind, ...]:
        """The kinds of product, in the order of the file."""
        return tuple(PE_KINDS[name] for name in self.pe)


class UnitSettings(_Part):
    """What an architect's own unit does otherwise than the gateware of this project.

    Parameters
    ----------
    unit : str
        Stem of the unit, in `hwq.numerics.units`.
    lanes : int in 1..65536, optional
        Elements per cycle and pass; by default those of the vector unit.
    latency_cycles : int in 0..2**20, optional
        From an item's last input to its last result.
    interval_cycles : int in 1..2**20, optional
        Between two successive items; an item is a word of `lanes` elements, or a whole row.
    """

    unit: Annotated[str, AfterValidator(_unit_stem)]
    lanes: Count | None = None
    latency_cycles: Annotated[int, Field(ge=0, le=1 << 20)] | None = None
    interval_cycles: Annotated[int, Field(ge=1, le=1 << 20)] | None = None


class VectorUnit(_Part):
    """The unit for everything that is not a matrix product.

    Parameters
    ----------
    lanes : int in 1..65536
        Elements per cycle and pass.
    pipes : int in 1..65536
        Equal pipes of so many lanes, which share the rows of a layer.
    units : tuple of UnitSettings
        Units that differ from the gateware of this project.
    """

    lanes: Count
    pipes: Count = 1
    units: Annotated[tuple[UnitSettings, ...], Field(strict=False)] = ()

    def settings(self, stem: str) -> UnitSettings | None:
        """Return what is different about the unit of that stem; None if nothing is."""
        return next((settings for settings in self.units if settings.unit == stem), None)

    @model_validator(mode="after")
    def _units_are_given_once(self) -> Self:
        names = [unit.unit for unit in self.units]
        if len({*names}) < len(names):
            raise ValueError(f"units must name every unit once, not {', '.join(names)}")
        return self


class SramBuffer(_Part):
    """One on-chip buffer: equal banks, each with one read and one write per cycle.

    Parameters
    ----------
    size_kib : float
        Capacity of all banks together; 1..4096 a bank, as the CACTI table covers.
    width_bits : int in 32..256
        Word of one bank.
    banks : int in 1..65536
        Banks that work at the same time.
    cell : {"hp", "lstp"}
        ITRS high-performance or low-standby-power cells; their leakage differs ten-thousandfold.
    """

    size_kib: Annotated[float, Field(ge=1, le=1 << 28)]
    width_bits: Annotated[int, Field(ge=32, le=256)]
    banks: Count = 1
    cell: SramCell = "hp"

    @property
    def size_bits(self) -> int:
        """Capacity of all banks."""
        return int(self.size_kib * 8192)

    @property
    def bank_kib(self) -> float:
        """Capacity of one bank."""
        return self.size_kib / self.banks

    @property
    def bits_per_cycle(self) -> int:
        """What all banks deliver, and what they take, in one cycle."""
        return self.banks * self.width_bits

    @model_validator(mode="after")
    def _bank_is_in_the_table(self) -> Self:
        if not 1 <= self.bank_kib <= 4096:
            raise ValueError(f"size_kib / banks must be in 1..4096, not {self.bank_kib:g}")
        return self


class Sram(_Part):
    """The on-chip buffers.

    Parameters
    ----------
    activation, weight, output : SramBuffer
        Activations, and what else the vector unit reads or writes; second operands; accumulators.
    parameter : SramBuffer
        What channels have of their own: multipliers of an epilogue, gamma and beta.
    """

    activation: SramBuffer
    weight: SramBuffer
    output: SramBuffer
    parameter: SramBuffer = SramBuffer(size_kib=64, width_bits=128, cell="lstp")


class Dram(_Part):
    """The off-chip memory.

    Parameters
    ----------
    kind : str
        Selects the energy per bit.
    bandwidth_gib_s : float in 0.001..1,000,000
        Sustained, reads and writes together.
    latency_cycles : int in 0..2**20
        Before the first bits of what is moved in one go; by default it is hidden.
    """

    kind: DramKind
    bandwidth_gib_s: Annotated[float, Field(ge=1e-3, le=1e6)]
    latency_cycles: Annotated[int, Field(ge=0, le=1 << 20)] = 0


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of printable characters")
    return text


class Accelerator(_Part):
    """One machine, as one TOML file describes it.

    Parameters
    ----------
    name : str
        The preset's file name, at most 100 characters.
    description : str
        One line for people, at most 500 characters.
    clock_mhz : float in 0.001..100,000
        Clock of array, buffers and vector unit.
    technology_nm : float in 7..45
        Node for energy, leakage and area.
    timing : {"rtl", "stall_free", "scalesim"}
        Convention for the cycles of a matmul.
    energy_scaling : {"anchors", "stillmaker"}
        How energy follows the node; see `hwq.arch.node_scaling`.
    array : Array
    vector_unit : VectorUnit
    sram : Sram
    dram : Dram
    """

    name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_printable)]
    description: Annotated[str, Field(max_length=500), AfterValidator(_printable)] = ""
    clock_mhz: Annotated[float, Field(ge=1e-3, le=1e5)]
    technology_nm: Annotated[float, Field(ge=NODE_MIN_NM, le=NODE_MAX_NM)]
    timing: Timing = "rtl"
    energy_scaling: EnergyScaling = "anchors"
    array: Array
    vector_unit: VectorUnit
    sram: Sram
    dram: Dram

    @property
    def dram_bits_per_cycle(self) -> Fraction:
        """Exact: the decimal numbers of the file, not their binary neighbours."""
        bits_per_second = Fraction(str(self.dram.bandwidth_gib_s)) * 2**33
        return bits_per_second / (Fraction(str(self.clock_mhz)) * 10**6)

    @model_validator(mode="after")
    def _buffers_feed_the_array(self) -> Self:
        """Stall-free timing is only true of buffers that keep up with the array's edges."""
        array, sram = self.array, self.sram
        edge = max(array.rows, array.columns)
        needs = {
            "activation": edge * array.activation_bits,
            "weight": edge * array.weight_bits,
            "output": array.columns * array.acc_bits * array.acc_planes,
        }
        for name, bits in needs.items():
            buffer: SramBuffer = getattr(sram, name)
            if buffer.bits_per_cycle < bits:
                raise ValueError(
                    f"sram.{name} must deliver {bits} bits a cycle to the array (banks x "
                    f"width_bits), not {buffer.bits_per_cycle}"
                )
        return self
