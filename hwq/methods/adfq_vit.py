"""ADFQ-ViT: per-token scales with outliers set aside, shifted log codes, attention-aware tuning."""

from dataclasses import dataclass, replace
from math import ceil
from typing import Any, ClassVar

import torch
from torch import Tensor

from hwq.errors import require
from hwq.graph.ir import Graph
from hwq.methods.base import Bits, Method, Quantized, with_formats
from hwq.methods.calibration import Calibration
from hwq.methods.minmax import pixel_quantizer
from hwq.methods.reconstruct import Reconstruction, reconstruct, steps_for
from hwq.methods.search import (
    asymmetric,
    least_error,
    least_product_error,
    quantile,
    sample,
    symmetric,
    symmetric_per_row,
)
from hwq.methods.sites import DIPS, Site, find_sites, insert_quantizers, longest_exponent
from hwq.methods.workspace import NO_WORKSPACE, Workspace
from hwq.quantizers.base import Quantizer
from hwq.quantizers.log_sqrt2 import LogSqrt2
from hwq.quantizers.per_patch_outlier import PerPatchOutlier
from hwq.quantizers.shift_log2 import ShiftLog2

_RANGE_IMAGES = 32
_GELU_MIN = -0.17
_GRID_FRAC = 10  # most formats of GELU outputs have as many fraction bits or more
_PEAKS = (1.0, 0.99999, 0.9999, 0.999)


@dataclass(frozen=True)
class AdfqViT(Method):
    """Per-token scales and an outlier path after LayerNorm, shifted logs after GELU, A-MO.

    Source: arXiv 2407.02763; of the paper only the abstract could be read, the rest is the released
    code. Where this differs from that code: outliers are 16-bit integers in units of their token's
    scale instead of float32, and the threshold is the quantile of |x| that leaves out the share
    `outliers`, instead of 5 or 10 (trap T18); the zero point is one for all tokens; the shift of
    GELU outputs is a static 0.17 in the bias, not the minimum of the tensor at hand, with base
    sqrt(2) as the code has it although the paper says log2 (T15); the divergence of the attention
    is over the keys, between the scores' own distributions (T16); rounding passes gradients
    everywhere (T17); queries, keys, values and weights are symmetric, found by a percentile search
    (T17b); the image is 8-bit pixels (T23). Post-softmax codes are log-sqrt(2).

    Parameters
    ----------
    outliers : float
        Share of LayerNorm outputs that leave the dense path; 0 for none.
    images : int
        Calibration images; the code takes 1024.
    iterations, batch : int
        Steps per module, attention and MLP each, a fifth of them at 6 bits and more, and images
        per step; the code takes 3000 and 32.
    rate, rounding_rate, scale_rate : float
        Adam's learning rates: of weights and biases, relative to their root mean square; of
        AdaRound's alpha; of the exponents of scales.
    rounding : {"learned", "straight_through"}
        How weights are tuned: AdaRound as in the code, which needs its thousands of steps, or
        through their rounding.
    attention_weight, temperature : float
        Temperature of the divergence in attention modules; 10 and 4 in the code.
    """

    name: ClassVar[str] = "adfq_vit"
    outliers: float = 0.005
    images: int = 128
    iterations: int = 50
    batch: int = 16
    rate: float = 8e-3
    rounding_rate: float = 1e-2
    scale_rate: float = 1e-3
    rounding: str = "straight_through"
    attention_weight: float = 10.0
    temperature: float = 4.0

    def __post_init__(self) -> None:
        require(0 <= self.outliers <= 0.1, f"outliers must be in 0..0.1, not {self.outliers}")
        known = ("learned", "straight_through")
        require(self.rounding in known, f"rounding must be one of {known}, not {self.rounding!r}")
        require(self.images >= 1, f"images must be at least 1, not {self.images}")
        self._settings(self.iterations)

    def fit(
        self,
        graph: Graph,
        calibration: Calibration,
        bits: Bits,
        workspace: Workspace = NO_WORKSPACE,
    ) -> Quantized:
        """Quantise `graph`; see `Method.fit`."""
        calibration = calibration.head(self.images)
        few = calibration.head(_RANGE_IMAGES)
        sites = find_sites(graph)
        sources = {site.source: None for site in sites if site.producer not in _GIVEN}
        values = few.collect(graph, tuple(sources))
        quantizers = {site.name: self._quantizer(graph, site, values, bits) for site in sites}
        settings = self._settings(steps_for(self.iterations, bits))
        quantised = insert_quantizers(graph, quantizers)
        quantised = reconstruct(quantised, graph, calibration, settings, workspace, "tuning")
        quantised = _on_grid(quantised)
        note = (
            f"adfq_vit: {len(calibration)} images, {settings.iterations} iterations of "
            f"{self.batch} images per module (published code: 1024, 3000, 32)"
        )
        if calibration.synthetic:
            note = "adfq_vit: not tuned (no calibration images)"
        findings = self._findings(quantizers, values, {site.name: site for site in sites})
        return Quantized(with_formats(quantised, few), (note,), findings)

    def _settings(self, iterations: int) -> Reconstruction:
        """How modules are tuned."""
        return Reconstruction(
            iterations=iterations,
            batch=self.batch,
            weights="rounding" if self.rounding == "learned" else "straight_through",
            weight_rate=self.rate,
            rounding_rate=self.rounding_rate,
            scale_rate=self.scale_rate,
            attention_weight=self.attention_weight,
            temperature=self.temperature,
            blocks=False,
        )

    def _quantizer(
        self, graph: Graph, site: Site, values: dict[str, Tensor], bits: Bits
    ) -> Quantizer:
        width = bits.activation
        if site.producer == "weight":
            return symmetric_per_row(torch.tensor(graph.constants[site.source]), bits.weight)
        if site.producer == "input":
            return pixel_quantizer()
        x = values[site.source]
        if site.producer == "softmax":
            right = values[graph.by_name[site.consumer].inputs[1]]
            longest = longest_exponent(graph, site, bits)
            candidates = [LogSqrt2(width, offset, longest) for offset in range(6)]
            return least_product_error(x, right, candidates)
        if site.producer == "layer_norm" and not site.dynamic and x.ndim > 2:
            return PerPatchOutlier.from_values(x, width, self.outliers)
        if site.producer in DIPS:
            longest = longest_exponent(graph, site, bits)
            return _after_dip(x, min(_GELU_MIN, DIPS[site.producer]), width, longest)
        return symmetric(x, width) if site.symmetric else asymmetric(x, width)

    def _findings(
        self,
        quantizers: dict[str, Quantizer],
        values: dict[str, Tensor],
        sites: dict[str, Site],
    ) -> dict[str, Any]:
        """Which share of the elements takes the outlier path, by calibration."""
        shares = {
            name: quantizer.facts()["outlier_fraction"]
            for name, quantizer in quantizers.items()
            if quantizer.side is not None
        }
        sizes = {name: values[sites[name].source][0].numel() for name in shares}
        return {
            "outlier_share_asked": self.outliers,
            "outliers_per_image": sum(ceil(shares[name] * sizes[name]) for name in shares),
            "outlier_share": shares,
        }


_GIVEN = ("weight", "input")


def _on_grid(graph: Graph) -> Graph:
    """Return the graph whose shifted logarithms have distances that fixed point can add."""
    changed = {}
    for node in graph.nodes:
        if node.quantizer is not None:
            output = replace(node.output, quant=node.quantizer.on_grid(_GRID_FRAC))
            changed[node.name] = replace(node, output=output)
    return graph.replace_nodes(changed)


def _after_dip(x: Tensor, least: float, bits: int, longest: int) -> Quantizer:
    """The shifted log-sqrt(2) quantizer from `least` whose top fits the outputs best."""
    subset = sample(x)
    ordered = subset.sort().values
    tops = [max(float(quantile(ordered, part)), 2.0**-8) for part in _PEAKS]
    candidates = [ShiftLog2.from_range(least, top, bits, max_exponent=longest) for top in tops]
    return least_error(subset, candidates)
