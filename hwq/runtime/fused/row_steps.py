"""Steps that take rows one by one: a layer norm and its codes, codes by themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwq.graph.ir import Node
from hwq.numerics.layer_norm import Affine
from hwq.runtime.fused.kernels import encode_rows, normalise
from hwq.runtime.fused.steps import Encoder, as_bytes
from hwq.runtime.step import Array, Counts


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


@dataclass(frozen=True, slots=True, eq=False)
class EncodeStep:
    """An encoder of 16-bit values by itself.

    Parameters
    ----------
    nodes : sequence of Node
        It alone.
    encoder : Encoder
    """

    nodes: Sequence[Node]
    encoder: Encoder

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that it reads."""
        return self.nodes[0].inputs

    @property
    def output(self) -> str:
        """The tensor that it computes."""
        return self.nodes[0].name

    def run(self, values: Mapping[str, Array], saturations: Counts) -> Array:
        """See `Step`."""
        node = self.nodes[0]
        out = np.empty(node.output.shape, node.output.dtype)
        rows = as_bytes(out).reshape(-1, out.shape[-1])
        x = np.ascontiguousarray(values[node.inputs[0]]).reshape(rows.shape)
        saturations[node.name] = encode_rows(x, self.encoder.encoding(values), rows)
        return out
