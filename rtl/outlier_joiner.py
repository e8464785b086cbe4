# amaranth: UnusedElaboratable=no
"""What outliers add to a product's sums, made while the array multiplies all the rest."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.rtl.buffer import READ_CYCLES, Buffer
from hwq.rtl.outlier_entries import OutlierEntries
from hwq.rtl.pipeline import delayed
from hwq.rtl.walker import loops_layout

STAGES = 4 + READ_CYCLES
"""Registers from an entry to the sum that it is added to: its row of b, multiply."""
FILL_CYCLES = 6 + STAGES
"""From `start` to the first sum, besides the entries and rows until there."""


class OutlierJoiner(wiring.Component):
    """Adds up the outliers of each row: side = sum of value * b[channel] over the row's entries.

    For every tile of N it goes through list and rows side by side. An entry of the row adds
    value * b[channel], for all columns of the tile at once; where the next entry is that of a later
    row, the sum is written, and the next row begins. Entries of none of the rows, and those of
    value 0, are passed over. So a tile takes a cycle for each row, and one for each entry that the
    list has room for, whatever is in it.

    Ports:

    * `command`, taken with `start` while `busy` is low: `list`, the addresses of the list's words
      for all tiles (`walker.loops_layout`); `room`, its entries; `rows`, and `first`, the token of
      the first one; `tiles`; `ones`, whether each tile has a word of column sums ahead of its rows;
      `weights`, the address of b's first word, `pitch`, from one row of b to the next, and `bits`
      of its elements;
    * `busy` until the last sum is written;
    * `list_read`, `b_read`: read ports of the buffers;
    * `side`: `address`, row by row and tile by tile, `sums` of a row, and `enable`.

    For every lane a multiplier of 16 x 8 bits and a sum of 32; one multiplier for addresses.

    Parameters
    ----------
    activation, weight : Buffer
        Whose ports are connected.
    address_bits : int
        Width of an address of sums.
    """

    def __init__(self, activation: Buffer, weight: Buffer, address_bits: int) -> None:
        self.lanes = activation.lanes
        self.entries = OutlierEntries(activation)
        self.command_shape = data.StructLayout(
            {
                "list": loops_layout(2, activation.address_bits),
                "room": 16,
                "rows": 16,
                "first": 16,
                "tiles": address_bits,
                "ones": 1,
                "weights": weight.address_bits,
                "pitch": weight.address_bits,
                "bits": range(weight.max_bits + 1),
            }
        )
        sums = data.ArrayLayout(signed(32), self.lanes)
        side = {"address": Out(address_bits), "sums": Out(sums), "enable": Out(1)}
        super().__init__(
            {
                "command": In(self.command_shape),
                "start": In(1),
                "busy": Out(1),
                "list_read": Out(activation.read_signature),
                "b_read": Out(weight.read_signature),
                "side": Out(wiring.Signature(side)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the walk through list and rows, and the stages behind it."""
        m = Module()
        m.submodules.entries = entries = self.entries
        kept = Signal(self.command_shape)
        begins, steps = Signal(), Signal()
        m.d.comb += [
            begins.eq(self.start & ~self.busy),
            Value.cast(entries.walk).eq(Value.cast(self.command.list)),
            entries.room.eq(self.command.room),
            entries.start.eq(begins),
        ]
        wiring.connect(m, entries.read, wiring.flipped(self.list_read))
        adds, ends, ends_tile = self._step(m, begins, steps, kept)
        tile, weights = Signal.like(kept.tiles), Signal.like(kept.weights)
        with m.If(begins):
            m.d.sync += [
                kept.eq(self.command),
                self.busy.eq(1),
                steps.eq(1),
                tile.eq(0),
                weights.eq(self.command.weights),
            ]
        with m.Elif(ends_tile):
            m.d.sync += [tile.eq(tile + 1), weights.eq(weights + kept.bits)]
            with m.If(tile + 1 == kept.tiles):
                m.d.sync += steps.eq(0)
        written = delayed(m, steps, STAGES)
        with m.If(self.busy & ~begins & ~steps & ~written):
            m.d.sync += self.busy.eq(0)

        self._read(m, kept, weights, adds)
        self._add(m, adds, ends)
        address = self.side.address
        with m.If(begins):
            m.d.sync += address.eq(self.command.ones)
        with m.Else():
            over = delayed(m, ends_tile & kept.ones, STAGES)
            m.d.sync += address.eq(address + self.side.enable + over)
        return m

    def _step(
        self, m: Module, begins: Value, steps: Value, kept: data.View
    ) -> tuple[Value, Value, Value]:
        """Return whether the entry is added, the row ends, and the tile ends, in this cycle."""
        entries, entry = self.entries, self.entries.entry
        token, taken_all = Signal(16), Signal()
        adds, ends, ends_tile = Signal(), Signal(), Signal()
        is_one, is_later = Signal(), Signal()
        all_taken, rows_end = Signal(), Signal()
        # rows that are left, and whether there are any, and whether there is only one
        left, rows_left, is_last = Signal(16), Signal(), Signal()
        m.d.comb += [
            is_one.eq((entry.value != 0) & rows_left),
            is_later.eq(is_one & (entry.token > token)),
            entries.take.eq(steps & entries.there & ~taken_all & ~is_later),
            adds.eq(entries.take & is_one & (entry.token == token)),
            ends.eq(steps & rows_left & (taken_all | (entries.there & is_later))),
            all_taken.eq(taken_all | (entries.take & entries.last)),
            rows_end.eq(~rows_left | (ends & is_last)),
            ends_tile.eq(steps & all_taken & rows_end),
        ]
        with m.If(begins | ends_tile):
            of_tile = Mux(begins, self.command.as_value(), kept.as_value())
            command = data.View(self.command_shape, of_tile)
            m.d.sync += [
                left.eq(command.rows),
                rows_left.eq(1),
                is_last.eq(command.rows == 1),
                taken_all.eq(0),
                token.eq(command.first),
            ]
        with m.Else():
            m.d.sync += [token.eq(token + ends), taken_all.eq(all_taken)]
            with m.If(ends):
                m.d.sync += [left.eq(left - 1), rows_left.eq(~is_last), is_last.eq(left == 2)]
        return adds, ends, ends_tile

    def _read(self, m: Module, kept: data.View, weights: Value, adds: Value) -> None:
        """Stages 1 to 3: the entry; its row of b; the address of its word in this tile."""
        channel, row = delayed(m, self.entries.entry.channel, 1), Signal.like(kept.weights)
        m.d.sync += [
            row.eq(channel * kept.pitch),
            self.b_read.address.eq(row + delayed(m, weights, 2)),
        ]
        m.d.comb += [
            self.b_read.bits.eq(kept.bits),
            self.b_read.signed.eq(1),
            self.b_read.enable.eq(delayed(m, adds, 3)),
        ]

    def _add(self, m: Module, adds: Value, ends: Value) -> None:
        """Last stage: multiply; then a sum grows, or is written and begins anew.

        Below 2**31: who fills commands checks it (`hwq.rtl.unit_commands`).
        """
        value = delayed(m, self.entries.entry.value, STAGES - 1).as_signed()
        grows = delayed(m, adds, STAGES)
        m.d.comb += self.side.enable.eq(delayed(m, ends, STAGES))
        for lane, element in enumerate(self.b_read.elements):
            product = Signal(signed(24), name=f"product_{lane}")
            total = Signal(signed(32), name=f"total_{lane}")
            m.d.sync += product.eq(value * element[:8].as_signed())
            with m.If(self.side.enable):
                m.d.sync += total.eq(0)
            with m.Elif(grows):
                m.d.sync += total.eq(total + product)
            m.d.comb += self.side.sums[lane].eq(total)
