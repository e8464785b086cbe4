"""The layers as CSV: one row each, nested fields joined by an underscore."""

import csv
import io
from pathlib import Path
from typing import Any

from hwq.cost.result import SimulationResult
from hwq.files import write_text


def to_csv(result: SimulationResult) -> str:
    """Return the layers of a result as CSV text; what does not apply is empty."""
    rows = [_flat(layer) for layer in result.to_dict()["layers"]]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_csv(result: SimulationResult, path: str | Path) -> None:
    """Write the layers to `path`, whole or not at all.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    write_text(path, to_csv(result))


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """{"bits": {"a": 8}} becomes {"bits_a": 8}; "energy_pj" keeps its unit last."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            stem, unit = (key[: -len("_pj")], "_pj") if key.endswith("_pj") else (key, "")
            flat |= {f"{stem}_{name}{unit}": item for name, item in value.items()}
        else:
            flat[key] = value
    return flat
