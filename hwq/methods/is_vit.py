"""I&S-ViT: shift-uniform-log2 attention and a three-stage smooth optimisation."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from hwq.errors import require
from hwq.graph.ir import Graph
from hwq.methods.base import Bits, Method, Quantized, with_formats
from hwq.methods.calibration import Calibration
from hwq.methods.minmax import pixel_quantizer
from hwq.methods.reconstruct import Reconstruction, reconstruct, steps_for
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
from hwq.quantizers.shift_uniform_log2 import ShiftUniformLog2
from hwq.quantizers.uniform import Uniform

_RANGE_IMAGES = 32
# the largest eta this close to the best saves shifter width: 5 bits of 15 at 4 bits
_ETA_TOLERANCE = 0.05


@dataclass(frozen=True)
class IsViT(Method):
    """Optimise with per-channel scales, fold them into per-tensor ones, optimise again.

    Source: Zhong et al., arXiv 2311.10126. Three stages:

    1. activations after LayerNorm quantised per channel, weights float: weights and biases are
       tuned block by block to undo what activation quantization does;
    2. the per-channel scales are folded into LayerNorm and the next weights;
    3. weights quantised too, tuned block by block through their rounding.

    Where this differs from the released code: the exponent is what the attention code stores, and
    eta is a power of two, so exactly 2^bits codes exist and 0 stands for 0 (trap T9); the folded
    zero point is rounded (T8); weights always have a scale per output channel, symmetric (T10);
    queries, keys and values are symmetric, which the array needs; activation scales are tuned
    along with the weights in stage 3; inputs of a block are a mixture of the float network's and
    the quantised one's in both stages (the code takes float ones in stage 1 although what comes
    before is quantised, T12).

    Parameters
    ----------
    images : int
        Calibration images; the published number is 1024.
    iterations, batch : int
        Steps per block in each of stages 1 and 3, a fifth of them at 6 bits and more, and images
        per step; published 1000, 200 at 6 bits, and 64.
    first_rate, last_rate : float
        Adam's learning rates of weights and biases in stages 1 and 3, relative to their root mean
        square, about 0.05 in DeiT; published 4e-5, not relative, for 1000 steps.
    scale_rate : float
        Learning rate of the exponents of activation scales in stage 3.
    drop : float
        Share of a block's input elements that come from the float network.
    """

    name: ClassVar[str] = "is_vit"
    images: int = 128
    iterations: int = 50
    batch: int = 16
    first_rate: float = 5e-3
    last_rate: float = 8e-3
    scale_rate: float = 1e-3
    drop: float = 0.5

    def __post_init__(self) -> None:
        require(self.images >= 1, f"images must be at least 1, not {self.images}")
        self._stages(self.iterations)

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
        norms = tuple(node.name for node in foldable_layer_norms(graph))
        values = few.collect(graph, norms)
        per_channel = {
            name: asymmetric_per_channel(values[name], bits.activation) for name in norms
        }
        first = insert_quantizers(graph, _quantizers(graph, few, per_channel, bits))
        stage_1, stage_3 = self._stages(steps_for(self.iterations, bits))
        first = reconstruct(first, graph, calibration, stage_1, workspace, "stage 1")
        smooth = graph.rebuild(graph.nodes, {**graph.constants, **first.constants})
        folded, per_tensor = fold_scales(smooth, per_channel)
        last = insert_quantizers(folded, _quantizers(folded, few, per_tensor, bits))
        last = reconstruct(last, graph, calibration, stage_3, workspace, "stage 3")
        note = (
            f"is_vit: {len(calibration)} images, 2 x {stage_3.iterations} iterations of "
            f"{self.batch} images per block (published: 1024, 2 x 1000, 64)"
        )
        if calibration.synthetic:
            note = "is_vit: not tuned (no calibration images)"
        return Quantized(with_formats(last, few), (note,))

    def _stages(self, iterations: int) -> tuple[Reconstruction, Reconstruction]:
        """How blocks are tuned in stages 1 and 3."""
        first = Reconstruction(
            iterations=iterations,
            batch=self.batch,
            weights="float",
            weight_rate=self.first_rate,
            scale_rate=0.0,
            drop=self.drop,
        )
        last = replace(
            first,
            weights="straight_through",
            weight_rate=self.last_rate,
            scale_rate=self.scale_rate,
        )
        return first, last


def _quantizers(
    graph: Graph, calibration: Calibration, known: dict[str, Uniform], bits: Bits
) -> dict[str, Quantizer]:
    """One quantizer for every site; `known` ones by source."""
    sites = find_sites(graph)
    computed = [s for s in sites if s.producer not in ("weight", "input") and s.source not in known]
    values = calibration.collect(graph, tuple({site.source: None for site in computed}))
    return {site.name: _quantizer(graph, site, values, known, bits) for site in sites}


def _quantizer(
    graph: Graph, site: Site, values: dict[str, Tensor], known: dict[str, Uniform], bits: Bits
) -> Quantizer:
    if site.source in known:
        return known[site.source]
    if site.producer == "weight":
        return symmetric_per_row(torch.tensor(graph.constants[site.source]), bits.weight)
    if site.producer == "input":
        return pixel_quantizer()
    if site.producer == "softmax":
        right = values[graph.by_name[site.consumer].inputs[1]]
        longest = longest_exponent(graph, site, bits)
        pairs = ShiftUniformLog2.candidates(bits.activation, longest)
        candidates = [ShiftUniformLog2(bits.activation, *pair) for pair in pairs]
        return least_product_error(values[site.source], right, candidates, _ETA_TOLERANCE)
    if site.symmetric:
        return symmetric(values[site.source], bits.activation)
    return asymmetric(values[site.source], bits.activation)
