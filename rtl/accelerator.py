# amaranth: UnusedElaboratable=no
"""A whole accelerator, made from its TOML: array, vector unit, buffers, DMA and sequencer."""

from enum import IntEnum

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hwq.arch.accelerator import Accelerator
from hwq.errors import require
from hwq.plan.layout import Grid
from hwq.plan.timing import TRANSFER_WORDS, WORK_WORDS
from hwq.rtl.buffer import Buffer, write_word
from hwq.rtl.dma import Dma, Target
from hwq.rtl.epilogue import SCALING
from hwq.rtl.join_lane import FACTOR
from hwq.rtl.outlier_entries import ELEMENTS
from hwq.rtl.outlier_joiner import OutlierJoiner
from hwq.rtl.parameter_memory import ParameterMemory
from hwq.rtl.product_engine import ProductEngine
from hwq.rtl.result_pipe import ResultPipe
from hwq.rtl.sequencer import Fetcher, Sequencer, fetch_port, work_layout
from hwq.rtl.vector_engine import VectorEngine

DRAM_ADDRESS_BITS = 28
"""Width of an address of beats."""
PROGRAM_ADDRESS_BITS = 24
"""Width of an address of words of commands."""
_OPERAND_BITS, _ACC_BITS = 8, 32
ELEMENT_BITS = 16
"""Bits of the widest element of the activation buffer."""
_UNITS = ("product", "results", "joiner", "vector")


class Unit(IntEnum):
    """What computes in a slot."""

    NONE = 0
    PRODUCT = 1
    """The array; its sums stay."""
    RESULTS = 2
    """The array, and what streams behind it."""
    VECTOR = 3


class AcceleratorGateware(wiring.Component):
    """Runs any program of commands (`hwq.rtl.records`) on memories behind its ports.

    Ports:

    * `start`, while `busy` is low; `slot` counts the slots that have begun;
    * `work`, `transfers`: memories of commands, read a word a cycle: `address`, and `word` in the
      next cycle;
    * `request`, `response`: the DRAM, as `hwq.rtl.dma.Dma` has them.

    Parameters
    ----------
    machine : Accelerator
        Its array is square, weight-stationary, and as wide as the vector unit.
    function : str
        Activation function.
    max_length : int
        Elements of the longest row.
    """

    def __init__(
        self, machine: Accelerator, function: str = "gelu", max_length: int = 1024
    ) -> None:
        check_machine(machine)
        self.machine, self.function, self.max_length = machine, function, max_length
        lanes, sram, grid = machine.vector_unit.lanes, machine.sram, Grid.of(machine)
        beat = grid.beat_bits
        self.activation = Buffer(
            sram.activation.size_bits // beat, beat, lanes, ELEMENT_BITS, reads=3, writes=2
        )
        self.weight = Buffer(sram.weight.size_bits // beat, beat, lanes, _OPERAND_BITS, 2, 1)
        word_bits = lanes * grid.parameter_bits
        words = sram.parameter.size_bits // word_bits
        self.parameters = ParameterMemory(words, word_bits // beat, beat, lanes)
        sums = sram.output.size_bits // (machine.array.columns * _ACC_BITS)
        self.product = ProductEngine(lanes, self.activation, self.weight, sums)
        self.joiner = OutlierJoiner(self.activation, self.weight, ceil_log2(sums))
        self.results = ResultPipe(self.activation, function, words)
        self.vector = VectorEngine(self.activation, max_length, self.parameters)
        widest = max(self.weight.address_bits, self.parameters.address_bits)
        self.dma = Dma(self.activation, DRAM_ADDRESS_BITS, widest)
        commands = {name: getattr(self, name).command_shape for name in _UNITS}
        self.work_layout = work_layout({"unit": Unit, "moves": 1, "ends": 1}, commands, "vector")
        self.transfer_layout = data.StructLayout({"last": 1, "dma": self.dma.command_shape})
        dma = self.dma.signature.members
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "slot": Out(32),
                "work": Out(fetch_port(PROGRAM_ADDRESS_BITS)),
                "transfers": Out(fetch_port(PROGRAM_ADDRESS_BITS)),
                "request": dma["request"],
                "response": dma["response"],
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return all parts and what connects them."""
        m = Module()
        for name in ("activation", "weight", "parameters", *_UNITS, "dma"):
            m.submodules[name] = getattr(self, name)
        uses_vector = self._sequence(m)
        self._connect_buffers(m, uses_vector)
        self._connect_parameters(m, uses_vector)
        product, results = self.product, self.results
        m.d.comb += [
            results.sums.valid.eq(product.o.valid),
            Value.cast(results.sums.sums).eq(Value.cast(product.o.sums)),
        ]
        wiring.connect(m, self.joiner.side, product.side)
        wiring.connect(m, self.dma.request, wiring.flipped(self.request))
        wiring.connect(m, self.dma.response, wiring.flipped(self.response))
        return m

    def _sequence(self, m: Module) -> Value:
        """Fetch commands and hand them out; return whether the vector unit works."""
        m.submodules.sequencer = sequencer = Sequencer()
        begins = Signal()
        m.d.comb += [
            begins.eq(self.start & ~self.busy),
            sequencer.start.eq(begins),
            self.busy.eq(sequencer.busy),
            self.slot.eq(sequencer.slot),
        ]
        fetchers = {}
        for name, layout, words in (
            ("work", self.work_layout, WORK_WORDS),
            ("transfers", self.transfer_layout, TRANSFER_WORDS),
        ):
            fetcher = fetchers[name] = Fetcher(layout, words, PROGRAM_ADDRESS_BITS)
            m.submodules[f"fetch_{name}"] = fetcher
            wiring.connect(m, fetcher.fetch, wiring.flipped(getattr(self, name)))
            m.d.comb += fetcher.start.eq(begins)
        work, transfer = fetchers["work"].record, fetchers["transfers"].record
        for fetcher, side in zip(
            fetchers.values(), (sequencer.work, sequencer.transfer), strict=True
        ):
            m.d.comb += [side.ready.eq(fetcher.ready), fetcher.take.eq(side.take)]
        has_results = work.unit == Unit.RESULTS
        starts = {
            "product": (work.unit == Unit.PRODUCT) | has_results,
            "results": has_results,
            "joiner": has_results & work.product.joined,
            "vector": work.unit == Unit.VECTOR,
        }
        for name, starts_here in starts.items():
            unit = getattr(self, name)
            m.d.comb += [
                Value.cast(unit.command).eq(Value.cast(work[name])),
                unit.start.eq(sequencer.begins & starts_here),
            ]
        m.d.comb += [
            sequencer.work.moves.eq(work.moves),
            sequencer.work.ends.eq(work.ends),
            sequencer.transfer.last.eq(transfer.last),
            Value.cast(self.dma.command).eq(Value.cast(transfer.dma)),
            self.dma.start.eq(sequencer.moves),
            sequencer.moving.eq(self.dma.busy),
            sequencer.idle.eq(~Cat(getattr(self, name).busy for name in _UNITS).any()),
        ]
        uses_vector = Signal()
        with m.If(sequencer.begins):
            m.d.sync += uses_vector.eq(work.unit == Unit.VECTOR)
        return uses_vector

    def _connect_buffers(self, m: Module, uses_vector: Value) -> None:
        """Array and vector unit share ports, as only one of them works; the DMA has its own."""
        product, results, vector, dma = self.product, self.results, self.vector, self.dma
        first, second, stored = self.activation.read
        computed = product.computed_read
        _share(m, first, uses_vector, vector.x_read, product.a_read)
        # a product reads a computed b, or a list of outliers, or a residual here
        beside = product.computed_read.signature.create()
        listed = self.joiner.list_read
        for name in ("address", "bits", "signed", "enable"):
            b, entries, y = (getattr(user, name) for user in (computed, listed, results.y_read))
            chosen = Mux(computed.enable, b, Mux(listed.enable, entries, y))
            m.d.comb += getattr(beside, name).eq(chosen)
        for user in (computed, listed, results.y_read):
            m.d.comb += [
                Value.cast(user.elements).eq(Value.cast(beside.elements)),
                user.valid.eq(beside.valid),
            ]
        _share(m, second, uses_vector, vector.y_read, beside)
        wiring.connect(m, dma.read, stored)
        work, loaded = self.activation.write
        for name in ("address", "bits", "enable", "elements", "keep"):
            one, other = (Value.cast(getattr(u.write, name)) for u in (vector, results))
            m.d.comb += Value.cast(getattr(work, name)).eq(Mux(uses_vector, one, other))
        wiring.connect(m, product.b_read, self.weight.read[0])
        wiring.connect(m, self.joiner.b_read, self.weight.read[1])
        write = dma.write
        for target, port in ((Target.ACTIVATION, loaded), (Target.WEIGHT, self.weight.write[0])):
            enable = write.enable & (write.target == target)
            write_word(m, port, write.address, write.word, enable)
        m.d.comb += [
            self.parameters.write.address.eq(write.address),
            self.parameters.write.word.eq(write.word),
            self.parameters.write.enable.eq(write.enable & (write.target == Target.PARAMETER)),
        ]

    def _connect_parameters(self, m: Module, uses_vector: Value) -> None:
        """A channel's parameters are in the low bits of its room."""
        results, (vector, beside) = self.results.parameters, self.vector.tables
        read = self.parameters.read[0]
        m.d.comb += [
            read.address.eq(Mux(uses_vector, vector.address, results.address)),
            read.enable.eq(Mux(uses_vector, vector.enable, 1)),
            vector.data.eq(read.data),
        ]
        # another port is the vector unit's, or that of the factors of rows
        factors, port = self.results.factors, self.parameters.read[1]
        m.d.comb += [
            port.address.eq(Mux(uses_vector, beside.address, factors.address)),
            port.enable.eq(Mux(uses_vector, beside.enable, 1)),
            beside.data.eq(port.data),
        ]
        wiring.connect(m, self.vector.store, self.parameters.store)
        for lane in range(self.machine.vector_unit.lanes):
            bits = Value.cast(read.data[lane])[: SCALING.size]
            m.d.comb += [
                Value.cast(results.data[lane]).eq(bits),
                factors.data[lane].eq(Value.cast(port.data[lane])[: FACTOR.width]),
            ]


def _share(
    m: Module,
    port: wiring.FlippedInterface,
    choice: Value,
    one: wiring.PureInterface,
    other: wiring.PureInterface,
) -> None:
    """Let two that never work together have one port: `one` while `choice` is high."""
    for name in ("address", "bits", "signed", "enable"):
        m.d.comb += getattr(port, name).eq(Mux(choice, getattr(one, name), getattr(other, name)))
    for user, works in ((one, choice), (other, ~choice)):
        m.d.comb += [
            Value.cast(user.elements).eq(Value.cast(port.elements)),
            user.valid.eq(port.valid & works),
        ]


def check_machine(machine: Accelerator) -> None:
    """Check that there is gateware of a machine.

    Raises
    ------
    SpecError
        For the first field that there is none for.
    """
    array, vector, sram = machine.array, machine.vector_unit, machine.sram
    require(
        vector.lanes % ELEMENTS == 0,
        f"vector_unit.lanes must be a multiple of {ELEMENTS} for gateware, not {vector.lanes}",
    )
    for name, given, wanted in (
        ("timing", machine.timing, "rtl"),
        ("array.columns", array.columns, array.rows),
        ("vector_unit.lanes", vector.lanes, array.rows),
        ("vector_unit.pipes", vector.pipes, 1),
        ("vector_unit.units", vector.units, ()),
        ("array.dataflow", array.dataflow, "weight_stationary"),
        ("array.acc_bits", array.acc_bits, _ACC_BITS),
        ("sram.activation.width_bits", sram.activation.width_bits, Grid.of(machine).beat_bits),
    ):
        require(given == wanted, f"{name} must be {wanted} for gateware, not {given}")
    lanes = vector.lanes
    require(lanes % 4 == 0, f"vector_unit.lanes must be a multiple of 4 for gateware, not {lanes}")
    for name, bits in (
        ("array.activation_bits", array.activation_bits),
        ("array.weight_bits", array.weight_bits),
    ):
        require(bits <= _OPERAND_BITS, f"{name} must be at most 8 for gateware, not {bits}")
    rate, beat = machine.dram_bits_per_cycle, Grid.of(machine).beat_bits
    require(
        rate <= beat,
        f"dram.bandwidth_gib_s must be at most {beat} bits a cycle for gateware, not {float(rate)}",
    )
