"""What is synthesised: every unit, with its defaults and one lane, and every kind of PE."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Final

from amaranth.lib import wiring

from hwq.errors import UsageError
from hwq.numerics.pe import PE_KINDS, PeKind, PeSpec
from hwq.rtl.catalog import TWINS
from hwq.rtl.emit import verilog
from hwq.rtl.parameters import parameters
from hwq.rtl.pe import AccumulatingPe
from hwq.rtl.pipeline import StreamUnit

WIDTHS: Final = ((8, 8), (6, 6), (8, 4), (4, 8), (4, 4), (3, 3))
"""Widths of the code and of the linear operand that every kind of PE is measured at."""
ACC_BITS: Final = 32

_FLOWING: Final = {"i__valid": "1", "o__ready": "1"}
# sums of 64 products, which leave for the column when the next one begins
_ACCUMULATING: Final = {
    "first_in": "k % 64 == 0",
    "take_in": "k % 64 == 0",
    "shift_in": "0",
    "sums_in": "0",
}


@dataclass(frozen=True)
class Design:
    """One block with its parameters.

    Parameters
    ----------
    block : {"unit", "pe"}
        What it is.
    name : str
        The unit's stem, or the kind of processing element; also the Verilog module.
    parameters : str
        Words of the form name=value.
    make : callable
        Returns the gateware.
    held : mapping of str to str
        Inputs that are not random while the switching energy is measured: a Verilog expression
        of the cycle k.
    """

    block: str
    name: str
    parameters: str
    make: Callable[[], wiring.Component]
    held: Mapping[str, str]

    def verilog(self) -> str:
        """Return the design as Verilog, a module `name`."""
        return verilog(self.make(), self.name)


def designs(names: list[str]) -> list[Design]:
    """Return the designs of these names; an empty list asks for all.

    Raises
    ------
    UsageError
        For an unknown name.
    """
    every = [*_units(), *_elements()]
    known = list(dict.fromkeys(design.name for design in every))
    for name in names:
        if name not in known:
            raise UsageError(f"unknown unit {name!r}; known: {', '.join(known)}")
    return [design for design in every if not names or design.name in names]


def pe_spec(kind: PeKind, a_bits: int, b_bits: int) -> PeSpec:
    """Return an element of `kind` with the codes that it is for."""
    return PeSpec(kind, a_bits, b_bits, ACC_BITS, *kind.codes(a_bits))


def _units() -> list[Design]:
    designs = []
    for stem, row in TWINS.items():
        make = partial(_one_lane, row.default)
        designs.append(Design("unit", stem, parameters(make()), make, _FLOWING))
    return designs


def _one_lane(unit: StreamUnit) -> StreamUnit:
    """Return the unit with one lane, if it has several: they are equal, and abc needs hours."""
    arguments = {name: getattr(unit, name, None) for name in signature(type(unit)).parameters}
    return type(unit)(**arguments | {"lanes": 1}) if "lanes" in arguments else unit


def _elements() -> list[Design]:
    return [
        Design(
            "pe",
            kind.name,
            f"a_bits={a_bits} b_bits={b_bits} acc_bits={ACC_BITS}",
            partial(AccumulatingPe, pe_spec(kind, a_bits, b_bits)),
            _ACCUMULATING,
        )
        for kind in PE_KINDS.values()
        for a_bits, b_bits in WIDTHS
    ]
