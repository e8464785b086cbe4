"""From what a calibrated network was made."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Origin:
    """From what a calibrated network was made; JSON types only.

    Parameters
    ----------
    model : str
        As `hwq.models.catalog.create_network` takes it.
    weights : {"file", "pretrained", "random"}
    weights_sha256 : str
        SHA-256 of the file, or else of the module's parameters.
    method, base, bits : str
        `base` is None for a method without one.
    options : Mapping
        All other fields of the method, defaults included.
    seed : int
    device : str
        Where torch ran.
    calibration : Mapping
        source: "images", "psaq" or "noise"; images: how many; sha256: of their pixels.
    preprocessing : Mapping
        What an image goes through: the fields of `hwq.models.preprocessing.Preprocessing`.
    versions : Mapping
        Versions of hwq, torch, numpy and timm.
    """

    model: str
    weights: str
    weights_sha256: str
    method: str
    base: str | None
    bits: str
    options: Mapping[str, Any]
    seed: int
    device: str
    calibration: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types: what a file holds."""
        plain: dict[str, Any] = json.loads(json.dumps(json_types(asdict(self))))
        return plain


def json_types(value: Any) -> Any:
    """JSON types, None for a number that JSON cannot write."""
    if isinstance(value, Mapping):
        return {str(key): json_types(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [json_types(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
