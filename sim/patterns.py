"""How both sides of a stream stall: what the benches of every unit are made of."""

from collections.abc import Callable
from dataclasses import astuple, dataclass

ALWAYS = 256
"""A chance, in 256ths."""


@dataclass(frozen=True)
class Stalls:
    """When the sender offers and the receiver accepts; the fields of `settings.txt`.

    Parameters
    ----------
    send_on, send_off : int
        Cycles in which a value may be offered, and cycles after them in which it may not.
    send_period : int
        Least cycles between two transfers.
    send_chance : int
        A value is offered with this chance in 256 in each cycle.
    take_on, take_off, take_phase, take_chance : int
        The receiver likewise; it is `take_phase` cycles ahead.
    take_full : int
        If not 0: the receiver refuses until the unit has refused for so many cycles, takes one
        value, and so on; when everything was sent it takes the rest.
    """

    send_on: int = 1
    send_off: int = 0
    send_period: int = 1
    send_chance: int = ALWAYS
    take_on: int = 1
    take_off: int = 0
    take_phase: int = 0
    take_chance: int = ALWAYS
    take_full: int = 0

    def numbers(self) -> tuple[int, ...]:
        """Return the fields in order."""
        return astuple(self)


@dataclass(frozen=True)
class Cost:
    """What says how long a bench will take: the figures of one unit.

    Parameters
    ----------
    latency, interval, inputs, outputs : int
        Cycles and transfers of one result.
    """

    latency: int
    interval: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Pattern:
    """One bench: stalls, and how many cycles a result may take with them.

    Parameters
    ----------
    name : str
        What a failure is reported under.
    stalls : callable
        Cost -> Stalls.
    cycles : callable
        Cost -> about the cycles of one result.
    adversarial : bool
        Whether the number of results is limited to what fits in the budget of cycles.
    """

    name: str
    stalls: Callable[[Cost], Stalls]
    cycles: Callable[[Cost], int]
    adversarial: bool = True


def _bursts(cost: Cost) -> Stalls:
    # lengths without a common divisor: every phase between the two sides occurs
    on = cost.latency + 3
    return Stalls(send_on=on, send_off=on - 1, take_on=on - 2, take_off=on)


FULL_RATE = Pattern("full_rate", lambda _: Stalls(), lambda c: c.interval, adversarial=False)
RANDOM = Pattern(
    "random_stalls",
    lambda _: Stalls(send_chance=205, take_chance=180),
    lambda c: 2 * c.interval,
    adversarial=False,
)
ADVERSARIAL = (
    # both sides mostly idle
    Pattern("rare", lambda _: Stalls(send_chance=64, take_chance=64), lambda c: 4 * c.interval + 8),
    Pattern(
        "until_full",
        lambda c: Stalls(take_full=c.latency + c.interval),
        lambda c: c.interval + (c.outputs + 1) * (c.latency + c.interval),
    ),
    Pattern("one_at_a_time", lambda _: Stalls(take_full=1), lambda c: 2 * c.interval),
    # the next value comes in the cycle in which the result of the last one leaves
    Pattern(
        "single_values",
        lambda c: Stalls(send_period=c.latency),
        lambda c: c.inputs * c.latency + c.interval,
    ),
    Pattern("alternating", lambda _: Stalls(send_off=1, take_off=1), lambda c: 2 * c.interval),
    Pattern(
        "out_of_step",
        lambda _: Stalls(send_off=1, take_off=1, take_phase=1),
        lambda c: 2 * c.interval,
    ),
    Pattern("bursts", _bursts, lambda c: 3 * c.interval + c.latency),
)
AFTER_RESET = Pattern("after_reset", lambda _: Stalls(), lambda c: c.interval)
"""Run after a reset of a full unit."""
AFTER_PART = Pattern("after_part", lambda _: Stalls(), lambda c: c.interval)
"""Run after a reset of a unit that has taken half the inputs of a result and nothing else."""
PATTERNS = {p.name: p for p in (FULL_RATE, RANDOM, AFTER_RESET, AFTER_PART, *ADVERSARIAL)}
"""Name -> bench, in the order in which they run."""


def results(pattern: Pattern, cost: Cost, available: int, budget: int) -> int:
    """Return how many of the `available` results a bench runs in about `budget` cycles."""
    if not pattern.adversarial:
        return available
    return min(available, max(budget // pattern.cycles(cost), 4))
