"""Equal units side by side: one valid, one ready, a word of payloads."""

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Module, Value
from amaranth.lib import data
from numpy.typing import NDArray

from hwq.errors import require
from hwq.rtl.parameters import parameters
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
        kinds = {f"{type(unit).__name__} {parameters(unit, digests=True)}" for unit in self.units}
        require(len(kinds) == 1, f"units must be alike, not {' and '.join(sorted(kinds))}")
        self.inputs_per_result = first.inputs_per_result
        self.outputs_per_result = first.outputs_per_result
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

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n, lanes * fields] -> int64[m, lanes * fields]; one dimension if one of one."""
        lanes = np.split(inputs.reshape(len(inputs), -1), len(self.units), axis=1)
        outputs = [
            unit.compute(lane if lane.shape[1] > 1 else lane[:, 0])
            for unit, lane in zip(self.units, lanes, strict=True)
        ]
        joined = np.concatenate([lane.reshape(len(lane), -1) for lane in outputs], axis=1)
        return joined if joined.shape[1] > 1 else joined[:, 0]

    def elaborate(self, platform: object) -> Module:
        """Return the lanes; they are in step, so the first one's handshake is everyone's."""
        m = Module()
        first = self.units[0]
        m.d.comb += [self.i.ready.eq(first.i.ready), self.o.valid.eq(first.o.valid)]
        for lane, unit in enumerate(self.units):
            m.submodules[f"lane_{lane}"] = share(platform, unit)
            m.d.comb += [
                unit.i.valid.eq(self.i.valid),
                unit.o.ready.eq(self.o.ready),
                Value.cast(unit.i.payload).eq(Value.cast(self.i.payload[lane])),
                Value.cast(self.o.payload[lane]).eq(Value.cast(unit.o.payload)),
            ]
        return m
