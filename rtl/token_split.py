# amaranth: UnusedElaboratable=no
"""What is beside an encoder of tokens that have a scale each, without their outliers."""

from amaranth.hdl import Module, Mux, Shape, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.rtl.encoder import MULT_STAGE, SHIFT_STAGE
from hwq.rtl.outlier_entries import ELEMENT_BITS, ELEMENTS
from hwq.rtl.outlier_lister import OutlierLister
from hwq.rtl.parameter_memory import ParameterMemory
from hwq.rtl.pipeline import delayed
from hwq.rtl.token_scale import MULTIPLIER, TokenScale

SPLIT_SETTINGS = data.StructLayout({"splits": 1, "tokens": 1, "threshold": range((1 << 15) + 1)})
"""Of codes without outliers, and of lists."""
LIST_SETTINGS = data.StructLayout({"multiplier": MULTIPLIER, "room": 16, "last_cycle": 24})
"""Of a list."""


class TokenSplit(wiring.Component):
    """Finds the outliers of words of tokens, and the multipliers of their rows.

    Ports:

    * `settings`: with `splits` an element is an outlier whose magnitude is above `threshold`; with
      `tokens` rows have multipliers of a table, else that of `settings_of_list`;
    * `start`, and with it `first`, the table's first word, and `room`, the entries of a list;
    * `lists`, whether a list is made: then no word may be asked for while `full`;
    * `asks` for a word of the buffer, which `ends` its row; READ_CYCLES later it is there: `x`,
      `valid`, `keep`, and whether it is the `last` of its row and of `all`;
    * `address`, `data`: of the table; the data in the next cycle;
    * `inliers`: x, or 0 for an outlier; `mult` and `shift`, when an encoder of these takes them;
    * `o`: an entry of a list, as `elements` of which those count that `keep` says; `valid`.

    Parameters
    ----------
    lanes : int
    element : Shape
        Shape of an element.
    memory : ParameterMemory
        That tables are in.
    """

    def __init__(self, lanes: int, element: Shape, memory: ParameterMemory) -> None:
        self.lanes = lanes
        self.scale, self.lister = TokenScale(lanes, memory.depth), OutlierLister(lanes, element)
        scale = self.scale.signature.members
        entry = data.ArrayLayout(ELEMENT_BITS, lanes)
        o = {"elements": Out(entry), "keep": Out(lanes), "valid": Out(1)}
        elements = data.ArrayLayout(element, lanes)
        flags = ("start", "lists", "asks", "ends", "valid", "last", "all")
        super().__init__(
            {
                "settings": In(SPLIT_SETTINGS),
                "settings_of_list": In(LIST_SETTINGS),
                **{name: In(1) for name in flags},
                "room": In(16),
                "x": In(elements),
                "keep": In(lanes),
                **{name: scale[name] for name in ("first", "address")},
                "data": In(memory.words),
                "full": Out(1),
                "inliers": Out(elements),
                **{name: Out(field.shape) for name, field in MULTIPLIER},
                "o": Out(wiring.Signature(o)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return both parts, and the comparisons."""
        m = Module()
        m.submodules.scale, m.submodules.lister = scale, lister = self.scale, self.lister
        settings, outliers, multiplier = self.settings, Signal(self.lanes), Signal(MULTIPLIER)
        threshold, lowest = settings.threshold, delayed(m, -settings.threshold, 1)
        for lane, x in enumerate(self.x):
            is_far = (x > threshold) | (x < lowest)
            m.d.comb += [
                outliers[lane].eq(settings.splits & is_far),
                self.inliers[lane].eq(Mux(outliers[lane], 0, x)),
            ]
        own = self.settings_of_list.multiplier
        m.d.comb += [
            scale.start.eq(self.start),
            scale.first.eq(self.first),
            scale.asks.eq(self.asks),
            scale.ends.eq(self.ends),
            self.address.eq(scale.address),
            *(
                token.eq(Value.cast(self.data[lane])[: MULTIPLIER.size])
                for lane, token in enumerate(scale.data)
            ),
            multiplier.eq(Mux(settings.tokens, scale.multiplier.as_value(), own.as_value())),
            self.mult.eq(delayed(m, multiplier.mult, MULT_STAGE)),
            self.shift.eq(delayed(m, multiplier.shift, SHIFT_STAGE)),
            lister.start.eq(self.start),
            lister.room.eq(self.room),
            lister.asked.eq(self.asks & self.lists),
            self.full.eq(lister.full & self.lists),
            Value.cast(lister.i.elements).eq(Value.cast(self.x)),
            lister.i.outliers.eq(outliers & self.keep),
            lister.i.multiplier.eq(multiplier),
            lister.i.last.eq(self.last),
            lister.i.all.eq(self.all),
            lister.valid.eq(self.valid & self.lists),
        ]
        entry = Value.cast(lister.o.entry)
        m.d.comb += [
            self.o.valid.eq(lister.o.valid),
            self.o.keep.eq(lister.o.keep),
            Value.cast(self.o.elements).eq(entry.replicate(self.lanes // ELEMENTS)),
        ]
        return m
