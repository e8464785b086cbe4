"""Names of methods and bases, widths, and --option NAME=VALUE."""

from pathlib import Path

from hwq.api.network import make_method
from hwq.cli.arguments import options
from hwq.methods.base import Bits
from hwq.methods.catalog import METHODS
from tests.fuzz import mutate
from tests.fuzz.harness import accepts

_NAMES = ("softmax", "iterations", "batch", "outliers", "count", "base", "degree", "features")
_NAMES += ("base.softmax", "base.iterations", "min_r2", "images", "name", "__class__", "", "x")
_VALUES = ("0", "1", "-1", "2", "1e9", "nan", "inf", "-inf", "0.5", "log2", "uniform", "", "=", "x")
_VALUES += ("9" * 5000, "1e400", "True", "None", "\x1b[0m", "\udc80", "é", "[1]", "1_000", " 1 ")
_BITS = ("w4a4", "w8a8", "w1a4", "w9a9", "w4", "W4A4", "", "w4a4 ", "w٤a٤", "w" + "4" * 5000 + "a4")


class Options:
    """Make a method from words."""

    name = "options"

    def __init__(self, folder: Path) -> None:
        self.methods = (*METHODS, "magic", "", "min max", "\x1b")

    def run(self, rng: mutate.Rng) -> bool:
        """Try one request."""
        pairs = [
            f"{mutate.pick(rng, _NAMES)}{mutate.pick(rng, ('=', '=', '=', '', '=='))}"
            f"{mutate.pick(rng, _VALUES)}"
            for _ in range(int(rng.integers(0, 4)))
        ]
        method = mutate.pick(rng, self.methods)
        base = mutate.pick(rng, self.methods) if rng.random() < 0.3 else None
        bits = mutate.pick(rng, _BITS) if rng.random() < 0.5 else "w4a4"

        def make() -> None:
            make_method(method, base, options(pairs))
            Bits.parse(bits)

        return accepts(make)
