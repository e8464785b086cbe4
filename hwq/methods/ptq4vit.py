"""PTQ4ViT: twin uniform codes, and scales that disturb the task loss least."""

from dataclasses import dataclass
from math import floor, log2
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hwq.errors import require
from hwq.graph.ir import Graph, Node
from hwq.graph.movement import move
from hwq.graph.ops import OPS, PRODUCTS
from hwq.methods.base import Bits, Method, Quantized, with_formats
from hwq.methods.calibration import Calibration
from hwq.methods.minmax import pixel_quantizer
from hwq.methods.output_search import METRICS, Choices, fixed, search, symmetric_choices
from hwq.methods.product_samples import ProductSample, sample_products
from hwq.methods.sites import DIPS, Site, find_sites, insert_quantizers
from hwq.methods.workspace import NO_WORKSPACE, Workspace
from hwq.numerics.accumulator import MAX_ACCUMULATOR, accumulator_bound
from hwq.quantizers.base import Quantizer
from hwq.quantizers.twin_uniform import TwinUniform

WEIGHTS = ("per_tensor", "per_channel")


@dataclass(frozen=True)
class Ptq4ViT(Method):
    """Both quantizers of every product searched by the gradient-weighted error of its output.

    Source: Yuan et al., ECCV 2022, arXiv 2111.12293. Attention probabilities and GELU outputs
    take twin uniform codes, all else symmetric uniform ones; layers are searched independently,
    from the float network's activations. Scales are per tensor, with one for each of the rows of
    q, k and v of a fused weight, per head for the operands q, k and v, and per output channel in
    the patch embedding. What is sampled: `rows` tokens per image and product, drawn in proportion
    to their squared gradient; every candidate is tried on all of them.

    Where this differs from the released code: the gradient is that of the cross entropy against
    the float network's own label, because that of the published loss is zero (trap T1); a number
    is quantised in one range only (T2); the coarse scale is 2^m times the fine one after GELU as
    well (T3); a code has one meaning (T4, T5); the largest candidate, beta, is tried (T6); m is
    chosen with the values quantised (T7).

    Parameters
    ----------
    metric : {"hessian", "mse", "cosine"}
        What a candidate is judged by; "hessian" weighs errors by squared gradients.
    twin : int
        1 for twin uniform codes, 0 for symmetric uniform ones everywhere.
    rounds : int
        How often the two operands of a product take turns, at most.
    candidates : int
        Scales tried per operand, evenly from `alpha` to `beta` times the one that reaches the
        largest magnitude.
    alpha, beta : float
        0 < alpha < beta.
    weights : {"per_tensor", "per_channel"}
        Granularity of the weight scales; "per_tensor" as published.
    softmax_m, gelu_m : int
        Largest distance m of the two ranges; less where the codes or the accumulators are too
        narrow for it.
    rows : int
        Tokens drawn per image and product.
    images : int
        Calibration images.
    """

    name: ClassVar[str] = "ptq4vit"
    metric: str = "hessian"
    twin: int = 1
    rounds: int = 3
    candidates: int = 100
    alpha: float = 0.01
    beta: float = 1.2
    weights: str = "per_tensor"
    softmax_m: int = 8
    gelu_m: int = 10
    rows: int = 32
    images: int = 32

    def __post_init__(self) -> None:
        _one_of("metric", self.metric, METRICS)
        _one_of("weights", self.weights, WEIGHTS)
        _one_of("twin", self.twin, (0, 1))
        least = {"rounds": 1, "candidates": 2, "softmax_m": 0, "gelu_m": 0, "rows": 1, "images": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            whole = isinstance(value, int) and value >= bound
            require(whole, f"{name} must be a whole number from {bound} on, not {value!r}")
        ordered = _is_real(self.alpha) and _is_real(self.beta) and 0 < self.alpha < self.beta
        require(ordered, f"0 < alpha < beta must hold, not alpha {self.alpha}, beta {self.beta}")

    def fit(
        self,
        graph: Graph,
        calibration: Calibration,
        bits: Bits,
        workspace: Workspace = NO_WORKSPACE,
    ) -> Quantized:
        """Quantise `graph`; see `Method.fit`."""
        calibration = calibration.head(self.images)
        hessian = self.metric == "hessian"
        samples = sample_products(graph, calibration, self.rows, hessian, workspace)
        sites = {site.name: site for site in find_sites(graph)}
        quantizers: dict[str, Quantizer] = {}
        for name, sample in workspace.track(list(samples.items()), "scales", len(samples)):
            node = graph.by_name[name]
            left = self._left(node, sites[f"{name}.a"], sample, bits)
            right = self._right(graph, node, sites[f"{name}.a"], sample, bits)
            # as published: weights before their activations, but queries before keys
            order = "ba" if node.op == "linear" else "ab"
            best = search(sample, left, right, order, self.metric, self.rounds)
            quantizers[f"{name}.a"], quantizers[f"{name}.b"] = best
        findings = {
            f"{form}_m": {
                name: quantizer.facts()["m"]
                for name, quantizer in quantizers.items()
                if quantizer.facts().get("form") == form
            }
            for form in ("softmax", "gelu")
        }
        quantised = with_formats(insert_quantizers(graph, quantizers), calibration)
        return Quantized(quantised, findings=findings)

    @property
    def factors(self) -> Tensor:
        """Candidates of a scale, relative to the one that reaches the largest magnitude."""
        return torch.linspace(self.alpha, self.beta, self.candidates)

    def _left(self, node: Node, site: Site, sample: ProductSample, bits: Bits) -> Choices:
        if site.producer == "input":
            return fixed(pixel_quantizer())
        width = bits.activation
        if self.twin and site.producer in ("softmax", *DIPS):
            limit = self.softmax_m if site.producer == "softmax" else self.gelu_m
            right = bits.weight if node.op == "linear" else bits.activation
            most = largest_m(sample.a.shape[-1], width, right, limit)
            if site.producer == "softmax":
                return Choices(lambda index: TwinUniform.softmax(width, int(index)), most + 1)
            least = DIPS[site.producer]
            return _gelu_choices(float(sample.peak_a.amax()), least, self.factors, width, most)
        if node.op == "linear" or site.producer == "softmax":
            whole = sample.peak_a.reshape(-1).amax(0, keepdim=True)
            return symmetric_choices(whole, self.factors, width, _scalar)
        return symmetric_choices(sample.peak_a, self.factors, width, _heads)

    def _right(
        self, graph: Graph, node: Node, left: Site, sample: ProductSample, bits: Bits
    ) -> Choices:
        if node.op == "matmul":
            return symmetric_choices(sample.peak_b, self.factors, bits.activation, _heads)
        per_channel = self.weights == "per_channel" or left.producer == "input"
        rows = len(sample.b)
        parts = rows if per_channel else output_parts(graph, node)
        peaks = sample.b.cpu().reshape(parts, -1).abs().amax(1)

        def spread(peak: Tensor) -> Tensor:
            return peak.repeat_interleave(rows // parts)[:, None] if parts > 1 else _scalar(peak)

        return symmetric_choices(peaks, self.factors, bits.weight, spread)


def largest_m(depth: int, bits: int, right_bits: int, limit: int) -> int:
    """Return the largest distance m of the two ranges of a twin uniform code, at most `limit`.

    Parameters
    ----------
    depth : int
        Products that an accumulator sums.
    bits, right_bits : int
        Widths of the twin codes and of the symmetric codes they multiply.
    limit : int
        Not negative; 0 is the answer even where nothing fits.
    """
    top = (1 << (bits - 1)) - 1
    fits = [
        m
        for m in range(limit + 1)
        if top << m <= 1 << 15
        and accumulator_bound(depth, top << m, 1 << (right_bits - 1)) <= MAX_ACCUMULATOR
    ]
    return max(fits, default=0)


def output_parts(graph: Graph, linear: Node) -> int:
    """Number of equal runs of output channels of a `linear` that go to operands of their own.

    3 for a fused q, k, v weight; 1 for any other layer, and where the runs are not equal or
    interleaved.
    """
    channels = np.broadcast_to(np.arange(linear.output.shape[-1]), linear.output.shape)
    operands = _operands(graph, linear.name, channels)
    if len(operands) < 2:
        return 1
    runs = sorted((np.unique(operand).tolist() for operand in operands), key=lambda run: run[0])
    size = linear.output.shape[-1] // len(runs)
    equal = [list(range(i * size, (i + 1) * size)) for i in range(len(runs))]
    return len(runs) if runs == equal else 1


def _operands(graph: Graph, name: str, ids: Any) -> list[Any]:
    """What of `ids`, an array like tensor `name`, reaches each operand of a matrix product."""
    operands = []
    for reader in graph.consumers(name):
        if reader.op in PRODUCTS:
            operands.append(ids)
        elif OPS[reader.op].movement and len(reader.inputs) == 1:
            operands += _operands(graph, reader.name, move(reader, [ids]))
    return operands


def _gelu_choices(peak: float, least: float, factors: Tensor, bits: int, most: int) -> Choices:
    """Coarse ranges that reach peak times a factor, each with the finest fine range that fits.

    The fine range holds the least value of the function, so that negatives never clip; m follows
    from both.
    """

    def make(index: Tensor) -> TwinUniform:
        reach = peak * float(factors[index])
        octaves = floor(log2(reach / -least)) if reach > -least else 0
        return TwinUniform.gelu(reach, bits, min(octaves, most), least)

    return Choices(make, len(factors), start=int((factors - 1).abs().argmin()))


def _scalar(peak: Tensor) -> Tensor:
    return peak[0]


def _heads(peak: Tensor) -> Tensor:
    return peak.reshape(-1, 1, 1)


def _one_of(name: str, value: object, known: tuple[Any, ...]) -> None:
    require(value in known, f"{name} must be one of {known}, not {value!r}")


def _is_real(value: object) -> bool:
    return isinstance(value, int | float)
