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
from hwq.methods.search import (
    asymmetric,
    asymmetric_per_channel,
    least_product_error,
    symmetric,
    symmetric_per_row,
)
from hwq.methods.sites import Site, find_sites, insert_quantizers, longest_exponent
from hwq.methods.workspace import NO_WORKSPACE, Workspace
from hwq.quantizers.base import Quantizer
from hwq.quantizers.log_sqrt2 import LogSqrt2
from hwq.quantizers.uniform import Uniform


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
        per_channel = {
            name: asymmetric_per_channel(values[name], bits.activation) for name in norms
        }
        graph, folded = fold_scales(graph, per_channel)
        sites = find_sites(graph)
        sources = tuple(
            {
                site.source: None
                for site in sites
                if site.producer not in ("weight", "input") and site.source not in folded
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
        if site.producer == "weight":
            return symmetric_per_row(torch.tensor(graph.constants[site.source]), bits.weight)
        if site.producer == "input":
            return pixel_quantizer()
        if site.producer == "softmax":
            right = values[graph.by_name[site.consumer].inputs[1]]
            longest = longest_exponent(graph, site, bits)
            candidates = [LogSqrt2(bits.activation, offset, longest) for offset in range(6)]
            return least_product_error(values[site.source], right, candidates)
        if site.symmetric:
            return symmetric(values[site.source], bits.activation)
        return asymmetric(values[site.source], bits.activation)
