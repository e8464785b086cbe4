# amaranth: UnusedElaboratable=no
"""A machine: an array, the vector units behind it, and a sequencer that runs a program of layers.

Cycles of a command: of a product, those of the array, one for the parameters of its epilogue, and
the latencies of what streams behind it; of a vector layer, one for reading the first word, and its
unit's busy cycles. Commands follow each other without a gap.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hwq.rtl.array import Array, write_port
from hwq.rtl.epilogue import SCALING
from hwq.rtl.lanes import Lanes
from hwq.rtl.machine_program import ELEMENT, MachineSpec, Route, Walk, command_layout
from hwq.rtl.pipeline import within


class Machine(wiring.Component):
    """Runs a program of products and vector layers on its own memories.

    Ports:

    * `a_write`, `b_write`: as the array's; `vector_write`, `parameter_write`, `command_write`:
      `address`, `data`, `enable`; all for use while `busy` is low;
    * `start`; `busy` until the last command is done; `cycles` unsigned(32), of the program so far;
    * `done` in the last cycle of a command, `command_cycles` unsigned(32) its cycles;
    * `sums`: what leaves the array: `valid`, `address`, `sums`; `written`: what a command stores:
      `valid`, `to_operand`, `address`, `data`. Both are for watching.

    Parameters
    ----------
    spec : MachineSpec
    """

    def __init__(self, spec: MachineSpec) -> None:
        self.spec = spec
        self.array = Array(spec.array)
        self.word = data.ArrayLayout(ELEMENT, spec.lanes)
        self.parameters = data.ArrayLayout(SCALING, spec.lanes)
        self.command_shape = command_layout(spec)
        members = self.array.signature.members
        written = {
            "valid": 1,
            "to_operand": 1,
            "address": self.command_shape["target"].shape["base"].shape,
            "data": self.word,
        }
        super().__init__(
            {
                "a_write": In(members["a_write"].signature.flip()),
                "b_write": In(members["b_write"].signature.flip()),
                "vector_write": In(write_port(self.word, spec.vector_depth)),
                "parameter_write": In(write_port(self.parameters, spec.parameter_depth)),
                "command_write": In(write_port(self.command_shape, spec.program_depth)),
                "start": In(1),
                "busy": Out(1),
                "cycles": Out(32),
                "done": Out(1),
                "command_cycles": Out(32),
                "sums": Out(members["o"].signature),
                "written": Out(wiring.Signature({name: Out(s) for name, s in written.items()})),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the sequencer, the sources, the units and the target."""
        m = Module()
        m.submodules.array = self.array
        command, incoming, load, begin = self._sequencer(m)
        from_array = Signal()
        m.d.comb += [
            from_array.eq(
                (command.route == Route.REQUANTIZE) | (command.route == Route.ACTIVATION)
            ),
            self.array.start.eq(begin & from_array),
            Value.cast(self.array.product).eq(Value.cast(command.program)),
        ]
        wiring.connect(m, wiring.flipped(self.b_write), self.array.b_write)
        m.d.comb += [
            self.sums.valid.eq(self.array.o.valid),
            self.sums.address.eq(self.array.o.address),
            Value.cast(self.sums.sums).eq(Value.cast(self.array.o.sums)),
        ]
        sums, word = self._sources(m, incoming, load, from_array)
        chains = self._units(m, command, sums, word)
        self._target(m, command, incoming, load, chains)
        return m

    def _sequencer(self, m: Module) -> tuple[data.View, data.View, Signal, Signal]:
        """Return the command, the one that comes next, when it is taken, and its first cycle."""
        spec = self.spec
        read = _memory(m, "commands", self.command_write, spec.program_depth)
        command = Signal(self.command_shape)
        fetch, load, begin, running = Signal(), Signal(), Signal(), Signal()
        number = Signal(ceil_log2(spec.program_depth))
        m.d.comb += [
            read.addr.eq(number),
            load.eq(fetch | (self.done & ~command.last)),
            self.busy.eq(fetch | running),
        ]
        m.d.sync += [fetch.eq(self.start & ~self.busy), begin.eq(load)]
        with m.If(load):
            # the next one is read while this one runs, which takes more than a cycle
            m.d.sync += [command.eq(read.data), number.eq(number + 1), running.eq(1)]
            m.d.sync += self.command_cycles.eq(1)
        with m.Else():
            m.d.sync += self.command_cycles.eq(self.command_cycles + 1)
            with m.If(self.done):
                m.d.sync += [running.eq(0), number.eq(0)]
        with m.If(self.start & ~self.busy):
            m.d.sync += self.cycles.eq(0)
        with m.Elif(running):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        return command, read.data, load, begin

    def _sources(
        self, m: Module, incoming: data.View, load: Value, from_array: Value
    ) -> tuple["_Stream", "_Stream"]:
        """Return the sums beside their parameters, and the words of the vector memory."""
        spec = self.spec
        m.submodules.source = source = Walk(self.command_shape["source"].shape["base"].shape)
        vector = self._vector_memory(m)
        parameter = _memory(m, "parameters", self.parameter_write, spec.parameter_depth)
        word, sums = _Stream("word", self.word), _Stream("sums", self.array.o.sums.shape())

        # words of the vector memory: a register that is refilled as it is emptied
        reading, issue = Signal(), Signal()
        m.d.comb += [
            issue.eq(reading & (~word.valid | word.ready)),
            vector.addr.eq(source.address),
            vector.en.eq(issue),
            Value.cast(word.payload).eq(Value.cast(vector.data)),
        ]
        with m.If(issue | word.ready):
            m.d.sync += word.valid.eq(issue)
        with m.If(load):
            m.d.sync += reading.eq(
                (incoming.route == Route.ENCODE) | (incoming.route == Route.ROWS)
            )
        with m.Elif(issue & source.last):
            m.d.sync += reading.eq(0)

        # sums wait a cycle for their parameters
        m.d.comb += [
            Value.cast(source.walk).eq(Value.cast(incoming.source)),
            source.load.eq(load),
            source.advance.eq(Mux(from_array, self.array.o.valid, issue)),
            parameter.addr.eq(source.address),
            Value.cast(sums.scaling).eq(Value.cast(parameter.data)),
        ]
        m.d.sync += [
            Value.cast(sums.payload).eq(Value.cast(self.array.o.sums)),
            sums.valid.eq(self.array.o.valid),
        ]
        return sums, word

    def _units(
        self, m: Module, command: data.View, sums: "_Stream", word: "_Stream"
    ) -> dict[Route, tuple[Value, list[Value]]]:
        """Return for every route when it gives a word, and the word."""
        spec = self.spec
        m.submodules.epilogue = epilogue = Lanes([spec.epilogue() for _ in range(spec.lanes)])
        m.submodules.activation = activation = Lanes([spec.activation() for _ in range(spec.lanes)])
        m.submodules.encoder = encoder = Lanes([spec.encoder() for _ in range(spec.lanes)])
        m.submodules.rows = rows = spec.rows
        to_activation, to_rows = command.route == Route.ACTIVATION, command.route == Route.ROWS
        encodes = Mux(
            to_activation, activation.o.valid, word.valid & (command.route == Route.ENCODE)
        )
        m.d.comb += [
            epilogue.i.valid.eq(sums.valid),
            activation.i.valid.eq(epilogue.o.valid & to_activation),
            encoder.i.valid.eq(encodes),
            rows.i.valid.eq(word.valid & to_rows),
            word.ready.eq(Mux(to_rows, rows.i.ready, encoder.i.ready)),
            *(unit.o.ready.eq(1) for unit in (epilogue, activation, encoder, rows)),
        ]
        lanes: dict[Route, list[Value]] = {route: [] for route in Route}
        for lane in range(spec.lanes):
            planes = [sums.payload[lane][p] for p in range(spec.array.pe.planes)]
            _take(m, epilogue.i.payload[lane], planes, sums.scaling[lane])
            held = Signal(ELEMENT, name=f"epilogued_{lane}")
            m.d.comb += [
                held.eq(within(epilogue.o.payload[lane], command.epilogue.lo, command.epilogue.hi)),
                activation.i.payload[lane].eq(held),
                rows.i.payload[lane].eq(word.payload[lane]),
            ]
            value = Mux(to_activation, activation.o.payload[lane], word.payload[lane])
            _take(m, encoder.i.payload[lane], [value], command.encoder.scaling)
            code = within(encoder.o.payload[lane], command.encoder.lo, command.encoder.hi)
            lanes[Route.REQUANTIZE].append(held)
            lanes[Route.ACTIVATION].append(code)
            lanes[Route.ENCODE].append(code)
            lanes[Route.ROWS].append(rows.o.payload[lane])
        valid = {
            Route.REQUANTIZE: epilogue.o.valid,
            Route.ACTIVATION: encoder.o.valid,
            Route.ENCODE: encoder.o.valid,
            Route.ROWS: rows.o.valid,
        }
        return {route: (valid[route], lanes[route]) for route in Route}

    def _target(
        self,
        m: Module,
        command: data.View,
        incoming: data.View,
        load: Value,
        chains: dict[Route, tuple[Value, list[Value]]],
    ) -> None:
        """Write words where they go; the last one ends the command."""
        written = self.written
        m.submodules.target = target = Walk(self.command_shape["target"].shape["base"].shape)
        with m.Switch(command.route):
            for route, (valid, lanes) in chains.items():
                with m.Case(route):
                    m.d.comb += written.valid.eq(valid & self.busy)
                    m.d.comb += [written.data[k].eq(lane) for k, lane in enumerate(lanes)]
        m.d.comb += [
            Value.cast(target.walk).eq(Value.cast(incoming.target)),
            target.load.eq(load),
            target.advance.eq(written.valid),
            written.to_operand.eq(command.to_operand),
            written.address.eq(target.address),
            self.done.eq(written.valid & target.last),
        ]
        # operand a: the machine's own words while it runs
        port, code = self.array.a_write, self.spec.array.pe.a_bits
        codes = Cat(Value.cast(lane)[:code] for lane in written.data)
        m.d.comb += [
            port.enable.eq(Mux(self.busy, written.valid & written.to_operand, self.a_write.enable)),
            port.address.eq(Mux(self.busy, written.address, self.a_write.address)),
            Value.cast(port.data).eq(Mux(self.busy, codes, Value.cast(self.a_write.data))),
        ]

    def _vector_memory(self, m: Module) -> memory.ReadPort:
        """Return the read port of the vector memory, written by commands, or from outside."""
        depth = self.spec.vector_depth
        m.submodules.vector = vector = memory.Memory(shape=self.word, depth=depth, init=[])
        write, written, outside = vector.write_port(), self.written, self.vector_write
        m.d.comb += [
            write.en.eq(Mux(self.busy, written.valid & ~written.to_operand, outside.enable)),
            write.addr.eq(Mux(self.busy, written.address, outside.address)),
            Value.cast(write.data).eq(
                Mux(self.busy, Value.cast(written.data), Value.cast(outside.data))
            ),
        ]
        return vector.read_port()


class _Stream:
    """A word on its way: `payload`, `valid`, `ready`, and beside sums their `scaling`."""

    def __init__(self, name: str, payload: data.ArrayLayout) -> None:
        self.payload = Signal(payload, name=f"{name}_payload")
        self.scaling = Signal(data.ArrayLayout(SCALING, payload.length), name=f"{name}_scaling")
        self.valid, self.ready = Signal(name=f"{name}_valid"), Signal(name=f"{name}_ready")


def _take(m: Module, payload: data.View, planes: list[Value], scaling: data.View) -> None:
    """Give an epilogue its sums and what goes with them."""
    for plane, value in enumerate(planes):
        m.d.comb += payload[f"acc_{plane}"].eq(value)
    for name, _ in SCALING:
        m.d.comb += payload[name].eq(scaling[name])


def _memory(m: Module, name: str, port: wiring.FlippedInterface, depth: int) -> memory.ReadPort:
    """Add a memory that is written from outside; return its read port."""
    m.submodules[name] = words = memory.Memory(shape=port.data.shape(), depth=depth, init=[])
    write = words.write_port()
    m.d.comb += [
        write.addr.eq(port.address),
        Value.cast(write.data).eq(Value.cast(port.data)),
        write.en.eq(port.enable),
    ]
    return words.read_port()
