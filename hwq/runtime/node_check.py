"""Whether every integer node computes what its node of the fake-quant graph does.

Each node is run alone, on the fake-quant graph's own values of its inputs, so that what it adds is
seen by itself and not what came before it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.errors import GraphError
from hwq.graph.ir import Graph, Node
from hwq.graph.movement import MOVEMENT
from hwq.numerics.fixed_point import FixedPoint
from hwq.quantizers.base import Quantizer
from hwq.runtime.integers import decibel
from hwq.runtime.side_by_side import Real, SideBySide

LEAST_DB = 25.0
"""A format below this does not hold its tensor; a quantizer below it is worth a note."""


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """What one node's integers are worth, given true inputs.

    Parameters
    ----------
    name, op : str
        The node of the integer graph.
    form : str
        Format of its output.
    datapath_db : float
        Power of the fake-quant tensor over that of the integers' difference from it.
    format_db : float
        The same for what a format must hold. A tensor that is only added to others counts by the
        sum, and scores by 1, as softmax turns their errors into relative ones. Codes count by how
        much further than the quantizer's own they are from the real tensor: where that lies
        between two codes, the other of them is no worse.
    quantizer_db : float or None
        SQNR of codes: power of the real tensor over that of the integers' difference from it.
    row_sum_min, row_sum_mean : float or None
        Sums of the probabilities of a softmax that belong together.
    """

    name: str
    op: str
    form: str
    datapath_db: float
    format_db: float
    quantizer_db: float | None = None
    row_sum_min: float | None = None
    row_sum_mean: float | None = None


@dataclass(frozen=True, slots=True)
class NodeCheck:
    """The figures of all nodes.

    Parameters
    ----------
    figures : Mapping[str, NodeFigures]
        By the name of the tensor.
    unchecked : tuple of str
        Integer nodes that no tensor of the fake-quant graph led to.
    """

    figures: Mapping[str, NodeFigures]
    unchecked: tuple[str, ...]

    def refuse(self) -> None:
        """Raise GraphError when a format does not hold its tensor, for the worst that does not."""
        poor = [node for node in self.figures.values() if node.format_db < LEAST_DB]
        if poor:
            worst = min(poor, key=lambda node: node.format_db)
            others = f"; so are {len(poor) - 1} other tensors" if len(poor) > 1 else ""
            raise GraphError(
                f"{worst.name} ({worst.op}): its integers, {worst.form}, are {worst.format_db:.1f} "
                f"dB from what they stand for; at least {LEAST_DB:g} dB are needed{others}"
            )

    def notes(self) -> Iterator[str]:
        """Yield what a reader of the report must know."""
        coded = [
            (node.quantizer_db, node.name)
            for node in self.figures.values()
            if node.quantizer_db is not None
        ]
        poor = [pair for pair in coded if pair[0] < LEAST_DB]
        if poor:
            value, name = min(poor)
            yield (
                f"{len(poor)} of {len(coded)} quantised activations are less than {LEAST_DB:g} dB "
                f"from their real values; the worst, {name}, {value:.1f} dB"
            )


@dataclass(slots=True)
class _Sums:
    """Powers of one node's tensors, summed over elements and images."""

    size: int = 0
    signal: float = 0.0
    noise: float = 0.0
    real_signal: float = 0.0
    real_noise: float = 0.0
    quantizer_noise: float = 0.0
    row_sums: list[Real] = field(default_factory=list)

    def add(self, computed: Real, fake: Real, real: Real | None) -> None:
        """Add a tensor: from the integers, from the fake-quant graph, and before its codes."""
        self.size += fake.size
        self.signal += _power(fake)
        self.noise += _power(computed - fake)
        if real is not None:
            self.real_signal += _power(real)
            self.real_noise += _power(computed - real)
            self.quantizer_noise += _power(fake - real)


def check_nodes(quantised: Graph, integer: Graph, images: Sequence[NDArray[np.uint8]]) -> NodeCheck:
    """Compare every node of an integer graph with the fake-quant graph it was lowered from.

    Parameters
    ----------
    quantised : Graph
        Hoisted, so that its names are the integer graph's.
    integer : Graph
        Lowered from it.
    images : sequence of uint8[C, H, W]
        One or a few.

    Raises
    ------
    GraphError
        When a node's unit cannot take its inputs, or gives another shape or type, or integers
        outside its format; the node is named.
    """
    sums: dict[str, _Sums] = {}
    visited: set[str] = set()
    for image in images:
        run = SideBySide(quantised, integer)
        for node, computed, fake in run.steps(image):
            total = sums.setdefault(node.name, _Sums())
            total.add(computed, fake, run.reals.pop(node.name, None))
            if node.op == "softmax":
                total.row_sums.append(computed.sum(-1))
        visited |= run.visited
    figures = {name: _figures(quantised, integer.by_name[name], sums) for name in sums}
    unchecked = tuple(node.name for node in integer.nodes if node.name not in visited)
    return NodeCheck(figures, unchecked)


def _power(x: Real) -> float:
    return float(np.square(x).sum())


def _figures(quantised: Graph, node: Node, sums: Mapping[str, _Sums]) -> NodeFigures:
    """Return the figures of one node."""
    total = sums[node.name]
    coded = isinstance(node.output.quant, Quantizer) and total.real_signal + total.real_noise > 0
    rows = np.concatenate([x.reshape(-1) for x in total.row_sums]) if total.row_sums else None
    if coded:
        excess = max(total.real_noise - total.quantizer_noise, 0.0)
        format_db = decibel(total.real_signal, excess)
    else:
        format_db = decibel(_reference(quantised, node.name, sums), total.noise)
    return NodeFigures(
        name=node.name,
        op=node.op,
        form=_form(node.output.quant),
        datapath_db=decibel(total.signal, total.noise),
        format_db=format_db,
        quantizer_db=decibel(total.real_signal, total.real_noise) if coded else None,
        row_sum_min=None if rows is None else float(rows.min()),
        row_sum_mean=None if rows is None else float(rows.mean()),
    )


def _reference(quantised: Graph, name: str, sums: Mapping[str, _Sums]) -> float:
    """Power that a fixed-point tensor's noise counts by; see `NodeFigures`."""
    total = sums[name]
    readers = list(_readers(quantised, name))
    if not readers:
        return total.signal
    if all(reader.op == "softmax" for reader in readers):
        return max(total.signal, float(total.size))
    if all(reader.op == "add" for reader in readers):
        parts = (sums[reader.name] for reader in readers)
        return max(total.signal, min(part.signal * total.size / part.size for part in parts))
    return total.signal


def _readers(quantised: Graph, name: str) -> Iterator[Node]:
    """Yield what reads a tensor, looking through data movement."""
    for reader in quantised.consumers(name):
        if reader.op in MOVEMENT:
            yield from _readers(quantised, reader.name)
        else:
            yield reader


def _form(quant: Any) -> str:
    """Say what integers stand for."""
    if isinstance(quant, FixedPoint):
        kind = "signed" if quant.signed else "unsigned"
        return f"{kind} {quant.bits} bits, {quant.frac} of them fraction"
    if isinstance(quant, Quantizer):
        return f"{quant.bits}-bit {quant.name} codes"
    return "mantissas and exponents"
