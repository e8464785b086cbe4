# amaranth: UnusedElaboratable=no
"""What streams behind an array: epilogue, activation, encoder or residual, and into a buffer."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.numerics.activation import MAX_IN_BITS
from hwq.numerics.epilogue import ADDEND_BITS
from hwq.rtl.activation import ActivationCore
from hwq.rtl.buffer import READ_CYCLES, WRITE_CYCLES, Buffer
from hwq.rtl.encoder import ELEMENT, ENCODER_SETTINGS, Encoder, tabled
from hwq.rtl.epilogue import SCALING, EpilogueCore
from hwq.rtl.join_lane import FACTOR, FACTOR_CYCLES, JOIN_CYCLES, JoinLane
from hwq.rtl.pipeline import delayed, within
from hwq.rtl.shared import share
from hwq.rtl.walker import follow
from hwq.rtl.wide import part_products, register, total

LEVELS = 4
"""Loops of an operand: rows; tiles of N, whose address may have several strides."""
PARAMETER_CYCLES = 1
OFFSET = signed(18)
"""How many column sums are subtracted."""


class ResultPipe(wiring.Component):
    """Takes the complete sums of one product, tile of N by tile of N, a word for each row.

    acc -> epilogue -> activation, if any -> encoder, if any -> buffer; or, without both,
    acc -> epilogue -> plus the residual -> buffer. Where outliers are joined, sums are multiplied
    by a factor of their row in front of the epilogue, and there is no residual behind it. Words of
    sums come when they come, and nothing here makes them wait.

    From a word of sums to the first cycle in which a read of its results may begin: 1 for the
    parameters, 4 to join, 8 of the epilogue, 6 of an activation, 8 of an encoder (12 of
    logarithms), 1 of a residual, and WRITE_CYCLES.

    Ports:

    * `command`, taken with `start` while `busy` is low: `rows` of the product, `tiles` of N, and
      `keep`, which columns of the last tile count. What is activated is encoded too. With `ones`
      a row of column sums comes ahead of every tile, `offset` times which is subtracted; with
      `joins` the sums of the second plane are those of outliers;
    * `busy` until the next command may come. It lasts longer than that of the array, and both start
      together when it is low;
    * `sums`: `valid`, and `sums` of a word, as the array's `o` has them; ignored while not `busy`;
    * `parameters`: a read port of the memory of what a channel has (`epilogue.SCALING`): `address`
      of a tile from `first_parameter` on, `data` in the next cycle. Or all channels have those of
      the first one, if they are `spread`, or what the command says, `scaling`, if it is `shared`.
      With `is_tabled` the first lane of the word `encoder_parameter` has those of the encoder;
    * `factors`: another one, of the words of the rows' factors from `first_factor` on;
    * `y_read`, `write`: ports of the buffer.

    Parameters
    ----------
    buffer : Buffer
        Whose ports are connected; as many lanes has the array columns.
    function : str
        Activation function.
    tiles : int
        Words of the memory of parameters.
    """

    def __init__(self, buffer: Buffer, function: str, tiles: int) -> None:
        self.lanes, self.element = buffer.lanes, signed(buffer.max_bits + 1)
        held = signed(MAX_IN_BITS)
        self.epilogues = [EpilogueCore(held) for _ in range(self.lanes)]
        self.activations = [ActivationCore(function, held.width) for _ in range(self.lanes)]
        self._row_factor = Signal(FACTOR)
        self._corrections = [
            Signal(signed(ADDEND_BITS), name=f"correction_{lane}") for lane in range(self.lanes)
        ]
        self.command_shape = self._command_layout(buffer, tiles)
        sums = data.ArrayLayout(data.ArrayLayout(signed(32), 2), self.lanes)
        factors = data.ArrayLayout(FACTOR, self.lanes)
        parameters = {
            "address": Out(range(tiles)),
            "data": In(data.ArrayLayout(SCALING, self.lanes)),
        }
        super().__init__(
            {
                "command": In(self.command_shape),
                "start": In(1),
                "busy": Out(1),
                "sums": In(wiring.Signature({"valid": Out(1), "sums": Out(sums)})),
                "parameters": Out(wiring.Signature(parameters)),
                "factors": Out(
                    wiring.Signature({"address": Out(range(tiles)), "data": In(factors)})
                ),
                "y_read": Out(buffer.read_signature),
                "write": Out(buffer.write_signature),
            }
        )

    def _command_layout(self, buffer: Buffer, tiles: int) -> data.StructLayout:
        """Return what says all of a product's results."""
        return data.StructLayout(
            {
                "rows": 16,
                "tiles": range(tiles + 1),
                "keep": self.lanes,
                "first_parameter": range(tiles),
                "shared": 1,
                "spread": 1,
                "ones": 1,
                "offset": OFFSET,
                "joins": 1,
                "first_factor": range(tiles),
                "scaling": SCALING,
                "activates": 1,
                "encodes": 1,
                "adds": 1,
                **{name: buffer.operand_layout(LEVELS) for name in ("y", "out")},
                "epilogue": self.epilogues[0].settings.shape(),
                "activation": self.activations[0].settings.shape(),
                "encoder": ENCODER_SETTINGS,
                "encoder_parameter": range(tiles),
                "is_tabled": 1,
                "limits": data.StructLayout({"lo": self.element, "hi": self.element}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the chain of every lane, and the walks over residual and results."""
        m = Module()
        kept = Signal(self.command_shape)
        begins, written_last = Signal(), Signal()
        m.d.comb += begins.eq(self.start & ~self.busy)
        # the next command reads a cycle after it starts
        ends = delayed(m, written_last, WRITE_CYCLES - 2)
        with m.If(begins):
            m.d.sync += [kept.eq(self.command), self.busy.eq(1)]
        with m.Elif(ends):
            m.d.sync += self.busy.eq(0)

        arrives, comes = Signal(), Signal()
        m.d.comb += arrives.eq(self.sums.valid & self.busy)
        row, tile, _ = self._count(m, "sums", begins, arrives, kept.rows + kept.ones, kept.tiles)
        column_sums_come = Signal()
        m.d.comb += [
            column_sums_come.eq(arrives & kept.ones & (row == 0)),
            comes.eq(arrives & ~column_sums_come),
        ]
        self._correct(m, kept, column_sums_come)
        # the encoder's word is read ahead of all sums
        begun = delayed(m, begins, 1)
        own, comes_own = Signal(SCALING), delayed(m, begun, PARAMETER_CYCLES)
        with m.If(comes_own):
            m.d.sync += own.eq(self.parameters.data[0])
        scaled_tile = Mux(kept.joins, delayed(m, tile, JOIN_CYCLES), tile)
        channels = kept.first_parameter + Mux(kept.spread, 0, scaled_tile)
        m.d.comb += self.parameters.address.eq(Mux(begun, kept.encoder_parameter, channels))
        encoder_settings = tabled(m, kept.encoder, kept.is_tabled, Value.cast(own))
        self._factor(m, kept, begins, comes, row + 1 == kept.rows + kept.ones)
        # the residual is read so that it meets what leaves the epilogue
        ahead = PARAMETER_CYCLES + self.epilogues[0].latency_cycles - READ_CYCLES
        wants = delayed(m, comes & kept.adds, ahead)
        follow(m, "y", self.command.y.walk, begins, wants, self.y_read.address)
        m.d.comb += [
            self.y_read.enable.eq(wants),
            self.y_read.bits.eq(kept.y.bits),
            self.y_read.signed.eq(kept.y.signed),
        ]
        valid, elements = self._chains(m, platform, kept, encoder_settings, comes)
        _, _, last_tile = self._count(m, "results", begins, valid, kept.rows, kept.tiles)
        walk = self.command.out.walk
        last = follow(m, "out", walk, begins, valid, self.write.address)
        m.d.comb += written_last.eq(valid & last)
        m.d.comb += [
            self.write.bits.eq(kept.out.bits),
            self.write.keep.eq(Mux(last_tile, kept.keep, -1)),
            self.write.enable.eq(valid),
            *(self.write.elements[k].eq(element) for k, element in enumerate(elements)),
        ]
        return m

    def _correct(self, m: Module, kept: data.View, comes: Value) -> None:
        """Make corrections of the column sums that come, for the second stage behind the next row.

        That row comes a cycle later, and is a cycle from its epilogue: there is time for a product
        in parts, their sum, and a shift.
        """
        for lane, correction in enumerate(self._corrections):
            column_sum = self.sums.sums[lane][0]
            products = part_products(m, comes, column_sum, kept.offset, f"offset_{lane}")
            product = register(m, 1, total(products), f"offsets_{lane}")
            m.d.sync += correction.eq(Mux(kept.ones, product << kept.epilogue.up, 0))

    def _factor(self, m: Module, kept: data.View, begins: Value, comes: Value, ends: Value) -> None:
        """Read the factor of the row that came, for when `JoinLane` takes it."""
        word, place = Signal.like(kept.first_factor), Signal(range(max(self.lanes, 2)))
        last = place == self.lanes - 1
        with m.If(begins):
            m.d.sync += [word.eq(self.command.first_factor), place.eq(0)]
        with m.Elif(comes & ends):
            m.d.sync += [word.eq(kept.first_factor), place.eq(0)]
        with m.Elif(comes):
            m.d.sync += [word.eq(word + last), place.eq(Mux(last, 0, place + 1))]
        m.d.comb += self.factors.address.eq(word)
        chosen = self.factors.data[delayed(m, place, PARAMETER_CYCLES)]
        m.d.comb += self._row_factor.eq(delayed(m, chosen, FACTOR_CYCLES))

    def _count(
        self, m: Module, name: str, begins: Value, advance: Value, rows: Value, tiles: Value
    ) -> tuple[Value, Value, Value]:
        """Return the row and the tile of the next word, and whether that is the last tile."""
        row, tile = Signal(17, name=f"{name}_row"), Signal.like(tiles, name=f"{name}_tile")
        ends = row + 1 == rows
        with m.If(begins):
            m.d.sync += [row.eq(0), tile.eq(0)]
        with m.Elif(advance):
            m.d.sync += [row.eq(Mux(ends, 0, row + 1)), tile.eq(tile + ends)]
        return row, tile, tile + 1 == tiles

    def _chains(
        self,
        m: Module,
        platform: object,
        kept: data.View,
        encoder_settings: data.View,
        comes: Value,
    ) -> tuple[Value, list[Value]]:
        """Return when a word of results is there, and its elements."""
        parameters, valids = delayed(m, comes, PARAMETER_CYCLES), []
        scaled = Mux(kept.joins, delayed(m, parameters, JOIN_CYCLES), parameters)
        elements = []
        for lane in range(self.lanes):
            epilogue, activation = self.epilogues[lane], self.activations[lane]
            encoder, join = Encoder(), JoinLane()
            for name, unit in (
                ("join", join),
                ("epilogue", epilogue),
                ("activation", activation),
                ("encoder", encoder),
            ):
                m.submodules[f"{name}_{lane}"] = share(platform, unit)
            self._scale(m, lane, kept, join)
            m.d.comb += [
                epilogue.i.valid.eq(scaled),
                activation.i.payload.eq(epilogue.o.payload),
                activation.i.valid.eq(epilogue.o.valid & kept.activates),
                activation.settings.eq(kept.activation),
                encoder.settings.eq(encoder_settings),
            ]
            value, there = Signal(ELEMENT, name=f"value_{lane}"), Signal(name=f"there_{lane}")
            m.d.comb += [
                value.eq(Mux(kept.activates, activation.o.payload, epilogue.o.payload)),
                there.eq(Mux(kept.activates, activation.o.valid, epilogue.o.valid)),
                encoder.i.payload.eq(value),
                encoder.i.valid.eq(there & kept.encodes),
                *(unit.o.ready.eq(1) for unit in (epilogue, activation, encoder)),
            ]
            both, limits = Signal(signed(ELEMENT.width + 1), name=f"both_{lane}"), kept.limits
            held = Signal(self.element, name=f"sum_{lane}")
            m.d.comb += both.eq(value + self.y_read.elements[lane])
            m.d.sync += held.eq(within(both, limits.lo, limits.hi))
            plain = Mux(kept.encodes, encoder.o.payload, value)
            elements.append(Mux(kept.adds, held, plain))
            valids.append(Mux(kept.encodes, encoder.o.valid, there & ~kept.adds))
            if lane == 0:
                added = delayed(m, there & kept.adds, 1)
        return Mux(kept.adds, added, valids[0]), elements

    def _scale(self, m: Module, lane: int, kept: data.View, join: JoinLane) -> None:
        """Give an epilogue the sums of a lane, joined if there are outliers, and its parameters."""
        planes, operand = self.sums.sums[lane], self.epilogues[lane].i.p
        own = Mux(kept.spread, self.parameters.data[0], self.parameters.data[lane])
        scaling = data.View(SCALING, Mux(kept.shared, kept.scaling, own))
        before = [Signal(signed(32), name=f"acc_{lane}_{plane}") for plane in (0, 1)]
        m.d.sync += [acc.eq(planes[plane]) for plane, acc in enumerate(before)]
        m.d.comb += [
            join.codes.eq(before[0]),
            join.outliers.eq(before[1]),
            join.correction.eq(self._corrections[lane]),
            self.epilogues[lane].correction.eq(Mux(kept.joins, 0, self._corrections[lane])),
            join.factor.eq(self._row_factor),
            operand.acc_0.eq(Mux(kept.joins, join.joined, before[0])),
            operand.acc_1.eq(Mux(kept.joins, 0, before[1])),
            *(operand[name].eq(scaling[name]) for name, _ in SCALING),
            self.epilogues[lane].settings.eq(kept.epilogue),
        ]
