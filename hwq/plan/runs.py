"""The order of a plan: layers that make a step, and steps that are done head by head."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hwq.compiler.program import Layer, MatmulLayer, Program, VectorLayer
from hwq.numerics.units import UNITS

Members = list[Layer]
"""The layers of one step: a matmul and what is fused to it, or one vector layer."""


@dataclass(frozen=True)
class Run:
    """Steps that are done `times` times, one after another."""

    times: int
    steps: tuple[Members, ...]

    @property
    def layers(self) -> Iterator[Layer]:
        """All layers in order."""
        return (layer for members in self.steps for layer in members)


def runs(program: Program) -> list[Run]:
    """Group the layers of a program: steps, and heads that are done one after another.

    From one matmul over heads to the next one over as many (scores, softmax, values), all that
    reads what the first made is done head by head; what does not is done before.
    """
    steps: list[Members] = []
    for layer in program.layers:
        if isinstance(layer, VectorLayer) and layer.fused:
            steps[-1].append(layer)
        else:
            steps.append([layer])
    matmuls = [i for i, members in enumerate(steps) if isinstance(members[0], MatmulLayer)]
    joined: dict[int, int] = {}
    for start, end in pairwise(matmuls):
        if start not in joined.values() and _by_head(steps[start : end + 1]):
            joined[start] = end
    result, position = [], 0
    while position < len(steps):
        end = joined.get(position, position)
        inside = steps[position : end + 1]
        members = _readers(inside) if len(inside) > 1 else inside
        result += [Run(1, (step,)) for step in inside if not any(step is m for m in members)]
        first = inside[0][0]
        result.append(Run(first.count if isinstance(first, MatmulLayer) else 1, tuple(members)))
        position = end + 1
    return result


def _readers(steps: Sequence[Members]) -> list[Members]:
    """Return the steps that read what the first one, or one that reads it, wrote."""
    tensors = {layer.out.tensor for layer in steps[0]}
    members = [steps[0]]
    for step in steps[1:]:
        if any(operand.tensor in tensors for layer in step for operand in layer.inputs):
            members.append(step)
            tensors |= {layer.out.tensor for layer in step}
    return members


def _by_head(steps: Sequence[Members]) -> bool:
    first, last = steps[0][0], steps[-1][0]
    assert isinstance(first, MatmulLayer) and isinstance(last, MatmulLayer)
    members = _readers(steps)
    if first.count == 1 or first.count != last.count or members[-1] is not steps[-1]:
        return False
    between = [layer for step in members for layer in step if isinstance(layer, VectorLayer)]
    return all(
        layer.rows % first.count == 0
        and UNITS[layer.unit].cut == "rows"
        and layer.out.along == ("rows", "length")
        for layer in between
    )


def streamed(sequence: Sequence[Run]) -> Iterator[str]:
    """Yield the tensors that only the step that writes them reads."""
    readers: dict[str, list[Members]] = {}
    for run in sequence:
        for step in run.steps:
            for layer in step:
                for operand in layer.inputs:
                    readers.setdefault(operand.tensor, []).append(step)
    for run in sequence:
        for step in run.steps:
            for layer in step:
                those = readers.get(layer.out.tensor)
                if those and all(reader is step for reader in those):
                    yield layer.out.tensor
