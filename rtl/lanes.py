"""Equal units side by side: one valid, one ready, a word of payloads."""

from collections.abc import Sequence

from amaranth.hdl import Module, Value
from amaranth.lib import data

from hwq.rtl.pipeline import StreamUnit
from hwq.rtl.shared import share


class Lanes(StreamUnit):
    """Copies of a unit that take and give a word together.

    Latency and interval are those of one copy.

    Ports: `i` and `o` are arrays of the unit's payloads, one a lane.

    Parameters
    ----------
    units : sequence of StreamUnit
        Copies of one unit, as many as there are lanes.
    """

    def __init__(self, units: Sequence[StreamUnit]) -> None:
        self.units = tuple(units)
        first = self.units[0]
        super().__init__(
            data.ArrayLayout(first.i.payload.shape(), len(self.units)),
            data.ArrayLayout(first.o.payload.shape(), len(self.units)),
        )

    @property
    def latency_cycles(self) -> int:
        """Of any lane."""
        return self.units[0].latency_cycles

    @property
    def interval_cycles(self) -> int:
        """Of any lane."""
        return self.units[0].interval_cycles

    def elaborate(self, platform: object) -> Module:
        """Return the lanes; they are in step, so the first one's handshake is everyone's."""
        m = Module()
        first = self.units[0]
        m.d.comb += [self.i.ready.eq(first.i.ready), self.o.valid.eq(first.o.valid)]
        for lane, unit in enumerate(self.units):
            m.submodules[f"lane_{lane}"] = share(platform, unit, unit.spec)
            m.d.comb += [
                unit.i.valid.eq(self.i.valid),
                unit.o.ready.eq(self.o.ready),
                Value.cast(unit.i.payload).eq(Value.cast(self.i.payload[lane])),
                Value.cast(self.o.payload[lane]).eq(Value.cast(unit.o.payload)),
            ]
        return m
