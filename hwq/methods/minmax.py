"""The plain baseline: ranges are the smallest and the largest value seen."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from hwq.errors import require
from hwq.graph.ir import Graph
from hwq.methods.base import Bits, Method, Quantized, with_formats
from hwq.methods.calibration import Calibration
from hwq.methods.sites import Site, find_sites, insert_quantizers, longest_exponent
from hwq.methods.workspace import NO_WORKSPACE, Workspace
from hwq.quantizers.base import Quantizer
from hwq.quantizers.log2 import Log2
from hwq.quantizers.uniform import Uniform


def pixel_quantizer() -> Uniform:
    """Quantizer of the image: its 8-bit pixels are codes already."""
    return Uniform(torch.tensor(1.0), torch.tensor(0, dtype=torch.int32), 8)


@dataclass(frozen=True)
class MinMax(Method):
    """Symmetric per-channel weights, per-tensor activations, no search.

    Queries, keys and values are symmetric, because the array multiplies them with each other;
    all other activations have a zero point, which static weights make free.

    Parameters
    ----------
    softmax : {"uniform", "log2"}
        Codes of the attention probabilities.
    softmax_bits : int in 2..8, optional
        Their width; default: as the other activations.
    """

    name: ClassVar[str] = "minmax"
    softmax: str = "uniform"
    softmax_bits: int | None = None

    def __post_init__(self) -> None:
        known = ("uniform", "log2")
        require(self.softmax in known, f"softmax must be one of {known}, not {self.softmax!r}")
        bits = self.softmax_bits
        require(bits is None or 2 <= bits <= 8, f"softmax_bits must be in 2..8, not {bits}")

    def fit(
        self,
        graph: Graph,
        calibration: Calibration,
        bits: Bits,
        workspace: Workspace = NO_WORKSPACE,
    ) -> Quantized:
        """Quantise `graph`; see `Method.fit`."""
        return self.fit_all(graph, calibration.head(self.images), bits)

    def fit_all(self, graph: Graph, calibration: Calibration, bits: Bits) -> Quantized:
        """Quantise `graph` from all images given."""
        sites = find_sites(graph)
        sources = tuple(
            {site.source: None for site in sites if site.producer not in ("weight", "input")}
        )
        low = calibration.reduce(graph, sources, lambda x: x.min())
        high = calibration.reduce(graph, sources, lambda x: x.max())
        quantizers: dict[str, Quantizer] = {}
        for site in sites:
            if site.producer == "weight":
                weight = torch.tensor(graph.constants[site.source])
                quantizers[site.name] = Uniform.symmetric(
                    weight.abs().amax(1, keepdim=True), bits.weight
                )
            elif site.producer == "input":
                quantizers[site.name] = pixel_quantizer()
            else:
                lo, hi = float(low[site.source].min()), float(high[site.source].max())
                quantizers[site.name] = self._activation(graph, site, lo, hi, bits)
        return Quantized(with_formats(insert_quantizers(graph, quantizers), calibration))

    def _activation(self, graph: Graph, site: Site, lo: float, hi: float, bits: Bits) -> Quantizer:
        width = bits.activation
        if site.producer == "softmax":
            width = self.softmax_bits or width
            if self.softmax == "log2":
                return Log2(width, max_exponent=longest_exponent(graph, site, bits))
        if site.symmetric:
            return Uniform.symmetric(max(-lo, hi), width)
        return Uniform.from_range(lo, hi, width)
