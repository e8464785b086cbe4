"""Integer graph -> program: what the array and the vector unit do, in order."""

from dataclasses import dataclass, field
from math import prod

from hwq.compiler.program import Layer, MatmulLayer, Operand, Program, VectorLayer
from hwq.errors import GraphError, SpecError
from hwq.graph.ir import Graph, Node
from hwq.graph.ops import OPS, PRODUCTS
from hwq.numerics.epilogue import Epilogue
from hwq.numerics.unit import Unit
from hwq.numerics.units import UNITS, VECTOR_OPS, unit_of_op, unit_of_spec

ACC_BITS = 32
_SCALING_BITS = UNITS["epilogue"].parameter_bits
# a range is a sum of differences; a scale is a 16-bit mantissa and an 8-bit exponent
_RANGE_BITS, _SCALE_BITS = 32, 24
# an outlier is a 16-bit value and its place: 12 bits of token, 12 of channel; joined sums, factors
_OUTLIER_BITS, _JOINED_BITS, _ROW_BITS = 40, 46, 12


def emit_program(graph: Graph) -> Program:
    """List the layers of an integer graph.

    Data movement costs nothing of its own: it is the order in which the next layer addresses
    the stored tensor. A concatenation is a copy. An element-wise layer that reads what the matrix
    product before it writes is fused into that product's epilogue.

    Raises
    ------
    GraphError
        For an operation that has no place on the machine.
    """
    return _Emitter(graph).run()


@dataclass
class _Emitter:
    graph: Graph
    layers: list[Layer] = field(default_factory=list)
    stored: dict[str, str] = field(default_factory=dict)
    bits: dict[str, int] = field(default_factory=dict)
    chain: set[str] = field(default_factory=set)

    def run(self) -> Program:
        for tensor in self.graph.inputs:
            self.bits[tensor.name] = tensor.quant.bits
        for name, value in self.graph.constants.items():
            self.bits[name] = value.dtype.itemsize * 8
        for node in self.graph.nodes:
            self._node(node)
        return Program(self.graph.name, tuple(self.layers))

    def _node(self, node: Node) -> None:
        if OPS[node.op].movement:
            self.stored[node.name] = self._root(node.inputs[0])
        elif node.op in PRODUCTS:
            self._matmul(node)
        elif node.op in ("range_extract", "scale_predictor"):
            self._predictor(node)
        elif node.op == "outlier_split":
            self._outlier_split(node)
        elif node.op == "outlier_join":
            self._outlier_join(node)
        elif node.op in VECTOR_OPS:
            self._vector(node)
        else:
            raise GraphError(f"{node.name}: {node.op} has no place in a program")

    def _root(self, name: str) -> str:
        return self.stored.get(name, name)

    def _operand(self, name: str, elements: int | None = None) -> Operand:
        root = self._root(name)
        size = prod(self.graph.shape(name)) if elements is None else elements
        return Operand(root, size, self.bits[root], root in self.graph.constants)

    def _write(self, node: Node, bits: int) -> Operand:
        self.bits[node.name] = bits
        return Operand(node.name, prod(node.output.shape), bits)

    def _matmul(self, node: Node) -> None:
        form = node.attrs["form"]
        a, b = node.inputs
        *batch, rows, depth = self.graph.shape(a)
        if node.op == "linear":
            count, m, n = 1, prod(batch) * rows, self.graph.shape(b)[0]
            self.bits[b] = node.attrs["weight_bits"]  # stored packed
        else:
            count, m, n = prod(batch), rows, self.graph.shape(b)[-1]
        planes = len(form.plane_weights)
        layer = MatmulLayer(
            name=node.attrs["source"],
            m=m,
            n=n,
            k=depth,
            count=count,
            pe=form.element(self.bits[self._root(b)], ACC_BITS),
            a=self._operand(a),
            b=self._operand(b),
            out=self._write(node, ACC_BITS * planes),
            column_sums=node.op == "matmul" and form.offset != 0,
        )
        self.layers.append(layer)
        self.chain = {node.name}

    def _vector(self, node: Node) -> None:
        inputs = [self._operand(name) for name in dict.fromkeys(node.inputs) if self._data(name)]
        spec, unit = node.attrs.get("unit"), _unit(node)
        scales = [name for name in node.inputs if not self._data(name)]
        if scales and isinstance(spec, Epilogue):
            inputs.append(self._rescale(node, spec, scales[0]))
        else:
            inputs += _parameters(node, unit)
        fused = unit.streams and any(self._root(name) in self.chain for name in node.inputs)
        # a mean reads more than it writes
        shape = self.graph.shape(node.inputs[0]) if node.op == "mean" else node.output.shape
        *rows, length = shape
        layer = VectorLayer(
            name=self._layer_name(node),
            op=node.op,
            rows=prod(rows),
            length=length,
            inputs=tuple(inputs),
            out=self._write(node, _bits(node)),
            fused=fused,
            unit=unit.stem,
        )
        self.layers.append(layer)
        self.chain = self.chain | {node.name} if fused else set()

    def _data(self, name: str) -> bool:
        """Whether `name` is a tensor of the network and not a table of predicted scales."""
        producer = self.graph.by_name.get(name)
        return producer is None or producer.op != "scale_predictor"

    def _layer_name(self, node: Node) -> str:
        """Matrix products have the module's name; what follows them says what it does."""
        taken = {layer.name for layer in self.layers}
        return f"{node.name}.{node.op}" if node.name in taken else node.name

    def _rescale(self, node: Node, unit: Epilogue, scales: str) -> Operand:
        """Emit the per-image multipliers and biases of one epilogue, before its matrix product."""
        count = max(unit.mult.size, unit.bias.size)
        out = Operand(f"{node.name}.multipliers", count, _SCALING_BITS)
        static = Operand(f"{node.name}.parameters", count, _SCALING_BITS, constant=True)
        row = Operand(scales, 4, self.bits[scales])
        layer = VectorLayer(f"{node.name}.rescale", "rescale", 1, count, (row, static), out)
        place = len(self.layers)
        while place and self._in_chain(self.layers[place - 1]):
            place -= 1
        self.layers.insert(place, layer)
        return out

    def _in_chain(self, layer: Layer) -> bool:
        return layer.out.tensor in self.chain

    def _predictor(self, node: Node) -> None:
        unit = node.attrs["unit"]
        fused = _unit(node).streams and self._root(node.inputs[0]) in self.chain
        inputs, degree = [self._operand(node.inputs[0])], 1
        if node.op == "range_extract":
            rows, length = unit.chunks, unit.chunk_tokens * unit.channels
        else:
            rows, length, degree = unit.scales, unit.features * unit.degree, unit.degree
            coefficients = unit.features * unit.columns + rows * (length + 1)
            parameters = f"{node.name}.parameters"
            inputs.append(Operand(parameters, coefficients, 16, constant=True))
        out = self._write(node, _RANGE_BITS if node.op == "range_extract" else _SCALE_BITS)
        layer = VectorLayer(node.name, node.op, rows, length, tuple(inputs), out, fused, degree)
        self.layers.append(layer)
        self.chain = self.chain | {node.name} if fused else set()

    def _outlier_split(self, node: Node) -> None:
        *rows, length = node.output.shape
        found = self._expected(node.name)
        self.bits[node.name] = _OUTLIER_BITS
        out = Operand(node.name, found, _OUTLIER_BITS)
        inputs = (self._operand(node.inputs[0]),)
        self.layers.append(VectorLayer(node.name, node.op, prod(rows), length, inputs, out))
        self.chain = set()

    def _outlier_join(self, node: Node) -> None:
        """A weight column times every outlier into the accumulators, then a factor per token."""
        dense, side, weight = node.inputs
        (columns, depth), tokens = self.graph.shape(weight), node.attrs["unit"].row_mult.size
        layer = node.attrs["source"]
        found = Operand(side, self._expected(side), _OUTLIER_BITS)
        read = self._operand(weight, min(found.elements, depth) * columns)
        size = prod(node.output.shape)
        joined = Operand(f"{layer}.joined", size, _JOINED_BITS)
        inputs = (self._operand(dense), found, read)
        self.layers.append(
            VectorLayer(
                f"{layer}.outliers", node.op, found.elements, columns, inputs, joined, fused=True
            )
        )
        factors = Operand(f"{layer}.rows", tokens, _ROW_BITS, constant=True)
        rows = VectorLayer(
            f"{layer}.rescale",
            "rescale",
            size // columns,
            columns,
            (joined, factors),
            self._write(node, _JOINED_BITS),
            fused=True,
        )
        self.layers.append(rows)
        self.chain = self.chain | {joined.tensor, node.name}

    def _expected(self, side: str) -> int:
        """How many outliers an image has, by calibration."""
        return max(int(self.graph.by_name[side].attrs["expected"]), 1)


def _unit(node: Node) -> Unit:
    """Return the unit that computes a node."""
    try:
        if "unit" in node.attrs:
            return unit_of_spec(node.attrs["unit"])
        return unit_of_op(node.op)
    except SpecError as error:
        raise GraphError(f"{node.name} ({node.op}): {error}") from error


def _bits(node: Node) -> int:
    quant = node.output.quant
    return int(quant.bits)


def _parameters(node: Node, unit: Unit) -> list[Operand]:
    """Constants of a unit that are one per channel."""
    count = node.attrs["unit"].channels if unit.parameter_bits else 1
    if count == 1:
        return []
    return [Operand(f"{node.name}.parameters", count, unit.parameter_bits, constant=True)]
