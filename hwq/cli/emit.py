"""`hwq emit`: a unit as Verilog, with vectors and a bench that need nothing of hwq."""

import argparse
from pathlib import Path
from typing import Any

from hwq.errors import UsageError


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "emit",
        help="write a unit as Verilog, with test vectors and a bench",
        description="Writes NAME.v, test vectors (NAME_i.hex, NAME_o.hex), a bench in Verilog that "
        "checks itself (NAME_tb.v), waivers for Verilator's lint (NAME.vlt) and a manifest "
        "(NAME.json). The same command writes the same bytes.",
    )
    add = parser.add_argument
    add("--unit", required=True, help="as `hwq list units` names it")
    add("--case", metavar="LABEL", help="verified parameters (default: the unit's own)")
    add("--out", type=Path, metavar="DIR", default=Path("build"), help="(default %(default)s)")
    add("--name", help="of the module and of the files (default: the unit's)")
    add("--vectors", type=int, metavar="N", default=4096, help="about (default %(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Write the files and name them."""
    if arguments.vectors < 1:
        raise UsageError(f"vectors must be at least 1, not {arguments.vectors}")
    name = arguments.name or arguments.unit
    from hwq.rtl.catalog import twin as row_of
    from hwq.rtl.delivery import chosen, files, write
    from hwq.testing import stimulus

    row = row_of(arguments.unit)
    if not name.isidentifier() or not name.isascii():
        raise UsageError(f"name must be a Verilog identifier, not {name!r}")
    unit, special = row.default, None
    if arguments.case is not None:
        if arguments.case not in row.verified:
            known = ", ".join(row.verified)
            raise UsageError(f"unknown case {arguments.case!r} of {arguments.unit}; known: {known}")
        unit = row.verified[arguments.case]
        special = row.stimuli.get(arguments.case)
    # a bench needs two results at least to follow each other
    least = max(arguments.vectors, 2 * unit.inputs_per_result)
    inputs = special() if special else stimulus(unit, least)
    texts = files(unit, name, chosen(unit, inputs, least))
    # Yosys knows the words of the language, and escapes them
    if f"\nmodule {name}(" not in texts[f"{name}.v"]:
        raise UsageError(f"name must not be a word of Verilog, not {name!r}")
    for path in write(texts, arguments.out):
        print(path)
