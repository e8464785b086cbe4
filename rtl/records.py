"""A plan's commands as records of the sequencer of an accelerator in gateware."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from amaranth.hdl import Shape
from amaranth.lib import data

from hwq.compiler.program import MatmulLayer, Program, VectorLayer
from hwq.errors import SpecError, require
from hwq.plan.commands import Apply, Multiply, SlotCommands, Transfer, commands, layer_names
from hwq.plan.layout import Grid
from hwq.plan.plan import Plan
from hwq.plan.slots import unroll
from hwq.plan.timing import TRANSFER_WORDS, WORK_WORDS
from hwq.rtl.accelerator import AcceleratorGateware, Unit
from hwq.rtl.addresses import beat_loops, walk
from hwq.rtl.dma import Target
from hwq.rtl.payload import ends
from hwq.rtl.sequencer import WORD_BITS
from hwq.rtl.unit_commands import Fields, UnitCommands
from hwq.rtl.vector_passes import VectorPasses

_MOST_BEATS = (1 << 16) - 1


@dataclass
class Records:
    """What an accelerator reads to run a plan: words of commands.

    Parameters
    ----------
    work, transfers : list of int
        Records, one after another, as words of 64 bits.
    before : int
        How many slots fill the weight buffer, before the first image.
    """

    work: list[int] = field(default_factory=list)
    transfers: list[int] = field(default_factory=list)
    before: int = 0


def records(
    gateware: AcceleratorGateware, plan: Plan, program: Program, slots: int | None = None
) -> Records:
    """Return the records of a plan, or of its first slots.

    Raises
    ------
    SpecError
        For what the gateware has no part for; the layer is named.
    """
    return _Recorder(gateware, plan, program).run(slots)


class _Recorder:
    def __init__(self, gateware: AcceleratorGateware, plan: Plan, program: Program) -> None:
        self._gateware, self._plan = gateware, plan
        self._grid = Grid.of(gateware.machine)
        layers = {layer.name: layer for layer in program.layers}
        self._layers = [layers[name] for name in layer_names(plan)]
        self._units = UnitCommands(gateware, self._layers)
        self._passes = VectorPasses(gateware.vector, self._grid, gateware.max_length)

    def run(self, count: int | None) -> Records:
        result = self._weights()
        slots = list(islice(commands(self._plan), count))
        owners = (slot.owner.name for slot in unroll(self._plan))
        for number, (slot, owner) in enumerate(zip(slots, owners, strict=False)):
            work = {
                "moves": bool(slot.transfers),
                "ends": number == len(slots) - 1,
                **self._work(slot),
            }
            result.work += _words(self._gateware.work_layout, WORK_WORDS, work)
            for index, transfer in enumerate(slot.transfers):
                try:
                    move = self._move(transfer)
                except SpecError as error:
                    raise SpecError(f"{owner}: {error}") from error
                moved = {"last": index == len(slot.transfers) - 1, "dma": move}
                layout = self._gateware.transfer_layout
                result.transfers += _words(layout, TRANSFER_WORDS, moved)
        return result

    def _weights(self) -> Records:
        """Fill the weight buffer, if constants live there, with what is behind the plan's DRAM."""
        ends = [
            home.base + home.bits * (home.view.last + 1)
            for home in self._plan.homes
            if home.memory == "weight"
        ]
        result, beat = Records(), self._grid.beat_bits
        beats = -(-max(ends, default=0) // beat)
        if not beats:
            return result
        layout, first = self._gateware.transfer_layout, self._plan.memory("dram").bits // beat
        work = {"unit": Unit.NONE, "moves": 1}
        result.work += _words(self._gateware.work_layout, WORK_WORDS, work)
        ratio, shapes = self._gateware.weight.ratio, self._gateware.dma.command_shape
        for begin in range(0, beats, _MOST_BEATS):
            count = min(_MOST_BEATS, beats - begin)
            memory = walk(shapes["memory"].shape, first + begin, [(count, 1)])
            moved = {
                "target": Target.WEIGHT,
                "memory": memory,
                "buffer": walk(shapes["buffer"].shape, begin * ratio, [(count, ratio)]),
            }
            record = {"last": begin + count == beats, "dma": moved}
            result.transfers += _words(layout, TRANSFER_WORDS, record)
        result.before = 1
        return result

    def _work(self, slot: SlotCommands) -> Fields:
        if not slot.work:
            return {"unit": Unit.NONE}
        first, *rest = slot.work
        layer = self._layers[first.layer]
        try:
            if isinstance(first, Multiply):
                assert isinstance(layer, MatmulLayer)
                passes = [command for command in rest if isinstance(command, Apply)]
                joiner = self._units.joiner(first, layer, passes)
                product = self._units.product(first, layer, joiner is not None)
                if not first.complete:
                    return {"unit": Unit.PRODUCT, "product": product}
                results = self._units.results(first, layer, passes)
                work = {"unit": Unit.RESULTS, "product": product, "results": results}
                return work if joiner is None else work | {"joiner": joiner}
            assert isinstance(layer, VectorLayer)
            require(not rest, "a pass by itself must be alone in its slot")
            return {"unit": Unit.VECTOR, "vector": self._passes.fields(first, layer)}
        except SpecError as error:
            raise SpecError(f"{layer.name}: {error}") from error

    def _move(self, transfer: Transfer) -> Fields:
        """Return a load or a store: beats of DRAM, and words of a buffer."""
        store = transfer.target.memory == "dram"
        there, here = (
            (transfer.target, transfer.source) if store else (transfer.source, transfer.target)
        )
        beat, layout = self._grid.beat_bits, self._gateware.dma.command_shape
        quantum = self._grid.quantum(there.bits)
        base, loops = beat_loops(there, beat, quantum)
        memory = layout["memory"].shape
        fields: Fields = {"store": store, "memory": walk(memory, base, loops)}
        base, loops = beat_loops(here, beat, quantum)
        targets = {"activation": Target.ACTIVATION, "weight": Target.WEIGHT}
        if here.memory == "parameter":
            require(not store, "a table must not leave the parameter memory")
            parameters = self._gateware.parameters
            words = loops[0][0] // parameters.beats
            loops = [(parameters.beats, 1), (words, 1 << parameters.word_shift)]
            base = base // parameters.beats << parameters.word_shift
            targets = {"parameter": Target.PARAMETER}
        else:
            ratio = self._gateware.activation.ratio
            base, loops = base * ratio, [(count, stride * ratio) for count, stride in loops]
        require(here.memory in targets, f"nothing is moved to {here.memory}")
        buffer = layout["buffer"].shape
        return fields | {
            "target": targets[here.memory],
            "buffer": walk(buffer, base, loops),
        }


def _words(layout: data.StructLayout, count: int, values: Fields) -> Iterator[int]:
    """Yield a record as words; `SpecError` for a value that does not fit its field."""
    _check(layout, values, "record")
    bits = layout.const(values).as_bits()
    for number in range(count):
        yield bits >> (number * WORD_BITS) & ((1 << WORD_BITS) - 1)


def _check(layout: Any, value: Any, name: str) -> None:
    if isinstance(value, dict):
        for part, inner in value.items():
            _check(layout[part].shape, inner, f"{name}.{part}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _check(layout.elem_shape, inner, f"{name}[{number}]")
    else:
        least, most = ends(Shape.cast(layout))
        require(least <= value <= most, f"{name} must be in {least}..{most}, not {value}")
