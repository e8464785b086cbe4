"""What a user asks for; the options of the command line are made of its fields."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from hwq.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Request:
    """A network, how it is quantised, what it runs on, and what it is measured by.

    `simulate` takes all fields; the other verbs take some and refuse the others.

    Parameters
    ----------
    model : str, optional
        See `hwq.models.catalog.create_network`.
    weights : Path, optional
        Checkpoint; without it and without `pretrained` weights are seeded random.
    pretrained : bool
        Fetch timm's weights.
    resample_pos_embed : bool
        See `hwq.models.weights.load_weights`.
    method : str, optional
        A key of `hwq.methods.catalog.METHODS`.
    base : str, optional
        The method that `scalepredictor` makes dynamic.
    bits : str, optional
        "w4a8": widths of weight and activation codes; w8a8 if not given.
    options : Mapping
        Fields of the method.
    calib : Path or "psaq", optional
        Folder of images, file of pixels, or the word for images synthesised from the network.
    seed : int, optional
        Seed for random weights, for choosing the calibration images and for noise; 0 if not given.
    device : {"cpu", "cuda"}
        Where torch runs.
    work : Path, optional
        Folder for what a stopped fit can go on from.
    resume : bool
        Go on with what the work folder holds.
    checkpoint : Path, optional
        File that `hwq.api.calibrate` wrote, instead of a method.
    accelerator : str or Path
        A preset's name, or a TOML file.
    dataflow, timing : str, optional
        Instead of the accelerator's own.
    data : Path, optional
        Folder of labelled images to measure accuracy on.
    limit : int, optional
        Measure accuracy on the first so many images only.
    picture : Path, optional
        An image whose likeliest classes in the three networks are told.

    Raises
    ------
    UsageError
        For a limit below 1, and for weights from two places.
    """

    model: str | None = None
    weights: Path | None = None
    pretrained: bool = False
    resample_pos_embed: bool = False
    method: str | None = None
    base: str | None = None
    bits: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    calib: Path | str | None = None
    seed: int | None = None
    device: str = "cpu"
    work: Path | None = None
    resume: bool = False
    checkpoint: Path | None = None
    accelerator: str | Path = "edge_32x32"
    dataflow: str | None = None
    timing: str | None = None
    data: Path | None = None
    limit: int | None = None
    picture: Path | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit must be at least 1, not {self.limit}")
        if self.weights is not None and self.pretrained:
            raise UsageError("weights and pretrained exclude each other")

    def given(self) -> dict[str, Any]:
        """Return the fields that are not as they are by default, by name."""
        default = type(self)()
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if getattr(self, f.name) != getattr(default, f.name)
        }

    def refuse(self, names: Iterable[str], why: str) -> None:
        """Raise `UsageError` for the first of these fields that is given."""
        given = self.given()
        for name in names:
            if name in given:
                raise UsageError(f"{'option' if name == 'options' else name} {why}")

    def only(self, names: Iterable[str], verb: str) -> None:
        """Raise `UsageError` for a field that is given and that a verb does not take."""
        known = set(names)
        self.refuse((f.name for f in fields(self) if f.name not in known), f"is not for {verb}")


_NETWORK = ("model", "weights", "pretrained", "resample_pos_embed")
_FIT = ("method", "base", "bits", "options", "calib", "seed", "device", "work", "resume")
_MACHINE = ("accelerator", "dataflow", "timing")

CALIBRATE: Final = (*_NETWORK, *_FIT)
"""Fields that `hwq.api.calibrate` takes."""
SIMULATE: Final = (*_NETWORK, *_FIT, "checkpoint", *_MACHINE, "data", "limit", "picture")
"""Fields that `hwq.api.simulate` takes."""
COSIMULATE: Final = (*_NETWORK, *_FIT[:-2], "checkpoint", "accelerator")
"""Fields that `hwq.api.cosimulate` takes."""
EVALUATE: Final = (*_NETWORK, "options", "calib", "seed", "device", "work", "data", "limit")
"""Fields that `hwq.api.evaluate` takes."""
IN_THE_FILE: Final = ("method", "base", "bits", "options", "calib", "seed", "work", "resume")
"""Fields that a calibrated file answers itself."""
