"""Which activations stay on chip between the layer that writes them and the last that reads them.

Rules, in execution order:

* A tensor that only fused layers right behind its producer read is *streamed*: never stored.
* Any other activation that fits beside those already there is *resident* in the activation buffer.
  A quarter of the buffer is kept for tiles of operands that come from DRAM.
* A vector layer works row by row, so its result may take the place of an input that dies there.
* From one matmul over heads to the next one over as many heads (scores, softmax, values), layers
  run head by head: of the tensors in between, two heads are stored, not all.
* What no layer reads is a result of the program and goes to DRAM.
* Weights stay on chip only if all of the program's constants fit in the weight buffer together.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from hwq.arch.accelerator import Accelerator
from hwq.compiler.program import Layer, MatmulLayer, Operand, Program, VectorLayer
from hwq.numerics.unit import ceil_div

_RESIDENT_SHARE: Final = (3, 4)
_HEADS_STORED: Final = 2  # one being written while the other is read


@dataclass(frozen=True, slots=True)
class Residency:
    """Where the tensors of a program live.

    Parameters
    ----------
    streamed, resident : frozenset of str
        Tensors that are never stored; activations that stay in the activation buffer.
    resident_bits : tuple of int
        What the residents occupy while each layer runs.
    weight_bits : int
        What the constants occupy in the weight buffer, 0 if they do not stay there.
    """

    streamed: frozenset[str]
    resident: frozenset[str]
    resident_bits: tuple[int, ...]
    weight_bits: int

    def on_chip(self, operand: Operand) -> bool:
        """Whether reading or writing the operand needs no DRAM."""
        if operand.constant:
            return self.weight_bits > 0
        return operand.tensor in self.resident or operand.tensor in self.streamed


def groups(program: Program) -> Iterator[range]:
    """Positions of layers that run together: a matmul and what is fused to it, or one layer."""
    start = 0
    for position in range(1, len(program.layers) + 1):
        layer = program.layers[position] if position < len(program.layers) else None
        if not (isinstance(layer, VectorLayer) and layer.fused):
            yield range(start, position)
            start = position


def plan_residency(program: Program, accelerator: Accelerator) -> Residency:
    """Decide for every tensor of the program where it lives."""
    streamed = _streamed(program)
    stored_bits = _stored_bits(program)
    last_reader = _last_reader(program)
    share, whole = _RESIDENT_SHARE
    capacity = accelerator.sram.activation.size_bits * share // whole
    live: dict[str, int] = {}
    resident: set[str] = set()
    occupied: list[int] = []
    for group in groups(program):
        layers = [program.layers[position] for position in group]
        dying = {name for name in live if last_reader[name] in group}
        before = sum(live.values())
        if not isinstance(layers[0], MatmulLayer):
            _drop(live, dying)
        for layer in layers:
            name = layer.out.tensor
            if name in streamed or name not in last_reader:
                continue
            if sum(live.values()) + stored_bits[name] <= capacity:
                live[name] = stored_bits[name]
                resident.add(name)
        occupied += [max(before, sum(live.values()))] * len(layers)
        _drop(live, dying)
    return Residency(
        streamed, frozenset(resident), tuple(occupied), _constant_bits(program, accelerator)
    )


def _drop(live: dict[str, int], names: Iterable[str]) -> None:
    for name in names:
        live.pop(name, None)


def _last_reader(program: Program) -> dict[str, int]:
    return {
        operand.tensor: position
        for position, layer in enumerate(program.layers)
        for operand in layer.inputs
    }


def _streamed(program: Program) -> frozenset[str]:
    readers: dict[str, set[int]] = {}
    for position, layer in enumerate(program.layers):
        for operand in layer.inputs:
            readers.setdefault(operand.tensor, set()).add(position)
    return frozenset(
        program.layers[position].out.tensor
        for group in groups(program)
        for position in group
        if (found := readers.get(program.layers[position].out.tensor)) and found <= {*group}
    )


def _stored_bits(program: Program) -> dict[str, int]:
    """Bits that each written tensor occupies if it stays on chip."""
    bits = {layer.out.tensor: layer.out.total_bits for layer in program.layers}
    last_reader = _last_reader(program)
    for last, heads, tensors in _head_runs(program):
        for name in tensors:
            if last_reader.get(name, len(program.layers)) <= last:
                bits[name] = ceil_div(bits[name], heads) * min(heads, _HEADS_STORED)
    return bits


def _head_runs(program: Program) -> Iterator[tuple[int, int, set[str]]]:
    """Last position, heads and tensors of each run of layers that can work head by head.

    A run goes from a matmul over several heads to the next one, over as many. A layer in between
    that reads nothing of the run is executed before it.
    """
    layers = program.layers
    matmuls = [i for i, layer in enumerate(layers) if isinstance(layer, MatmulLayer)]
    for start, end in pairwise(matmuls):
        heads = _heads(layers[start])
        if heads == 1 or heads != _heads(layers[end]):
            continue
        tensors = {layers[start].out.tensor}
        members = [layer for layer in layers[start + 1 : end] if _joins(layer, tensors)]
        if _reads(layers[end], tensors) and all(x.out.elements % heads == 0 for x in members):
            yield end, heads, tensors


def _heads(layer: Layer) -> int:
    return layer.count if isinstance(layer, MatmulLayer) else 1


def _reads(layer: Layer, tensors: set[str]) -> bool:
    return any(operand.tensor in tensors for operand in layer.inputs)


def _joins(layer: Layer, tensors: set[str]) -> bool:
    """Whether the layer reads one of `tensors`; what it writes then joins them."""
    joins = _reads(layer, tensors)
    if joins:
        tensors.add(layer.out.tensor)
    return joins


def _constant_bits(program: Program, accelerator: Accelerator) -> int:
    constants: dict[str, int] = {}
    for layer in program.layers:
        for operand in layer.inputs:
            if operand.constant:  # of which another layer may read a part
                known = constants.get(operand.tensor, 0)
                constants[operand.tensor] = max(known, operand.total_bits)
    total = sum(constants.values())
    return total if total <= accelerator.sram.weight.size_bits else 0
