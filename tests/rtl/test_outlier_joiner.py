"""What outliers add: every row of every tile, whatever the list holds, in always as many cycles."""

from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.hdl import Elaboratable, Module, Value
from amaranth.lib import wiring
from amaranth.sim import Simulator
from numpy.typing import NDArray

from hwq.numerics.outlier_list import outlier_list_reference
from hwq.rtl.buffer import Buffer
from hwq.rtl.outlier_joiner import FILL_CYCLES, OutlierJoiner
from tests.rtl.packed import Packed, set_walk

RATIO = 16


class Bench(Elaboratable):
    """Two buffers and what reads them."""

    def __init__(self, lanes: int) -> None:
        self.activation = Buffer(512, lanes * RATIO, lanes, 16, reads=1, writes=1)
        self.weight = Buffer(256, lanes * RATIO, lanes, 8, reads=1, writes=1)
        self.joiner = OutlierJoiner(self.activation, self.weight, 10)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules += [self.activation, self.weight, self.joiner]
        read, port = self.joiner.list_read, self.activation.read[0]
        m.d.comb += [
            *(
                getattr(port, n).eq(getattr(read, n))
                for n in ("address", "bits", "signed", "enable")
            ),
            Value.cast(read.elements).eq(Value.cast(port.elements)),
            # others have words of this port, too
            read.valid.eq(1),
        ]
        wiring.connect(m, self.joiner.b_read, self.weight.read[0])
        return m


@dataclass
class Case:
    """Side values of all tokens, of which a product has some rows."""

    side: NDArray[np.int16]
    columns: int
    room: int
    bits: int = 8
    rows: tuple[int, int] = (0, 0)
    """The first one, and the one behind the last; all of them by default."""
    ones: bool = False

    def __post_init__(self) -> None:
        self.first, stop = self.rows if any(self.rows) else (0, len(self.side))
        self.count = stop - self.first
        rng = np.random.default_rng([self.side.size, self.columns])
        most = 1 << (self.bits - 1)
        self.b = rng.integers(-most, most, (self.side.shape[1], self.columns))
        self.b[:, 0] = -most

    def entries(self) -> NDArray[np.int64]:
        """The list as elements: int64[1, 4 * room]."""
        entries = outlier_list_reference(self.side, self.room)
        return np.pad(entries, ((0, 0), (0, 1))).reshape(1, -1)

    def wanted(self, lanes: int) -> dict[int, list[int]]:
        """Sums by their address."""
        tiles = -(-self.columns // lanes)
        b = np.pad(self.b, ((0, 0), (0, tiles * lanes - self.columns)), constant_values=1)
        sums = self.side[self.first : self.first + self.count].astype(np.int64) @ b
        pitch = self.count + self.ones
        return {
            tile * pitch + self.ones + row: sums[row, tile * lanes : (tile + 1) * lanes].tolist()
            for tile in range(tiles)
            for row in range(self.count)
        }


def check(lanes: int, cases: list[Case]) -> None:
    """Run cases one after another on one machine."""
    bench = Bench(lanes)
    joiner = bench.joiner

    async def testbench(ctx) -> None:
        for case in cases:
            entries = Packed(case.entries(), lanes, RATIO, 16, 5 * RATIO)
            b = Packed(case.b, lanes, RATIO, case.bits, 3 * RATIO)
            await entries.whole.write(ctx, bench.activation.write[0])
            await b.whole.write(ctx, bench.weight.write[0])
            values = {
                "room": case.room,
                "rows": case.count,
                "first": case.first,
                "tiles": b.words,
                "ones": case.ones,
                "weights": b.base,
                "pitch": b.pitch,
                "bits": case.bits,
            }
            for name, value in values.items():
                ctx.set(joiner.command[name], int(value))
            set_walk(ctx, joiner.command.list, entries.base, [(entries.words, 16), (b.words, 0)])
            ctx.set(joiner.start, 1)
            await ctx.tick()
            ctx.set(joiner.start, 0)
            ctx.set(joiner.command.as_value(), -1)
            found: dict[int, list[int]] = {}
            first = case.count + case.room  # a row is written by then, in every tile
            for cycle in range(1, b.words * first + FILL_CYCLES + 1):
                assert ctx.get(joiner.busy), f"{case}: it ends too early"
                if ctx.get(joiner.side.enable):
                    address = ctx.get(joiner.side.address)
                    assert address not in found
                    found[address] = [ctx.get(lane) for lane in joiner.side.sums]
                    tile, row = divmod(len(found) - 1, case.count)
                    assert cycle <= tile * first + case.room + row + FILL_CYCLES
                await ctx.tick()
            assert not ctx.get(joiner.busy), f"{case}: it ends too late"
            assert found == case.wanted(lanes), str(case)
            await ctx.tick()

    simulator = Simulator(bench)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


def sparse(rows: int, channels: int, share: float = 0.1, seed: int = 0) -> NDArray[np.int16]:
    """Side values of which some are not 0, those with the least and the most among them."""
    rng = np.random.default_rng([rows, channels, seed])
    values = rng.integers(1, 1 << 15, (rows, channels)) * rng.choice((-1, 1), (rows, channels))
    side = np.where(rng.random(values.shape) < share, values, 0)
    return side.astype(np.int16)


def full(rows: int, channels: int, token: int, value: int = -(1 << 15)) -> NDArray[np.int16]:
    """All of one token are outliers."""
    side = np.zeros((rows, channels), np.int16)
    side[token] = value
    return side


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_random_lists(lanes: int) -> None:
    check(
        lanes,
        [
            Case(sparse(7, 12), 3 * lanes, 17, 4),
            Case(sparse(5, 9, 0.3), 2 * lanes - 1, 40, 8, ones=True),
            Case(sparse(9, 6, 0.5), lanes + 1, 31, 3, ones=True),
        ],
    )


@pytest.mark.parametrize("ones", [False, True])
def test_no_outliers_and_a_token_of_nothing_else(ones: bool) -> None:
    corners = np.zeros((6, 8), np.int16)
    corners[0, 0], corners[0, -1], corners[-1, 0], corners[-1, -1] = 1, -2, 32767, -32768
    check(
        4,
        [
            Case(np.zeros((6, 8), np.int16), 9, 1, ones=ones),
            Case(full(6, 8, 0), 9, 8, ones=ones),
            Case(full(6, 8, 5), 8, 8, ones=ones),
            Case(full(6, 8, 3, 32767), 5, 11, ones=ones),
            Case(corners, 12, 4, ones=ones),
            Case(corners, 12, 5, ones=ones),
            # the list is full: of all elements
            Case(np.full((6, 8), -7, np.int16), 6, 48, ones=ones),
            Case(full(1, 8, 0), 4, 9, ones=ones),
        ],
    )


@pytest.mark.parametrize("rows", [(0, 3), (2, 6), (6, 9), (4, 5)])
def test_rows_of_a_product_that_is_cut_skip_what_is_before_and_behind(rows) -> None:
    side = sparse(9, 8, 0.25)
    side[rows[0]], side[rows[1] - 1, -1] = 5, 9
    if rows[1] < 9:
        side[rows[1], 0] = -1
    check(4, [Case(side, 9, 60, 8, rows, ones) for ones in (False, True)])
