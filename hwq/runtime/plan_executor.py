"""Runs a plan: a plain interpreter of its commands over memories of bytes.

It is to the accelerator what an instruction-set simulator is to a processor: it knows nothing but
commands, memories and the reference of every unit. What it computes equals `ReferenceExecutor`; the
cycles that it counts, event by event, equal the closed forms of `hwq.cost`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.compiler.operand import Operand
from hwq.compiler.program import Layer, MatmulLayer, Program, VectorLayer
from hwq.errors import DataError
from hwq.numerics.pe import wrapped
from hwq.plan.commands import (
    Apply,
    Multiply,
    Transfer,
    commands,
    home_addresses,
    layer_names,
    memory_images,
)
from hwq.plan.plan import Plan
from hwq.plan.window import Window
from hwq.plan.words import decode, encode
from hwq.runtime.event_clock import EventClock
from hwq.runtime.plan_units import UNITS, State, elementwise

Int = NDArray[np.int64]
Watch = Callable[[int, Layer, Multiply | Apply, Any], None]
"""Is told what a layer has stored: in which slot, by which command, the integers or words there."""


class PlanExecutor:
    """Runs one plan.

    Parameters
    ----------
    plan : Plan
    program : Program
        What was planned; it has the specs of the units, and the constants.
    """

    def __init__(self, plan: Plan, program: Program) -> None:
        self.plan, self.program = plan, program
        layers = {layer.name: layer for layer in program.layers}
        self._layers = [layers[name] for name in layer_names(plan)]
        self._state: State = {}
        self._stream: dict[str, Any] = {}
        self._slot = 0

    def run(
        self,
        image: NDArray[np.uint8],
        moves_first: bool = False,
        clock: EventClock | None = None,
        watch: Watch | None = None,
    ) -> dict[str, Int]:
        """Run on one image, and return the results of the program by name.

        Parameters
        ----------
        image : uint8[C, H, W]
            Pixels.
        moves_first : bool
            Whether the DMA runs ahead of the array in every slot, or behind it; a correct plan
            does the same in either order.
        clock : EventClock, optional
            Counts the cycles.
        watch : callable, optional
            Is called whenever a layer has stored a part of its output, with what the memory then
            holds.

        Raises
        ------
        DataError
            If a command reads or writes outside a memory, or what does not fit there.
        """
        self.memories = memory_images(self.plan, self.program.constants)
        self._state, self._stream = {}, {}
        names = {layer.out.tensor for layer in self.program.layers}
        for home in self.plan.homes:
            if home.tensor not in names and home.tensor not in self.program.constants:
                pixels = image.ravel().astype(np.int64)
                self.memories[home.memory].write(
                    home_addresses(home), pixels, home.bits, signed=False
                )
        for number, words in enumerate(map(encode, commands(self.plan))):
            self._slot, slot = number, decode(words)
            if clock is not None:
                clock.advance(slot)
            try:
                parts: list[Sequence[Multiply | Apply | Transfer]] = [slot.work, slot.transfers]
                for part in reversed(parts) if moves_first else parts:
                    for command in part:
                        self._do(command, watch)
            except ValueError as error:
                raise DataError(f"plan {self.plan.name}: {error}") from error
        outs = {layer.out.tensor: layer.out for layer in self.program.layers}
        return {
            home.tensor: self.memories[home.memory].read(
                home_addresses(home), home.bits, outs[home.tensor].signed
            )
            for home in self.plan.homes
            if home.tensor in outs
        }

    def read(self, window: Window, operand: Operand) -> Any:
        """Return the elements of a window: integers, or the fields of words."""
        memory, addresses = self.memories[window.memory], window.addresses()
        if operand.fields:
            return memory.read_words(addresses, operand.fields)
        return memory.read(addresses, operand.bits, operand.signed).astype(operand.dtype)

    def _do(self, command: Multiply | Apply | Transfer, watch: Watch | None) -> None:
        if isinstance(command, Transfer):
            source, target = command.source, command.target
            self.memories[source.memory].copy(
                source.addresses(), self.memories[target.memory], target.addresses(), source.bits
            )
            return
        layer = self._layers[command.layer]
        if isinstance(command, Multiply):
            assert isinstance(layer, MatmulLayer)
            values = self._multiply(command, layer)
        else:
            assert isinstance(layer, VectorLayer)
            values = self._apply(command, layer)
        if values is None:
            return
        self._stream[layer.out.tensor] = values
        window = command.writes
        if window is not None:
            self._write(window, layer.out, values)
            if watch is not None:
                watch(self._slot, layer, command, self.read(window, layer.out))

    def _write(self, window: Window, operand: Operand, values: Any) -> None:
        memory, addresses = self.memories[window.memory], window.addresses()
        if operand.fields:
            shaped = {name: array.reshape(addresses.shape) for name, array in values.items()}
            memory.write_words(addresses, shaped, operand.fields)
        else:
            wide = values.astype(np.int64).reshape(addresses.shape)
            memory.write(addresses, wide, operand.bits, operand.signed)

    def _multiply(self, command: Multiply, layer: MatmulLayer) -> Int | None:
        """sums[m, n, plane] += the products of the codes; complete sums are weighted and joined."""
        pe, memory = layer.pe, self.memories[command.sums.memory]
        a = self.read(command.a, layer.a)[0].astype(np.int64) & ((1 << pe.a_bits) - 1)
        b = self.read(command.b, layer.b)[0].astype(np.int64)
        planes = [_matmul(table[a], b) for table in pe.tables()]
        sums = np.stack(planes, axis=-1)
        if layer.column_sums:
            ones = np.zeros((1, *sums.shape[1:]), np.int64)
            ones[0, :, 0] = b.sum(axis=0)
            sums = np.concatenate([ones, sums])
        addresses = command.sums.addresses()
        if not command.first:
            sums = sums + memory.read(addresses, pe.acc_bits, signed=True)
        sums = wrapped(sums, pe.acc_bits)
        memory.write(addresses, sums, pe.acc_bits, signed=True)
        if not command.complete:
            return None
        joined: Int = sums @ np.array(layer.plane_weights, np.int64)
        if layer.column_sums:
            # the sums over b's columns are one plane's
            joined = joined[1:] - layer.offset * sums[0, :, 0]
        return joined

    def _apply(self, command: Apply, layer: VectorLayer) -> Any:
        operands = []
        for window, operand in zip(command.reads, layer.inputs, strict=True):
            if window is None:
                operands.append(self._stream[operand.tensor].astype(operand.dtype))
            elif "all" in operand.along and len(operand.along) == 1:
                operands.append(self.read(window, operand))
            else:
                operands.append(_tile(self.read(window, operand), operand.along, command.size))
        unit: Any = UNITS.get(layer.op, elementwise)
        return unit(self._state, command, layer, operands)


def _matmul(a: Int, b: Int) -> Int:
    """int64[m, k] x int64[k, n] -> int64[m, n]: by float64 where that is exact."""
    bound = int(np.abs(a).max(initial=0)) * int(np.abs(b).max(initial=0)) * a.shape[1]
    if bound < 1 << 53:
        return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)
    return a @ b


def _tile(values: Any, along: Sequence[str], size: tuple[int, int]) -> Any:
    """Return what was read as rows and columns of the tile."""
    if isinstance(values, Mapping):
        return {name: _tile(array, along, size) for name, array in values.items()}
    if along == ("length",):
        return values.reshape(1, size[1])
    if along == ("rows",):
        return values.reshape(size[0], 1)
    if along == ("count", "k", "n"):
        return values[0]
    return values.reshape(size)
