"""A linear layer, from its input's codes to the next layer's, as one step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hwq.graph.ir import Node
from hwq.runtime.fused.kernels import Following, Left, Product, linear
from hwq.runtime.fused.outliers import Join, Split, linear_with_outliers
from hwq.runtime.fused.steps import (
    NO_CODES,
    NO_RESIDUAL,
    NO_RULE,
    NO_VALUES,
    Encoder,
    Rescaling,
    as_bytes,
)
from hwq.runtime.step import Array, Counts


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
    inputs: tuple[str, ...] = field(init=False)
    rescaled: str = field(init=False)

    def __post_init__(self) -> None:
        scales = None if self.encoder is None else self.encoder.scales
        names = (self.nodes[0].inputs[0], self.rescaling.scales, self.residual, scales)
        object.__setattr__(self, "inputs", tuple(name for name in names if name is not None))
        requantize = next(node.name for node in self.nodes if node.op == "requantize")
        object.__setattr__(self, "rescaled", requantize)

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
        saturations[last.name] = counts[2]
        if self.outliers is not None:
            saturations[self.nodes[0].name] = counts[0]
        saturations[self.rescaled] = counts[1]
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
