"""Where a network is quantised: both operands of every matrix product."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import networkx as nx
import torch

from hwq.graph.ir import Constant, Graph, Node, Tensor, constant_like
from hwq.graph.ops import OPS, PRODUCTS
from hwq.methods.base import Bits
from hwq.numerics.accumulator import longest_shift
from hwq.quantizers.base import Quantizer
from hwq.quantizers.twin_uniform import GELU_MIN

_OPERANDS = ("a", "b")

DIPS: Mapping[str, float] = {
    "gelu": GELU_MIN,
    "gelu_tanh": -0.17004075057125404,
    "quick_gelu": -0.16361018963635361,
    "silu": -0.27846454276107380,
}
"""Activation functions with values below zero -> the least of them."""


@dataclass(frozen=True, slots=True)
class Site:
    """One operand of one matrix product.

    Parameters
    ----------
    consumer : str
        The `linear` or `matmul` that reads it.
    operand : str
        "a" (left: activations) or "b" (right: weights, or keys and values).
    source : str
        The tensor.
    producer : str
        The operation that computed it, looking through data movement: "layer_norm", "softmax",
        "linear", "matmul", "input" for the image; of an activation its function: "gelu", "relu".
        "weight" for that of a linear layer, "constant" for what else does not depend on the image
        (a latent query).
    dynamic : bool
        Whether both operands of the product are activations.
    """

    consumer: str
    operand: str
    source: str
    producer: str
    dynamic: bool

    @property
    def symmetric(self) -> bool:
        """Whether its codes must have no zero point: activations multiply each other."""
        return self.dynamic and self.producer != "softmax"

    @property
    def name(self) -> str:
        """Name of the site, and of the `quantize` node that will stand there."""
        return f"{self.consumer}.{self.operand}"


def longest_exponent(graph: Graph, site: Site, bits: Bits) -> int:
    """Return the largest exponent of logarithmic codes with which no accumulator overflows."""
    b_bits = bits.activation if site.dynamic else bits.weight
    return longest_shift(graph.shape(site.source)[-1], b_bits)


def find_sites(graph: Graph) -> tuple[Site, ...]:
    """Every operand of every matrix product, in graph order."""
    return tuple(
        Site(node.name, operand, source, _producer(graph, node, source), node.op == "matmul")
        for node in graph.nodes
        if node.op in PRODUCTS
        for operand, source in zip(_OPERANDS, node.inputs[:2], strict=True)
    )


def _producer(graph: Graph, product: Node, name: str) -> str:
    if product.op == "linear" and name in graph.constants:
        return "weight" if name == product.inputs[1] else "constant"
    while name in graph.by_name and OPS[graph.by_name[name].op].movement:
        name = graph.by_name[name].inputs[0]
    if name in graph.by_name:
        node = graph.by_name[name]
        return str(node.attrs["function"]) if node.op == "activation" else node.op
    return "constant" if name in graph.constants else "input"


def insert_quantizers(graph: Graph, quantizers: Mapping[str, Quantizer]) -> Graph:
    """Return the quantised graph.

    Parameters
    ----------
    graph : Graph
        Float graph.
    quantizers : Mapping[str, Quantizer]
        By site name, one for every site.

    Returns
    -------
    Graph
        With a `quantize` node before every operand of every matrix product.
    """
    nodes: list[Node] = []
    sites = {site.name: site for site in find_sites(graph)}
    for node in graph.nodes:
        if node.op not in PRODUCTS:
            nodes.append(node)
            continue
        names = tuple(f"{node.name}.{operand}" for operand in _OPERANDS)
        nodes += [_quantize(graph, sites[name], quantizers[name]) for name in names]
        nodes.append(replace(node, inputs=(*names, *node.inputs[2:])))
    return graph.rebuild(nodes)


def _quantize(graph: Graph, site: Site, quantizer: Quantizer) -> Node:
    output = Tensor(site.name, graph.shape(site.source), quant=quantizer)
    return Node("quantize", (site.source,), output)


def apply_tuned(graph: Graph, tuned: Mapping[str, torch.Tensor]) -> Graph:
    """Return the graph with new constants, and factors on the scales of `quantize` nodes.

    Parameters
    ----------
    graph : Graph
        Quantised.
    tuned : Mapping[str, Tensor]
        By name of the constant or of the node.
    """
    constants: dict[str, Constant] = dict(graph.constants)
    nodes = []
    for name, value in tuned.items():
        if name in constants:
            constants[name] = constant_like(value.numpy())
    for node in graph.nodes:
        if node.op == "quantize" and node.name in tuned:
            quantizer = node.quantizer.rescaled(tuned[node.name])
            node = replace(node, output=replace(node.output, quant=quantizer))
        nodes.append(node)
    return graph.rebuild(nodes, constants)


def without_weight_codes(graph: Graph) -> Graph:
    """Return the graph with its weights left float."""
    gone = {
        node.name: node.inputs[0]
        for node in graph.nodes
        if node.op == "quantize" and node.inputs[0] in graph.constants
    }
    nodes = [
        replace(node, inputs=tuple(gone.get(name, name) for name in node.inputs))
        for node in graph.nodes
        if node.name not in gone
    ]
    return graph.rebuild(nodes)


def predictable(graph: Graph, tap: str) -> list[str]:
    """Names of the uniform per-tensor `quantize` nodes of linear layers that come after `tap`."""
    after = nx.descendants(graph.network, tap)
    names = []
    for site in find_sites(graph):
        node = graph.by_name.get(site.source)
        if site.operand != "a" or node is None or node.name not in after:
            continue
        uniform = node.quantizer.uniform if node.quantizer is not None else None
        linear = graph.by_name[site.consumer].op == "linear"
        if linear and uniform is not None and uniform.scale.numel() == 1:
            names.append(node.name)
    return names
