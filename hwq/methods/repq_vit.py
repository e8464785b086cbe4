"""RepQ-ViT: quantise with complex quantizers, run with simple ones."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hwq.graph.ir import Graph
from hwq.methods.base import Bits, Method, Quantized, with_formats
from hwq.methods.calibration import Calibration
from hwq.methods.minmax import pixel_quantizer
from hwq.methods.reparameterize import fold_scales, foldable_layer_norms
from hwq.methods.search import asymmetric, symmetric, symmetric_per_row
from hwq.methods.sites import Site, find_sites, insert_quantizers
from hwq.methods.workspace import NO_WORKSPACE, Workspace
from hwq.quantizers.base import Quantizer
from hwq.quantizers.log_sqrt2 import LogSqrt2
from hwq.quantizers.uniform import Uniform

_SHRINK = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)


@dataclass(frozen=True)
class RepqViT(Method):
    """Per-channel scales after LayerNorm folded away; log-sqrt(2) attention probabilities.

    Source: Li et al., ICCV 2023, arXiv 2212.08254. Where this differs from the released code: the
    folded zero point is rounded (trap T8), weights and queries, keys and values are symmetric so
    that the array owes no correction, the zero code of the log-sqrt(2) quantizer is one of its
    2^bits codes (trap T13), and its scale is a power of sqrt(2).
    """

    name: ClassVar[str] = "repq_vit"

    def fit(
        self,
        graph: Graph,
        calibration: Calibration,
        bits: Bits,
        workspace: Workspace = NO_WORKSPACE,
    ) -> Quantized:
        """Quantise `graph`; see `Method.fit`."""
        calibration = calibration.head(self.images)
        norms = tuple(node.name for node in foldable_layer_norms(graph))
        values = calibration.collect(graph, norms)
        per_channel = {name: _per_channel(values[name], bits.activation) for name in norms}
        graph, folded = fold_scales(graph, per_channel)
        sites = find_sites(graph)
        sources = tuple(
            {
                site.source: None
                for site in sites
                if site.producer not in ("constant", "input") and site.source not in folded
            }
        )
        values = calibration.collect(graph, sources)
        quantizers = {
            site.name: self._quantizer(graph, site, values, folded, bits) for site in sites
        }
        return Quantized(with_formats(insert_quantizers(graph, quantizers), calibration))

    def _quantizer(
        self,
        graph: Graph,
        site: Site,
        values: dict[str, Tensor],
        folded: dict[str, Uniform],
        bits: Bits,
    ) -> Quantizer:
        if site.source in folded:
            return folded[site.source]
        if site.producer == "constant":
            return symmetric_per_row(torch.tensor(graph.constants[site.source]), bits.weight)
        if site.producer == "input":
            return pixel_quantizer()
        if site.producer == "softmax":
            return _probabilities(graph, site, values, bits.activation)
        if site.symmetric:
            return symmetric(values[site.source], bits.activation)
        return asymmetric(values[site.source], bits.activation)


def _per_channel(x: Tensor, bits: int) -> Uniform:
    """Return the quantizer of float[..., D] with the least squared error in every channel."""
    rows = x.reshape(-1, x.shape[-1])
    low, high = rows.amin(0), rows.amax(0)
    best = torch.full_like(low, torch.inf)
    factor = torch.ones_like(low)
    for shrink in _SHRINK:
        quantizer = Uniform.from_range(low * shrink, high * shrink, bits)
        error = (quantizer.decode(quantizer.encode(rows)) - rows).square().sum(0)
        factor = torch.where(error < best, shrink, factor)
        best = torch.minimum(error, best)
    return Uniform.from_range(low * factor, high * factor, bits)


def _probabilities(graph: Graph, site: Site, values: dict[str, Tensor], bits: int) -> Quantizer:
    """The log-sqrt(2) quantizer whose scale disturbs attention times values least."""
    attention = values[site.source]
    product = graph.by_name[site.consumer]
    right = values[product.inputs[1]]
    target = attention @ right

    def error(quantizer: Quantizer) -> float:
        return float((quantizer.fake_quantize(attention) @ right - target).square().mean())

    candidates = [LogSqrt2(bits, offset) for offset in range(6)]
    scored = [(error(quantizer), quantizer) for quantizer in candidates]
    return min(scored, key=lambda pair: pair[0])[1]
