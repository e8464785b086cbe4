"""What a fused executor does, one step after the other: a node, or several as one kernel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hwq.graph.ir import Node
from hwq.numerics.layer_norm import Affine
from hwq.runtime.fused.attention import attend
from hwq.runtime.fused.kernels import (
    Encoding,
    Following,
    Join,
    Left,
    Product,
    Split,
    linear,
    linear_with_outliers,
    normalise,
)
from hwq.runtime.fused.lookup import Codes as CodeTable
from hwq.runtime.fused.rescale import Rescale, Rule, Rules
from hwq.runtime.step import Array, Counts

NO_CODES: CodeTable = (np.zeros(0, np.uint8), np.zeros((0, 2), np.int64))
NO_RULE: Rule = (np.zeros((4, 0), np.int32), np.zeros((2, 0), np.int64), 0, 0)
NO_VALUES = np.zeros(0, np.int16)
NO_RESIDUAL = np.zeros((0, 0), np.int16)


@dataclass(frozen=True, slots=True, eq=False)
class Rescaling:
    """Rescaling of a node, after scales that are computed where it has such an operand.

    Parameters
    ----------
    rescale : Rescale
    scales : str or None
        Tensor of the image's scales.
    """

    rescale: Rescale
    scales: str | None
    fixed: Rules | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fixed", self.rescale.rules() if self.scales is None else None)

    def rules(self, values: Mapping[str, Array]) -> Rules:
        """Return the rules of all heads, for one image."""
        if self.fixed is not None:
            return self.fixed
        assert self.scales is not None
        return self.rescale.rules(values[self.scales])

    def rule(self, values: Mapping[str, Array]) -> Rule:
        """Return the only rule, for one image."""
        narrow, wide, lo, hi = self.rules(values)
        return narrow[0], wide[0], lo, hi


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """Codes of 16-bit values: by a table, or by a rescaling.

    Parameters
    ----------
    table : CodeTable
        Empty where it is a rescaling, or nothing.
    rescaling : Rescaling, optional
    activation : int16[65536]
        What values become first; empty where they stay.
    """

    table: CodeTable = NO_CODES
    rescaling: Rescaling | None = None
    activation: NDArray[np.int16] = field(default_factory=lambda: NO_VALUES)

    @property
    def scales(self) -> str | None:
        """Tensor of the image's scales, if it takes one."""
        return None if self.rescaling is None else self.rescaling.scales

    def encoding(self, values: Mapping[str, Array]) -> Encoding:
        """Return what kernels take, for one image."""
        rule = NO_RULE if self.rescaling is None else self.rescaling.rule(values)
        return rule, self.table


@dataclass(frozen=True, slots=True, eq=False)
class LinearStep:
    """A linear layer, its rescaling, and a residual addition or an encoder behind it.

    Parameters
    ----------
    nodes : sequence of Node
        All that it does, from the product, or the split in front of it, to its output.
    product : pair
        Both operands.
    rescaling : Rescaling
    outliers : pair, optional
        How the input is split, and outliers joined.
    residual : str, optional
        What is added.
    encoder : Encoder, optional
    """

    nodes: Sequence[Node]
    product: tuple[Left, Product]
    rescaling: Rescaling
    outliers: tuple[Split, Join] | None = None
    residual: str | None = None
    encoder: Encoder | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that it reads."""
        scales = None if self.encoder is None else self.encoder.scales
        names = (self.nodes[0].inputs[0], self.rescaling.scales, self.residual, scales)
        return tuple(name for name in names if name is not None)

    @property
    def output(self) -> str:
        """The tensor that it computes."""
        return self.nodes[-1].name

    def run(self, values: Mapping[str, Array], saturations: Counts) -> Array:
        """See `Step`."""
        x, last = values[self.inputs[0]], self.nodes[-1]
        x = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
        out = np.empty(last.output.shape, last.output.dtype)
        rows = as_bytes(out).reshape(-1, out.shape[-1])
        left, (tag, block, right) = self.product
        operands = left, (tag, np.empty_like(block), right)
        rule, following = self.rescaling.rule(values), self._following(values, rows.shape)
        if self.outliers is None:
            counts = (0, *linear(as_bytes(x), *operands, rule, following, rows))
        else:
            counts = linear_with_outliers(x, self.outliers, *operands, rule, following, rows)
        saturations.update({node.name: 0 for node in self.nodes})
        saturations[last.name] = counts[2]
        for node, count in zip(self.nodes, counts[:1], strict=False):
            saturations[node.name] = count
        rescaled = next(node for node in self.nodes if node.op == "requantize")
        saturations[rescaled.name] = counts[1]
        return out

    def _following(self, values: Mapping[str, Array], shape: tuple[int, ...]) -> Following:
        nothing = NO_VALUES, (NO_RULE, NO_CODES)
        if self.residual is not None:
            form = self.nodes[-1].attrs["unit"].out
            residual = np.ascontiguousarray(values[self.residual]).reshape(shape)
            return residual, (form.min, form.max), *nothing
        if self.encoder is not None:
            encoding = self.encoder.encoding(values)
            return NO_RESIDUAL, (0, 0), self.encoder.activation, encoding
        return NO_RESIDUAL, (0, 0), *nothing


@dataclass(frozen=True, slots=True, eq=False)
class AttentionStep:
    """Scores, softmax, codes and values of all heads, without storing the scores.

    Parameters
    ----------
    nodes : sequence of Node
        The product, its rescaling, softmax, its encoder, the second product and its rescaling.
    products : pair
        Both operands of both products, and what sums start from, times the column sums.
    rescalings : pair
        Of both products.
    encoder : Encoder
    """

    nodes: Sequence[Node]
    products: tuple[tuple[Left, Product, int], tuple[Left, Product, int]]
    rescalings: tuple[Rescaling, Rescaling]
    encoder: Encoder

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that it reads: queries, keys, values, and scales of the image."""
        names = [*self.nodes[0].inputs, self.nodes[4].inputs[1], self.encoder.scales]
        names += [rescaling.scales for rescaling in self.rescalings]
        return tuple(name for name in names if name is not None)

    @property
    def output(self) -> str:
        """The tensor that it computes."""
        return self.nodes[-1].name

    def run(self, values: Mapping[str, Array], saturations: Counts) -> Array:
        """See `Step`."""
        q, k, v = (values[name] for name in self.inputs[:3])
        q, k, v = (_heads(x) for x in (as_bytes(q), k.swapaxes(-1, -2), v))
        softmax, last = self.nodes[2], self.nodes[-1]
        scores, results = self.rescalings
        heads, tokens, depth = q.shape[0], q.shape[1], v.shape[2]
        rows = np.empty((tokens, heads * depth), last.output.dtype)
        (left, first, factor), (codes, second, codes_factor) = self.products
        counts = attend(
            (q, k, v),
            (left, codes),
            (_with_room(first), _with_room(second)),
            (factor, codes_factor),
            (scores.rules(values), results.rules(values), softmax.attrs["unit"].frac),
            self.encoder.encoding(values),
            as_bytes(rows),
        )
        saturations.update({node.name: 0 for node in self.nodes})
        for index, count in zip((1, 3, 5), counts, strict=True):
            saturations[self.nodes[index].name] = count
        # heads stay side by side in memory, as the next layer wants them
        parts = rows.reshape(tokens, heads, depth).swapaxes(0, 1)
        return parts.reshape(last.output.shape)


def _with_room(product: Product) -> Product:
    """Return the operand with room of its own: several images may be under way."""
    tag, block, (panels, start, run) = product
    return tag, np.empty_like(block), (np.empty_like(panels), np.empty_like(start), run)


def _heads(x: Array) -> Array:
    return x.reshape(-1, *x.shape[-2:])


def as_bytes(x: Array) -> Array:
    """8-bit codes as uint8, whatever their sign: kernels see the bits; others as they are."""
    return x.view(np.uint8) if x.dtype == np.int8 else x


@dataclass(frozen=True, slots=True, eq=False)
class NormStep:
    """A layer norm and its encoder.

    Parameters
    ----------
    nodes : sequence of Node
        Both.
    norm : Affine
    encoder : Encoder
    """

    nodes: Sequence[Node]
    norm: Affine
    encoder: Encoder

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that it reads."""
        name, scales = self.nodes[0].inputs[0], self.encoder.scales
        return (name,) if scales is None else (name, scales)

    @property
    def output(self) -> str:
        """The tensor that it computes."""
        return self.nodes[-1].name

    def run(self, values: Mapping[str, Array], saturations: Counts) -> Array:
        """See `Step`."""
        first, last = self.nodes
        x = values[first.inputs[0]]
        out = np.empty(last.output.shape, last.output.dtype)
        rows = as_bytes(out).reshape(-1, out.shape[-1])
        encoding = self.encoder.encoding(values)
        x = np.ascontiguousarray(x).reshape(rows.shape)
        normed, encoded = normalise(x, self.norm, encoding, rows)
        saturations[first.name], saturations[last.name] = normed, encoded
        return out
