"""Scores, softmax, codes and values of all heads as one step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwq.graph.ir import Node
from hwq.runtime.fused.attention import attend
from hwq.runtime.fused.kernels import Left, Product
from hwq.runtime.fused.steps import Encoder, Rescaling, as_bytes
from hwq.runtime.step import Array, Counts


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
