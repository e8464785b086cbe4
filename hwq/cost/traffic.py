"""Bits that a step moves at each memory level; four-bit codes move half of what eight-bit do."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hwq.arch.accelerator import Array
from hwq.arch.systolic import map_matmul
from hwq.numerics.array import Dataflow
from hwq.plan.memory import MemoryName
from hwq.plan.plan import Group, Pass, Port, Product, Step


@dataclass(frozen=True, slots=True)
class MemoryBits:
    """Bits read from and written to one memory."""

    read: int = 0
    write: int = 0

    def __add__(self, other: "MemoryBits") -> "MemoryBits":
        return MemoryBits(self.read + other.read, self.write + other.write)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bits moved: the buffers of the accelerator, and DRAM."""

    activation: MemoryBits = MemoryBits()
    weight: MemoryBits = MemoryBits()
    parameter: MemoryBits = MemoryBits()
    output: MemoryBits = MemoryBits()
    dram: MemoryBits = MemoryBits()

    def add(self, memory: MemoryName, read: int = 0, write: int = 0) -> "Traffic":
        """Return the traffic with more of one memory."""
        return replace(self, **{memory: getattr(self, memory) + MemoryBits(read, write)})

    @property
    def sram(self) -> MemoryBits:
        """All buffers together."""
        return self.activation + self.weight + self.parameter + self.output


@dataclass(frozen=True, slots=True)
class ArrayAccesses:
    """Elements that cross the array's edges for one instance.

    `sum_writes` counts partial sums as well as results, `sum_rereads` the partial sums that come
    back to be added to.
    """

    a_reads: int
    b_reads: int
    sum_writes: int
    sum_rereads: int


def array_accesses(
    m: int, n: int, k: int, rows: int, columns: int, dataflow: Dataflow, stream_tiles: int = 1
) -> ArrayAccesses:
    """Elements moved by the folds of one product.

    The streaming operand is read once per fold of the dimension it does not have, the stationary
    one once for every tile of the streamed dimension; sums leave once per fold of K.
    """
    mapping = map_matmul(m, n, k, rows, columns, dataflow)
    if dataflow == "output_stationary":
        a_passes, b_passes, sums = mapping.column_folds, mapping.row_folds, stream_tiles
    elif dataflow == "weight_stationary":
        a_passes, b_passes, sums = mapping.column_folds, stream_tiles, mapping.row_folds
    else:
        a_passes, b_passes, sums = stream_tiles, mapping.column_folds, mapping.row_folds
    return ArrayAccesses(a_passes * m * k, b_passes * k * n, sums * m * n, (sums - 1) * m * n)


def product_traffic(
    group: Group, step: Step, product: Product, array: Array, moved: Mapping[str, int]
) -> Traffic:
    """Traffic of a product over all its instances.

    Parameters
    ----------
    group : Group
    step : Step
    product : Product
    array : Array
    moved : mapping of str to int
        Port -> bits that cross the DRAM bus.
    """
    m_tiles, n_tiles, k_tiles = step.tiles
    stream_tiles = {
        "output_stationary": k_tiles,
        "weight_stationary": m_tiles,
        "input_stationary": n_tiles,
    }[product.dataflow]
    # a row of ones goes ahead of every tile; it is made at the array's edge and not read
    rows = step.m + product.column_sums * m_tiles
    accesses = array_accesses(
        rows, step.n, step.k, array.rows, array.columns, product.dataflow, stream_tiles
    )
    sums = group.times * product.pe.acc_bits * product.pe.planes
    traffic = Traffic().add(
        "output",
        read=sums * (accesses.sum_rereads + rows * step.n),
        write=sums * accesses.sum_writes,
    )
    a_reads = accesses.a_reads // rows * step.m
    for port, reads in zip(step.inputs[:2], (a_reads, accesses.b_reads), strict=True):
        traffic = _read(traffic, port, group.times * reads * port.bits, moved)
    return _written(traffic, step, product.writes, moved)


def pass_traffic(group: Group, step: Step, work: Pass, moved: Mapping[str, int]) -> Traffic:
    """Traffic of a pass; what streams past it from the array costs no access.

    An operand is read once: units of several passes over a row keep it in queues of their own.
    LayerNorm reads gamma and beta for every row, the join of outliers a whole row of the product's
    operand b for each; what it adds goes to the output buffer once, and comes back. The multipliers
    of an epilogue stay at the array's columns while a fold drains, and reloading them with the next
    fold is not counted.
    """
    traffic = Traffic()
    for port in step.inputs:
        if port.name not in work.reads:
            continue
        if port.name == "b":
            traffic = traffic.add("weight", read=work.rows * work.length * port.bits)
            continue
        elements = port.view.elements
        if work.op == "layer_norm" and not port.moves[1]:
            elements *= work.rows
        traffic = _read(traffic, port, max(elements * port.bits, moved.get(port.name, 0)), moved)
    if step.product is not None and work.op == "outlier_join":
        sums = work.results * step.product.pe.acc_bits
        traffic = traffic.add("output", read=sums, write=sums)
    return _written(traffic, step, work.writes, moved)


def _read(traffic: Traffic, port: Port, bits: int, moved: Mapping[str, int]) -> Traffic:
    """Reading an operand from its buffer, and bringing it there if it comes from DRAM."""
    if port.stage is None:
        return traffic.add(port.memory, read=bits)
    brought = moved[port.name]
    return traffic.add(port.stage.memory, read=bits, write=brought).add("dram", read=brought)


def _written(traffic: Traffic, step: Step, tensor: str, moved: Mapping[str, int]) -> Traffic:
    """Writing results where they live; on their way to DRAM they wait in a block."""
    for port in step.outputs:
        if port.tensor != tensor:
            continue
        if port.stage is None:
            return traffic.add(port.memory, write=port.view.elements * port.bits)
        bits = moved[port.name]
        return traffic.add(port.stage.memory, read=bits, write=bits).add("dram", write=bits)
    return traffic
