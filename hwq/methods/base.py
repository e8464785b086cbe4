"""A method turns a float graph and calibration images into a quantised graph."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hwq.errors import UsageError
from hwq.graph.ir import Graph
from hwq.methods.calibration import Calibration
from hwq.methods.formats import assign_formats, float_tensors
from hwq.methods.workspace import NO_WORKSPACE, Workspace


@dataclass(frozen=True, slots=True)
class Bits:
    """Widths of weight and activation codes.

    Parameters
    ----------
    weight, activation : int in 2..8
        The image itself is always 8-bit pixels.
    """

    weight: int
    activation: int

    def __post_init__(self) -> None:
        for name, value in (("weight", self.weight), ("activation", self.activation)):
            if not 2 <= value <= 8:
                raise UsageError(f"bits: {name} bits must be in 2..8, not {value}")

    @classmethod
    def parse(cls, text: str) -> "Bits":
        """Read "w4a8".

        Raises
        ------
        UsageError
            When the text is not of that form or a width is out of range.
        """
        match = re.fullmatch(r"w([0-9]{1,3})a([0-9]{1,3})", text)
        if match is None:
            raise UsageError(f"bits must look like w8a8, not {text!r}")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"w{self.weight}a{self.activation}"


@dataclass(frozen=True, eq=False)
class Quantized:
    """What a method returns.

    Parameters
    ----------
    graph : Graph
        Quantised: a `quantize` node on every matrix operand, a `FixedPoint` on all else.
    notes : tuple of str
        What a reader of the report must know.
    findings : Mapping
        Figures of the method's own, for the report.
    """

    graph: Graph
    notes: tuple[str, ...] = ()
    findings: Mapping[str, Any] = field(default_factory=dict)


class Method(ABC):
    """One post-training quantization algorithm; its options are dataclass fields.

    Attributes
    ----------
    name : str
        Key in `hwq.methods.catalog`.
    images : int
        How many calibration images it looks at.
    makes_images : bool
        Whether it synthesises its images from the network, and needs none.
    """

    name: ClassVar[str]
    makes_images: ClassVar[bool] = False
    images: int = 32

    @abstractmethod
    def fit(
        self,
        graph: Graph,
        calibration: Calibration,
        bits: Bits,
        workspace: Workspace = NO_WORKSPACE,
    ) -> Quantized:
        """Quantise a float graph.

        Parameters
        ----------
        graph : Graph
            Float graph whose input is 8-bit pixels.
        calibration : Calibration
            Images to look at; the labels are never used.
        bits : Bits
            Widths of the codes.
        workspace : Workspace, optional
            Seed, checkpoints and progress of a long fit.
        """

    @property
    def extends(self) -> tuple[str, Mapping[str, Any]] | None:
        """Name and options of the method whose network it goes on from; None if it starts anew."""
        return None

    def extend(
        self, base: Quantized, graph: Graph, calibration: Calibration, workspace: Workspace
    ) -> Quantized:
        """Go on from what the method that it `extends` returned for `graph`."""
        raise NotImplementedError(f"{self.name} extends no other method")


def with_formats(graph: Graph, calibration: Calibration) -> Graph:
    """Give the rest of a quantised graph its fixed-point formats, from what it computes itself."""
    return assign_formats(graph, calibration.max_abs(graph, float_tensors(graph)))
