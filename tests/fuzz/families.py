"""The families, and how many of 20 cases each gets."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from tests.fuzz.harness import Family

FAMILIES: Mapping[str, tuple[str, int]] = {
    "calibrated": ("CalibratedFiles", 6),
    "weights": ("Weights", 3),
    "images": ("Images", 3),
    "accelerators": ("Accelerators", 3),
    "options": ("Options", 2),
    "arguments": ("Arguments", 1),
    "read_back": ("ReadBack", 2),
}
"""Module of this package -> its class, and its share."""


def make_family(name: str, folder: Path) -> Family:
    """Return a family that writes its files below `folder`."""
    kind, _ = FAMILIES[name]
    family: Family = getattr(import_module(f"tests.fuzz.{name}"), kind)(folder)
    return family


def share_of(name: str, cases: int) -> int:
    """Return how many of all cases are of this family."""
    return cases * FAMILIES[name][1] // sum(share for _, share in FAMILIES.values())
