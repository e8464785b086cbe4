"""`hwq list`: the names that the other verbs take."""

import argparse
from typing import Any


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("list", help="names of models, methods, accelerators and units")
    kinds = ("models", "methods", "accelerators", "quantizers", "units")
    parser.add_argument("what", choices=kinds)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print one name per line."""
    for name in _names(arguments.what):
        print(name)


def _names(what: str) -> list[str]:
    if what == "models":
        from hwq.models.catalog import list_models

        return list_models()
    if what == "methods":
        from hwq.methods.catalog import METHODS

        return list(METHODS)
    if what == "quantizers":
        from hwq.quantizers.catalog import QUANTIZERS

        return list(QUANTIZERS)
    if what == "units":
        from hwq.rtl.catalog import UNITS

        return list(UNITS)
    from hwq.arch.load import list_accelerators

    return list(list_accelerators())
