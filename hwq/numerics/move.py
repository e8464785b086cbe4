"""Elements that are written to another place: a concatenation."""

from hwq.numerics.unit import Unit, UnitTiming


def timing() -> UnitTiming:
    """Item: `lanes` values, which go through no register."""
    return UnitTiming(latency_cycles=0, interval_cycles=1)


UNIT = Unit(
    "move",
    None,
    timing,
    ops=("concat",),
    work=(("register", 16, 16, 1),),
    streams=True,
)
