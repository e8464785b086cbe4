"""A program: what one image asks of an accelerator, layer by layer, in execution order.

The lowered graph is written down as a `Program`; tiling, schedule and cost read nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from numpy.typing import NDArray

from hwq.compiler.operand import Operand, Table
from hwq.errors import SpecError, require
from hwq.numerics.pe import PeSpec
from hwq.numerics.units import UNITS, unit_of_op


@dataclass(frozen=True, slots=True)
class MatmulLayer:
    """`count` equal products out[M, N] = a[M, K] b[K, N] on the array, one after another.

    Parameters
    ----------
    name : str
        Module path of the layer.
    m, n, k : int
        Shape of one instance.
    count : int
        Equal instances (heads, windows).
    pe : PeSpec
        Processing element that its codes need: tables, widths of codes and accumulators.
    a, b, out : Operand
        Operands; their elements are totals over the count.
    column_sums : bool
        Whether a row of ones, made at the array's edge, streams ahead of operand a, so that the
        sums over b's columns come out first; the epilogue subtracts them where codes have an
        offset.
    offset : int
        How many column sums are subtracted.
    plane_weights : tuple of int
        What a sum of each plane counts; 1 by default.
    """

    op: ClassVar[str] = "matmul"

    name: str
    m: int
    n: int
    k: int
    count: int
    pe: PeSpec
    a: Operand
    b: Operand
    out: Operand
    column_sums: bool = False
    offset: int = 0
    plane_weights: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("m", "n", "k", "count"):
            value = getattr(self, name)
            require(value > 0, f"{self.name}: {name} must be positive, not {value}")
        for name, bits in (("a", self.pe.a_bits), ("b", self.pe.b_bits)):
            given = getattr(self, name).bits
            require(given == bits, f"{self.name}: {name} must be {bits} bits wide, not {given}")
        for name, elements in (
            ("a", self.count * self.m * self.k),
            ("b", self.count * self.k * self.n),
            ("out", self.count * self.m * self.n),
        ):
            given = getattr(self, name).elements
            require(
                given == elements,
                f"{self.name}: {name} must have {elements} elements, not {given}",
            )
        sizes = {name: getattr(self, name) for name in ("count", "m", "n", "k")}
        for name, along in (("a", "count m k"), ("b", "count k n"), ("out", "count m n")):
            operand = getattr(self, name).laid_out(sizes, along.split())
            object.__setattr__(self, name, operand)
        object.__setattr__(self, "plane_weights", self.plane_weights or (1,) * self.planes)

    @property
    def acc_bits(self) -> int:
        """Width of one accumulator."""
        return self.pe.acc_bits

    @property
    def planes(self) -> int:
        """Accumulators per output."""
        return self.pe.planes

    @property
    def rows(self) -> int:
        """Rows that stream through the array for one instance."""
        return self.m + self.column_sums

    @property
    def macs(self) -> int:
        """Multiply- or shift-accumulates over all instances, without those of column sums."""
        return self.count * self.m * self.n * self.k

    @property
    def inputs(self) -> tuple[Operand, ...]:
        """The operands it reads."""
        return (self.a, self.b)


@dataclass(frozen=True, slots=True)
class VectorLayer:
    """Work of the vector unit on `rows` rows of `length` elements.

    Parameters
    ----------
    name : str
        Module path of the layer.
    op : str
        An op of one of `hwq.numerics.units.UNITS`. For `range_extract` rows x length is the token
        stream; for `scale_predictor` the length is that of its parameters.
    rows, length : int
        Row-wise units (softmax, layer_norm) work along `length`.
    inputs : tuple of Operand
        Everything it reads, parameters included.
    out : Operand
        What it writes.
    fused : bool
        It streams behind the epilogue of the matmul before it: what it reads from that chain is
        never stored, and only the time by which it outlasts the array is exposed.
    unit : str
        Stem of the unit that does it; by default the first one that does such ops.
    spec : object, optional
        What computes it: the spec of the unit.
    """

    name: str
    op: str
    rows: int
    length: int
    inputs: tuple[Operand, ...]
    out: Operand
    fused: bool = False
    unit: str = ""
    spec: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            default = unit_of_op(self.op)
        except SpecError as error:
            raise SpecError(f"{self.name}: {error}") from None
        object.__setattr__(self, "unit", self.unit or default.stem)
        does = [unit.stem for unit in UNITS.values() if self.op in unit.ops]
        require(
            self.unit in does,
            f"{self.name}: unit must be one of {', '.join(does)} for {self.op}, not {self.unit!r}",
        )
        for name in ("rows", "length"):
            value = getattr(self, name)
            require(value > 0, f"{self.name}: {name} must be positive, not {value}")
        require(bool(self.inputs), f"{self.name}: a vector layer must have an input")
        sizes = {"rows": self.rows, "length": self.length}
        guesses = (("rows", "length"), ("length",))
        inputs = tuple(operand.laid_out(sizes, *guesses) for operand in self.inputs)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "out", self.out.laid_out(sizes, *guesses))

    @property
    def elements(self) -> int:
        """Elements that pass through the unit."""
        return self.rows * self.length

    @property
    def macs(self) -> int:
        """Zero: multiply-accumulates are counted on the array only."""
        return 0


Layer = MatmulLayer | VectorLayer


@dataclass(frozen=True, slots=True)
class Program:
    """Layers in execution order, for one image.

    Parameters
    ----------
    name : str
    layers : tuple of Layer
    constants : mapping of str to array or Table
        What is in DRAM before the image; a program that is only priced needs none.

    Raises
    ------
    SpecError
        If two layers share a name, a tensor is written twice, read before it is written, read
        beyond its size or in another width, or a fused layer has no matmul to follow.
    """

    name: str
    layers: tuple[Layer, ...]
    constants: Mapping[str, NDArray[Any] | Table] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        require(bool(self.layers), f"program {self.name!r} must have a layer")
        self._check_names()
        self._check_tensors()
        for position, layer in enumerate(self.layers):
            if isinstance(layer, VectorLayer) and layer.fused:
                self._check_chain(layer, [*self.chain_before(position)])

    @property
    def macs(self) -> int:
        """Multiply- or shift-accumulates for one image."""
        return sum(layer.macs for layer in self.layers)

    @property
    def matmuls(self) -> int:
        """Matrix products for one image, instances counted."""
        return sum(layer.count for layer in self.layers if isinstance(layer, MatmulLayer))

    def chain_before(self, position: int) -> Iterator[Layer]:
        """Yield the matmul that layer `position` is fused to and the fused layers in between."""
        for layer in reversed(self.layers[:position]):
            if isinstance(layer, MatmulLayer):
                yield layer
                return
            if not layer.fused:
                return
            yield layer

    @staticmethod
    def _check_chain(layer: VectorLayer, before: Sequence[Layer]) -> None:
        tensors = {other.out.tensor for other in before}
        require(
            any(operand.tensor in tensors for operand in layer.inputs),
            f"{layer.name}: a fused layer must read what the matmul before it, or a layer "
            "fused to that matmul, wrote",
        )
        matmul = before[-1]
        assert isinstance(matmul, MatmulLayer)
        size = matmul.count * matmul.m, matmul.n
        for operand in (*layer.inputs, layer.out):
            shape = operand.view.shape
            require(
                operand.along != ("rows", "length") or shape == size,
                f"{layer.name}: {operand.tensor!r} must have {size[0]} rows of {size[1]}, as "
                f"{matmul.name} has, not {' of '.join(map(str, shape))}",
            )

    def _check_names(self) -> None:
        seen: set[str] = set()
        for layer in self.layers:
            require(layer.name not in seen, f"layer name {layer.name!r} must be unique")
            seen.add(layer.name)

    def _check_tensors(self) -> None:
        to_come = {layer.out.tensor: 0 for layer in self.layers}
        known: dict[str, Operand] = {}
        for layer in self.layers:
            for operand in layer.inputs:
                name, there = operand.tensor, to_come.get(operand.tensor, operand.size)
                require(there > 0, f"{layer.name}: {name!r} must be written before it is read")
                before = known.setdefault(name, operand)
                require(
                    (operand.bits, operand.constant) == (before.bits, before.constant),
                    f"{layer.name}: {name!r} must keep its kind: {_say(before)} before, "
                    f"{_say(operand)} here",
                )
                require(
                    operand.size <= there,
                    f"{layer.name}: {name!r} must be read at most whole: it has "
                    f"{there} elements, not {operand.size}",
                )
            out = layer.out
            require(not out.constant, f"{layer.name}: {out.tensor!r} must not be constant")
            to_come[out.tensor] += out.elements
            known.setdefault(out.tensor, out)
            require(
                to_come[out.tensor] <= out.size,
                f"{layer.name}: {out.tensor!r} must be written once",
            )


def _say(operand: Operand) -> str:
    return f"{operand.bits} bits {'constant' if operand.constant else 'activation'}"
