"""A plan: what one image makes one accelerator do, in order of time, with every address.

The machine works in *slots*. In a slot, the array computes one tile, or the vector unit one block
of rows, while the DMA moves what the next slot needs and what the slot before has made; a slot
ends when both are done. Slots are not listed: a *step* is a nest of loops over tiles, and a *group*
repeats its steps, head by head. `hwq.plan.slots` unrolls them.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from hwq.arch.kinds import DataflowChoice, Timing
from hwq.compiler.view import View
from hwq.numerics.array import Dataflow
from hwq.numerics.pe import PeSpec
from hwq.plan.memory import Home, Memory, MemoryName, Stage

Loop = Literal["c", "m", "n", "k", "all"]
"""What an axis of a port runs along: instances, tiles of M, N or K; "all" is never cut."""


@dataclass(frozen=True)
class Port:
    """A tensor as a step reads or writes it.

    Parameters
    ----------
    name : str
        "a" or "b" of a product; else the pass and the number of the operand, or what is written.
    tensor : str
    bits : int
        Room of a code.
    signed : bool
        Whether codes are two's complement.
    view : View
        Elements of the tensor.
    along : tuple of str
        The loop of each axis of the view.
    memory : str
        Where the tensor lies.
    base : int
        Bit address of its first element.
    stage : Stage, optional
        Where its blocks are on chip, if the tensor lies in DRAM.
    early : bool
        The first block is loaded under the step before.
    """

    name: str
    tensor: str
    bits: int
    signed: bool
    view: View
    along: tuple[Loop, ...]
    memory: MemoryName
    base: int
    stage: Stage | None = None
    early: bool = False

    @cached_property
    def moves(self) -> tuple[bool, bool, bool, bool]:
        """Whether other elements come with other instances, tiles of M, of N, of K."""
        loops = {loop for axis, loop in enumerate(self.along) if self.view.moves(axis)}
        return "c" in loops, "m" in loops, "n" in loops, "k" in loops

    @cached_property
    def row(self) -> int:
        """The axis along which elements are neighbours: the last one, if there is none."""
        axes = [axis for axis, levels in enumerate(self.view.axes) if levels and levels[-1][1] == 1]
        return axes[-1] if axes else len(self.along) - 1

    def block_bits(self, m: Any, n: Any, k: Any) -> Any:
        """Return the bits of one block, for a tile of extents m, n, k: numbers or arrays."""
        assert self.stage is not None
        extents = {"c": 1, "m": m, "n": n, "k": k}
        bits = self.bits
        for axis, loop in enumerate(self.along):
            count: Any = 1
            if self.view.moves(axis):
                count = self.view.shape[axis] if loop == "all" else extents[loop]
            if axis == self.row:
                count = -(-count // self.stage.quantum) * self.stage.quantum
            bits = bits * count
        return bits


@dataclass(frozen=True, slots=True)
class Product:
    """What the array does in a step: sums of a x b, tile by tile.

    Parameters
    ----------
    name : str
        Module path of the layer.
    pe : PeSpec
        Processing element, with the tables of operand a's codes.
    dataflow : str
    column_sums : bool
        A row of ones goes ahead of every tile, for the sums over b's columns.
    offset : int
        How many column sums are subtracted.
    plane_weights : tuple of int
        What a sum of each plane counts.
    writes : str
        Tensor of the sums.
    sums_base : int
        Bit address of the sums of a tile, in the output buffer.
    joined : bool
        What outliers add lies there beside the sums of each tile.
    """

    name: str
    pe: PeSpec
    dataflow: Dataflow
    column_sums: bool
    offset: int
    plane_weights: tuple[int, ...]
    writes: str
    sums_base: int
    joined: bool = False

    @property
    def sum_bits(self) -> int:
        """Room of one result: its accumulators, and beside them what is joined."""
        return self.pe.acc_bits * (self.pe.planes + self.joined)

    def tile_sums_bits(self, m: int, n: int) -> int:
        """Room of the sums of a tile."""
        return (m + self.column_sums) * n * self.sum_bits


@dataclass(frozen=True, slots=True)
class Pass:
    """What one unit of the vector unit does in a step.

    Parameters
    ----------
    name, op, unit : str
        Module path; what is done; stem of the unit that does it.
    rows, length : int
        The work of all instances, as in `hwq.compiler.program.VectorLayer`.
    bits : int
        Width of the first operand.
    reads : tuple of str
        Names of ports, or tensors that stream out of the array or an earlier pass of the step.
    writes : str
        Tensor of the results.
    results, result_bits : int
        How many results, and the width of one.
    """

    name: str
    op: str
    unit: str
    rows: int
    length: int
    bits: int
    reads: tuple[str, ...]
    writes: str
    results: int
    result_bits: int


@dataclass(frozen=True)
class Step:
    """A product with the passes behind it, or one pass, over all tiles of one instance.

    Parameters
    ----------
    m, n, k : int
        Extents; a pass has m rows of n elements.
    tile_m, tile_n, tile_k : int
        Extents of a tile; tiles at the edges are smaller.
    m_outer : bool
        Whether tiles of M or of N are the outer loop; tiles of K are the inner one.
    product : Product or None
    passes : tuple of Pass
    inputs, outputs : tuple of Port
    waits : bool
        Everything is moved before the step begins, the last results of the step before first.
    """

    m: int
    n: int
    k: int
    tile_m: int
    tile_n: int
    tile_k: int
    m_outer: bool
    product: Product | None
    passes: tuple[Pass, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    waits: bool = True

    @property
    def name(self) -> str:
        """The name of its first layer."""
        return self.product.name if self.product else self.passes[0].name

    @cached_property
    def turns_b(self) -> bool:
        """Whether operand b's elements are neighbours along K, so that blocks are turned."""
        if self.product is None:
            return False
        b = self.inputs[1]
        return b.along[b.row] == "k"

    @cached_property
    def tiles(self) -> tuple[int, int, int]:
        """Number of tiles along m, n, k."""
        return -(-self.m // self.tile_m), -(-self.n // self.tile_n), -(-self.k // self.tile_k)

    @cached_property
    def staged_inputs(self) -> tuple[Port, ...]:
        """Ports whose blocks are loaded from DRAM."""
        return tuple(port for port in self.inputs if port.stage)

    @cached_property
    def staged_outputs(self) -> tuple[Port, ...]:
        """Ports whose blocks are stored to DRAM."""
        return tuple(port for port in self.outputs if port.stage)

    @property
    def ports(self) -> tuple[Port, ...]:
        """All ports."""
        return self.inputs + self.outputs


@dataclass(frozen=True)
class Group:
    """Steps that are done one after another, `times` times: once for every instance."""

    times: int
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Plan:
    """What one image makes one accelerator do.

    Parameters
    ----------
    name : str
        The network's.
    accelerator : str
        The machine's.
    dataflow, timing : str
        What was asked for: a dataflow or "auto", and the convention for the cycles of a product.
    lanes : int
        Elements of a word, at which rows begin.
    memories : tuple of Memory
    homes : tuple of Home
        Constants, the image, and the results.
    groups : tuple of Group
        In order of time.
    """

    name: str
    accelerator: str
    dataflow: DataflowChoice
    timing: Timing
    lanes: int
    memories: tuple[Memory, ...]
    homes: tuple[Home, ...]
    groups: tuple[Group, ...]

    def memory(self, name: MemoryName) -> Memory:
        """Return the memory of that name."""
        return next(memory for memory in self.memories if memory.name == name)
