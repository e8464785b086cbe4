"""The result as JSON, schema `hwq.result/1` (`hwq/report/schema.json`)."""

import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, cast

from hwq.cost.result import SimulationResult
from hwq.files import write_text


def to_json(result: SimulationResult) -> str:
    """Return the result as indented JSON text."""
    return json.dumps(result.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(result: SimulationResult, path: str | Path) -> None:
    """Write the result to `path`, whole or not at all.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    write_text(path, to_json(result))


@cache
def load_schema() -> dict[str, Any]:
    """Return the JSON schema of a result (draft 2020-12)."""
    text = resources.files("hwq.report").joinpath("schema.json").read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))
