"""Rows of every matrix product in the float network, and how much the task loss minds them."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hwq.graph.ir import Graph, Node
from hwq.graph.ops import PRODUCTS
from hwq.methods.calibration import Calibration
from hwq.methods.workspace import NO_WORKSPACE, Workspace
from hwq.runtime.float_executor import TorchExecutor

# share of the rows that is drawn whatever their gradient
_EVEN = 0.1


@dataclass(frozen=True, eq=False)
class ProductSample:
    """Some rows of one matrix product, from all calibration images; B images, G heads or 1.

    Parameters
    ----------
    op : {"linear", "matmul"}
        The operation.
    a : float32[n, K] or float32[B, G, r, K]
        Rows of the left operand.
    b : float32[N, K] or float32[B, G, K, N]
        The right operand, whole.
    bias : float32[N], optional
        Bias of a `linear`.
    out : float32[n, N] or float32[B, G, r, N]
        What the float network computes from them; of a `matmul` without its factor alpha.
    grad : float32, as `out`, optional
        Gradient of the loss by `out`, up to one factor per product, each row divided by the square
        root of its chance of being drawn: sums of squares are unbiased. None for equal weights.
    peak_a, peak_b : float32[] or float32[G]
        Largest magnitude of each whole operand, of a `matmul` per head; on the CPU.
    """

    op: str
    a: Tensor
    b: Tensor
    bias: Tensor | None
    out: Tensor
    grad: Tensor | None
    peak_a: Tensor
    peak_b: Tensor

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """Return what the operation makes of other operands of these shapes."""
        return F.linear(a, b, self.bias) if self.op == "linear" else torch.matmul(a, b)


def sample_products(
    graph: Graph,
    calibration: Calibration,
    rows: int,
    gradients: bool,
    workspace: Workspace = NO_WORKSPACE,
) -> dict[str, ProductSample]:
    """Run the float network on every image, once forward and once backward for all products.

    The loss is the cross entropy against the label that the float network itself gives. The
    published code takes its KL divergence from its own prediction, whose gradient is zero
    (trap T1).

    Parameters
    ----------
    graph : Graph
        Float graph.
    calibration : Calibration
        Images; the gradient of one at a time is held.
    rows : int
        Tokens drawn per image and product, the same ones for all heads of a `matmul`; at most as
        many as there are. With gradients a token is drawn with a chance that grows with its
        squared gradient (in the last block only the class token has one).
    gradients : bool
        Whether to compute them; without, all tokens are alike.
    workspace : Workspace, optional
        Seed of the drawing, and progress.

    Returns
    -------
    dict[str, ProductSample]
        By product, in graph order.
    """
    products = [node for node in graph.nodes if node.op in PRODUCTS]
    executor = TorchExecutor(graph, device=calibration.device)
    names = [name for node in products for name in (node.name, *node.inputs)]
    pieces: dict[str, list[ProductSample]] = {node.name: [] for node in products}
    images = [image for batch in calibration.batches() for image in batch]
    tracked = workspace.track(images, "gradients", len(images))
    for step, image in enumerate(tracked):
        pixels = image[None].to(executor.device).requires_grad_(gradients)
        with torch.set_grad_enabled(gradients):
            values = executor.run(
                {graph.inputs[0].name: pixels}, list(dict.fromkeys([*names, graph.outputs[0]]))
            )
        grads = _gradients(values, products, graph.outputs[0]) if gradients else {}
        generator = workspace.generator(step)
        for node in products:
            start = float(torch.rand((), generator=generator))
            pieces[node.name].append(
                _draw(node, values, grads.get(node.name), min(rows, node.output.shape[-2]), start)
            )
    return {name: _join(pieces.pop(name)) for name in list(pieces)}


def _gradients(
    values: Mapping[str, Tensor], products: list[Node], logits: str
) -> dict[str, Tensor]:
    """Gradient of the cross entropy against the network's own label, by every product's output."""
    scores = values[logits].reshape(1, -1)
    loss = F.cross_entropy(scores, scores.argmax(1))
    outputs = [values[node.name] for node in products]
    gradients = torch.autograd.grad(loss, outputs, allow_unused=True, materialize_grads=True)
    return {node.name: grad for node, grad in zip(products, gradients, strict=True)}


def _draw(
    node: Node, values: Mapping[str, Tensor], grad: Tensor | None, rows: int, start: float
) -> ProductSample:
    """Take `rows` rows of one image; `start` in [0, 1) says which."""
    a, b = (values[name].detach() for name in node.inputs[:2])
    out = values[node.name].detach()
    bias = values[node.inputs[2]].detach() if len(node.inputs) > 2 else None
    alpha = node.attrs.get("alpha", 1.0)
    tokens = out.shape[-2]
    energy = torch.ones(tokens)
    if grad is not None and rows < tokens:  # otherwise every row comes once
        others = [axis for axis in range(out.ndim) if axis != out.ndim - 2]
        energy = grad.square().sum(others).cpu()
    chosen, chance = systematic(energy.double(), rows, start)
    index = chosen.to(out.device)
    if grad is not None:
        # a squared error counts 1 / (rows * chance) times
        weight = (rows * chance).rsqrt().to(grad)
        grad = _stacked(node, grad.index_select(-2, index) * weight[:, None])
    heads = b.broadcast_to(*a.shape[:-2], *b.shape[-2:]) if node.op == "matmul" else b
    return ProductSample(
        op=node.op,
        a=_stacked(node, a.index_select(-2, index)),
        b=b if node.op == "linear" else _stacked(node, heads),
        bias=bias,
        out=_stacked(node, out.index_select(-2, index) / alpha),
        grad=grad,
        peak_a=_peak(node, a),
        peak_b=_peak(node, heads),
    )


def systematic(energy: Tensor, rows: int, start: float) -> tuple[Tensor, Tensor]:
    """Draw `rows` indices with replacement, at even steps through the cumulated chances.

    Parameters
    ----------
    energy : float64[T]
        Not negative; a chance is a tenth even, nine tenths in proportion to it.
    rows : int
        How many.
    start : float in [0, 1)
        Where in the first step to begin.

    Returns
    -------
    index : int64[rows]
        Ascending; equal energies are drawn at most once while rows <= T.
    chance : float64[rows]
        Chance of each drawn index, in one draw.
    """
    even = torch.full_like(energy, 1.0 / len(energy))
    total = energy.sum()
    share = torch.where(total > 0, energy / total.clamp(min=torch.finfo(total.dtype).tiny), even)
    chance = (1 - _EVEN) * share + _EVEN * even
    steps = (torch.arange(rows, dtype=energy.dtype) + start) / rows
    index = torch.searchsorted(chance.cumsum(0), steps, right=True).clamp(max=len(energy) - 1)
    return index, chance[index]


def _stacked(node: Node, value: Tensor) -> Tensor:
    """float[1, T, D] -> float[T, D] of a `linear`; float[..., G, T, D] -> [B, G, T, D]."""
    if node.op == "linear":
        return value.reshape(-1, value.shape[-1])
    heads = value.shape[-3] if value.ndim > 2 else 1
    return value.reshape(-1, heads, *value.shape[-2:])


def _peak(node: Node, value: Tensor) -> Tensor:
    magnitude = value.abs().cpu()
    if node.op == "linear":
        return magnitude.amax()
    return _stacked(node, magnitude).amax((0, 2, 3))


def _join(parts: list[ProductSample]) -> ProductSample:
    """Put the images of one product together."""
    first = parts[0]
    grads = [part.grad for part in parts if part.grad is not None]
    grad = torch.cat(grads) if grads else None
    if grad is not None:
        # one factor for all changes no choice, and keeps squares within float32
        grad = grad / grad.abs().amax().clamp(min=torch.finfo(grad.dtype).tiny)
    return ProductSample(
        op=first.op,
        a=torch.cat([part.a for part in parts]),
        b=first.b if first.op == "linear" else torch.cat([part.b for part in parts]),
        bias=first.bias,
        out=torch.cat([part.out for part in parts]),
        grad=grad,
        peak_a=torch.stack([part.peak_a for part in parts]).amax(0),
        peak_b=torch.stack([part.peak_b for part in parts]).amax(0),
    )
