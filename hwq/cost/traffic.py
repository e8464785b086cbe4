"""Bits that a layer moves at each memory level; four-bit codes move half of what eight-bit do."""

from dataclasses import dataclass

from hwq.arch.accelerator import Array
from hwq.compiler.program import MatmulLayer, Operand, VectorLayer
from hwq.compiler.residency import Residency
from hwq.compiler.schedule import Schedule
from hwq.cost.systolic import map_matmul
from hwq.numerics.array import Dataflow
from hwq.numerics.unit import ceil_div


@dataclass(frozen=True, slots=True)
class BufferBits:
    """Bits read from and written to one buffer."""

    read: int = 0
    write: int = 0

    def __add__(self, other: "BufferBits") -> "BufferBits":
        return BufferBits(self.read + other.read, self.write + other.write)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bits moved: the three buffers of the accelerator, and DRAM."""

    activation: BufferBits = BufferBits()
    weight: BufferBits = BufferBits()
    output: BufferBits = BufferBits()
    dram: BufferBits = BufferBits()

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(
            self.activation + other.activation,
            self.weight + other.weight,
            self.output + other.output,
            self.dram + other.dram,
        )

    @property
    def sram(self) -> BufferBits:
        """All three buffers together."""
        return self.activation + self.weight + self.output


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


def matmul_traffic(
    layer: MatmulLayer,
    array: Array,
    dataflow: Dataflow,
    schedule: Schedule,
    residency: Residency,
) -> Traffic:
    """Traffic of a matmul over all its instances.

    Parameters
    ----------
    layer : MatmulLayer
    array : Array
    dataflow : str
    schedule : Schedule
        Its tiles say how often sums and operands move.
    residency : Residency
    """
    tiling = schedule.tiling
    stream_tiles = {
        "output_stationary": ceil_div(layer.k, tiling.tile_k),
        "weight_stationary": ceil_div(layer.rows, tiling.tile_m),
        "input_stationary": ceil_div(layer.n, tiling.tile_n),
    }[dataflow]
    accesses = array_accesses(
        layer.rows, layer.n, layer.k, array.rows, array.cols, dataflow, stream_tiles
    )
    sums = layer.count * layer.acc_bits * layer.planes
    results = layer.count * layer.rows * layer.n
    # a row of ones is made at the array's edge and not read
    a_reads = accesses.a_reads // layer.rows * layer.m
    traffic = Traffic(
        output=BufferBits(
            read=sums * accesses.sum_rereads + results * layer.acc_bits * layer.planes,
            write=sums * accesses.sum_writes,
        )
    )
    for operand, reads, times, staged in (
        (layer.a, a_reads, schedule.loads[0], "activation"),
        (layer.b, accesses.b_reads, schedule.loads[1], "weight"),
    ):
        read = layer.count * reads * operand.bits
        traffic += _operand(operand, read, times, staged, residency)
    return traffic + _result(layer.out, residency)


def vector_traffic(layer: VectorLayer, residency: Residency) -> Traffic:
    """Traffic of a vector layer; what streams past it from a matmul costs no access."""
    traffic = _result(layer.out, residency)
    if layer.op == "outlier_join":
        # an outlier adds to sums that wait in the output buffer
        sums = layer.elements * layer.out.bits
        traffic += Traffic(output=BufferBits(read=sums, write=sums))
    for operand in layer.inputs:
        if operand.tensor in residency.streamed:
            continue
        read = _read_bits(layer, operand)
        staged = "weight" if operand.constant else "activation"
        traffic += _operand(operand, read, 1, staged, residency)
    return traffic


def _read_bits(layer: VectorLayer, operand: Operand) -> int:
    """Bits of an operand that a vector layer reads from its buffer.

    An activation is read once: units of several passes over a row keep it in queues of their own.
    LayerNorm reads gamma and beta once for every row, every outlier that is joined a whole column
    of the weight. The multipliers of an epilogue are read once: they stay at the array's columns
    while a fold drains, and reloading them with the next fold is not counted.
    """
    if not operand.constant:
        return operand.total_bits
    if layer.op == "outlier_join":
        return layer.elements * operand.bits
    return (layer.rows if layer.op == "layer_norm" else 1) * operand.total_bits


def _operand(operand: Operand, read: int, loads: int, staged: str, residency: Residency) -> Traffic:
    """Reading an operand from its buffer, and bringing it there if it comes from DRAM."""
    if residency.on_chip(operand):
        buffer = "weight" if operand.constant else "activation"
        return Traffic(**{buffer: BufferBits(read=read)})
    brought = loads * operand.total_bits
    return Traffic(**{staged: BufferBits(read, brought), "dram": BufferBits(read=brought)})


def _result(out: Operand, residency: Residency) -> Traffic:
    """Writing a result where it will live.

    On its way to DRAM it leaves the output buffer through the epilogue, with no further access.
    """
    if out.tensor in residency.streamed:
        return Traffic()
    if residency.on_chip(out):
        return Traffic(activation=BufferBits(write=out.total_bits))
    return Traffic(dram=BufferBits(write=out.total_bits))
