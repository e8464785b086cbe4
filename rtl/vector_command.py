"""The command of a layer of the vector unit."""

from collections.abc import Mapping
from enum import IntEnum

from amaranth.hdl import ShapeLike, signed
from amaranth.lib import data

from hwq.rtl.buffer import Buffer
from hwq.rtl.encoder import ENCODER_SETTINGS
from hwq.rtl.predictor_core import PREDICTOR_SETTINGS
from hwq.rtl.range_core import RANGE_SETTINGS
from hwq.rtl.rescale_lanes import RESCALE_SETTINGS
from hwq.rtl.token_split import LIST_SETTINGS, SPLIT_SETTINGS

LEVELS = 3
"""Loops of an operand: words of a row, rows, heads."""


class Route(IntEnum):
    """What becomes of the elements."""

    MOVE = 0
    """x."""
    ADD = 1
    """x + y, held in lo..hi."""
    ENCODE = 2
    """The code of x."""
    SOFTMAX = 3
    """Probabilities of a row."""
    LAYER_NORM = 4
    """A row, normalised."""
    RANGES = 5
    """Ranges of channels over tokens: a word of all tokens, then the next word."""
    PREDICT = 6
    """Scales and their reciprocals; x are ranges, y parameters."""
    RESCALE = 7
    """A table of the parameter memory times one of these scales, x, in its place of another."""
    LIST = 8
    """Outliers of all rows, each with its place."""


def vector_layout(
    buffer: Buffer, parameters: int, units: Mapping[str, ShapeLike]
) -> data.StructLayout:
    """Return what says all of a layer.

    Parameters
    ----------
    buffer : Buffer
        In which operands and results are.
    parameters : int
        Words of the parameter memory.
    units : mapping of str to ShapeLike
        Settings of softmax and layer normalisation.
    """
    element = signed(buffer.max_bits + 1)
    return data.StructLayout(
        {
            "route": Route,
            "words": 16,
            "keep": buffer.lanes,
            "first_parameter": range(parameters),
            "second_parameter": range(parameters),
            "is_tabled": 1,
            "split": SPLIT_SETTINGS,
            **{name: buffer.operand_layout(LEVELS) for name in ("x", "y", "out")},
            # of the route
            "settings": data.UnionLayout(
                {
                    "limits": data.StructLayout({"lo": element, "hi": element}),
                    "encoder": ENCODER_SETTINGS,
                    **units,
                    "ranges": RANGE_SETTINGS,
                    "predictor": PREDICTOR_SETTINGS,
                    "rescale": RESCALE_SETTINGS,
                    "list": LIST_SETTINGS,
                }
            ),
        }
    )
