"""Fixed-point formats of everything that is not a code: residuals, scores, unit inputs."""

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite

import networkx as nx
import numpy as np

from hwq.errors import GraphError
from hwq.graph.ir import Graph
from hwq.graph.ops import OPS
from hwq.numerics.fixed_point import FixedPoint

RESIDUAL_BITS = 16
_PROBABILITY = FixedPoint(16, 16, signed=False)
_ACTIVATION_FRAC, _ACTIVATION_MIN_FRAC = 12, 8
_MAX_FRAC = 31
# how far beyond the calibrated maximum a format reaches: other images exceed it
_HEADROOM = 1.25
# these make the ranges of a scale predictor, and its corrections
_RANGES = frozenset({"range_extract", "scale_predictor"})
# tensors of these operations share one format: a sum is then exact
_TIED = frozenset({"add", "concat"})


def assign_formats(graph: Graph, max_abs: Mapping[str, float]) -> Graph:
    """Give every tensor that carries reals a `FixedPoint` format.

    Parameters
    ----------
    graph : Graph
        Quantised graph.
    max_abs : Mapping[str, float]
        Largest magnitude of each float tensor seen in calibration.

    Returns
    -------
    Graph
        The same graph; each non-code tensor has `quant` set. The residual stream (everything
        that additions and concatenations tie together) shares one 16-bit power-of-two scale.

    Raises
    ------
    GraphError
        When a tensor was not finite in calibration; the first is named.
    """
    formats: dict[str, FixedPoint] = {}
    for group in _groups(graph):
        peaks = [max_abs.get(name, 0.0) for name in group]
        bound = float(np.max([*peaks, _largest_constant(graph, group)]))
        if not isfinite(bound):
            raise GraphError(f"{_first(graph, group)}: its values are not finite in calibration")
        form = _format(graph, group, bound)
        formats.update(dict.fromkeys(group, form))
    nodes = [
        node
        if node.name not in formats
        else replace(node, output=replace(node.output, quant=formats[node.name]))
        for node in graph.nodes
    ]
    return replace(graph, nodes=tuple(nodes))


def _first(graph: Graph, group: set[str]) -> str:
    """Return the first of a group, with the operation that makes it."""
    node = next(node for node in graph.nodes if node.name in group)
    return f"{node.name} ({node.op})"


def float_tensors(graph: Graph) -> tuple[str, ...]:
    """Names of the tensors that need a format: all but codes, and the ranges of a predictor."""
    ranges: set[str] = set()
    for node in graph.nodes:
        if node.op in _RANGES or (node.inputs and ranges.issuperset(node.inputs)):
            ranges.add(node.name)
    return tuple(
        node.name for node in graph.nodes if node.op != "quantize" and node.name not in ranges
    )


def _groups(graph: Graph) -> list[set[str]]:
    """Sets of tensors that must share a format."""
    ties: nx.Graph[str] = nx.Graph()
    names = set(float_tensors(graph))
    ties.add_nodes_from(names)
    for node in graph.nodes:
        if node.op in _TIED or (OPS[node.op].movement and node.name in names):
            ties.add_edges_from((node.name, name) for name in node.inputs if name in names)
    order = {name: index for index, name in enumerate(float_tensors(graph))}
    return sorted(nx.connected_components(ties), key=lambda group: min(order[n] for n in group))


def _largest_constant(graph: Graph, group: set[str]) -> float:
    """Largest magnitude of the constants that are added to a group, or concatenated with it."""
    peaks = [
        float(np.abs(graph.constants[source]).max())
        for name in group
        if graph.by_name[name].op in _TIED
        for source in graph.by_name[name].inputs
        if source in graph.constants
    ]
    return max(peaks, default=0.0)


def _format(graph: Graph, group: set[str], bound: float) -> FixedPoint:
    """Return a format that holds `bound`: the unit's own where all of the group come from it."""
    producers = {n.op for n in map(graph.by_name.__getitem__, group) if not OPS[n.op].movement}
    readers = {reader.op for name in group for reader in graph.consumers(name)}
    if producers == {"softmax"}:
        return _PROBABILITY
    if producers == {"activation"}:
        return FixedPoint(_activation_bits(bound), _ACTIVATION_FRAC)
    if producers & _TIED:
        return _covering(bound)
    if "activation" in readers:
        form = _covering(bound, _ACTIVATION_FRAC)
        return FixedPoint(16, max(form.frac, _ACTIVATION_MIN_FRAC))
    if "softmax" in readers:
        return _covering(bound, _ACTIVATION_FRAC)
    return _covering(bound)


def _covering(bound: float, max_frac: int = _MAX_FRAC) -> FixedPoint:
    """Return the 16-bit format for tensors up to `bound`, and some headroom.

    Nothing is known of what was never but zero: its unit is 1.
    """
    if bound == 0:
        return FixedPoint(RESIDUAL_BITS, 0)
    return FixedPoint.covering(bound * _HEADROOM, RESIDUAL_BITS, max_frac)


def _activation_bits(bound: float) -> int:
    """Width of an activation with 12 fraction bits."""
    return max(16, 16 + _ACTIVATION_FRAC - _covering(bound).frac)
