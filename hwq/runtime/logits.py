"""Logits of an integer network as real numbers: where its integers end."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwq.graph.ir import Graph
from hwq.numerics.fixed_point import FixedPoint
from hwq.runtime.image_executor import Execution


def to_logits(graph: Graph, runs: Sequence[Execution]) -> NDArray[np.float64]:
    """float64[B, classes]: what the integers of a graph's first output stand for in each run."""
    name = graph.outputs[0]
    form: FixedPoint = graph.tensors[name].quant
    return form.to_float(np.stack([run.values[name].reshape(-1) for run in runs]))
