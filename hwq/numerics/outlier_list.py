"""Outlier list: the few side values of many tokens one after another, each with its place."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.outlier_split import SIDE
from hwq.numerics.unit import REQUANTIZE_WORK, Field, Unit, UnitTiming, each_word_and_result

ENTRY: Final = (Field("value", SIDE.bits), Field("token", 16, False), Field("channel", 32, False))
"""An outlier: four elements of 16 bits, of which the last one is 0."""


def outlier_list_reference(side: NDArray[np.integer], room: int) -> NDArray[np.int64]:
    """int16[R, C] -> int64[room, 3] value, token, channel: what is not 0, row by row, then zeros.

    Parameters
    ----------
    side : int16[R, C]
        Side values, of which those that are 0 are no outliers.
    room : int
        Entries of the list.

    Raises
    ------
    SpecError
        If there are more outliers than the list holds.
    """
    entries = [
        (value, token, channel)
        for token, values in enumerate(side.tolist())
        for channel, value in enumerate(values)
        if value
    ]
    require(len(entries) <= room, f"the list must hold {len(entries)} outliers, not {room}")
    return np.array(entries + [(0, 0, 0)] * (room - len(entries)), np.int64).reshape(-1, 3)


def timing() -> UnitTiming:
    """Item: `lanes` values, and an entry of the list. Wait, choose one, scale, round, hold."""
    return UnitTiming(latency_cycles=6, interval_cycles=1)


UNIT = Unit(
    "outlier_list",
    None,
    timing,
    ops=("outlier_split",),
    work=(("compare", 16, 16, 2),),
    items=each_word_and_result,
    result_work=REQUANTIZE_WORK,
    cut="whole",
)
