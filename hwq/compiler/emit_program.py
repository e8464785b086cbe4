"""Integer graph -> program: what the array and the vector unit do, in order."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

from hwq.compiler.emit_outliers import emit_outlier_join, emit_outlier_split
from hwq.compiler.emit_scales import emit_range_extract, emit_rescale, emit_scale_predictor
from hwq.compiler.emitter import Emitter, code_bits, unit_of_node
from hwq.compiler.program import MatmulLayer, Program
from hwq.compiler.view import View
from hwq.errors import GraphError, SpecError
from hwq.graph.ir import Graph, Node
from hwq.graph.ops import OPS, PRODUCTS
from hwq.numerics.epilogue import Epilogue
from hwq.numerics.units import VECTOR_OPS

ACC_BITS = 32


def emit_program(graph: Graph) -> Program:
    """List the layers of an integer graph.

    Data movement costs nothing of its own: it is the order in which the next layer addresses
    the stored tensor; only where no nested strides express it, it is a copy. A concatenation
    copies each of its inputs. An element-wise layer that reads what the matrix product before it
    writes, in that order, is fused into that product's epilogue.

    Raises
    ------
    GraphError
        For an operation that has no place on the machine.
    """
    emitter = Emitter(graph)
    for tensor in graph.inputs:
        emitter.tensors.store(tensor.name, tensor.shape, tensor.quant.bits, tensor.dtype)
    for name, value in graph.constants.items():
        bits = value.dtype.itemsize * 8
        emitter.tensors.store(name, value.shape, bits, str(value.dtype), constant=True)
        emitter.tensors.constants[name] = value
    for node in graph.nodes:
        _emit(emitter, node)
    return Program(graph.name, tuple(emitter.layers), emitter.tensors.constants)


def _emit(emitter: Emitter, node: Node) -> None:
    if OPS[node.op].movement:
        _movement(emitter, node)
    elif node.op in _SPECIAL:
        _SPECIAL[node.op](emitter, node)
    elif node.op in VECTOR_OPS:
        _vector(emitter, node)
    else:
        raise GraphError(f"{node.name}: {node.op} has no place in a program")


def _movement(emitter: Emitter, node: Node) -> None:
    source = emitter.tensors.stored[node.inputs[0]]
    try:
        view = moved(source.view, node)
    except SpecError:  # no nested strides: what led here is copied first
        copy = emitter.copy(node.inputs[0], f"{node.name}.copy")
        view = moved(copy.view, node)
        source = copy
    emitter.tensors.stored[node.name] = replace(source, view=view, along=("all",) * len(view.axes))


def _concat(emitter: Emitter, node: Node) -> None:
    parts = emitter.parts(node, code_bits(node))
    source = {name: emitter.tensors.stored[name].tensor for name, _ in parts}
    # first what streams out of the array; what was stored in place is there
    order = sorted(parts, key=lambda part: source[part[0]] not in emitter.chain)
    to_move = [(name, part) for name, part in order if source[name] != node.name]
    for number, (name, part) in enumerate(to_move):
        layer = node.name if number == 0 else f"{node.name}.{number}"
        emitter.append_move(layer, name, emitter.tensors.out(part, emitter.graph.shape(name)))


def _matmul(emitter: Emitter, node: Node) -> None:
    form = node.attrs["form"]
    a, b = node.inputs
    # one correction per column cannot be added behind the factors of tokens
    joined = any(reader.op == "outlier_join" for reader in emitter.graph.consumers(node.name))
    subtracts = form.offset != 0 and (node.op == "matmul" or joined)
    *batch, rows, depth = emitter.graph.shape(a)
    if node.op == "linear":
        count, m, n = 1, prod(batch) * rows, emitter.graph.shape(b)[0]
        emitter.tensors.stored[b] = replace(
            emitter.tensors.stored[b], bits=node.attrs["weight_bits"]
        )  # packed
        right = emitter.tensors.read(b, (n, depth), ("n", "k"))
        right = replace(right, view=right.view.permute((1, 0)).reshape((1, depth, n)))
    else:
        count, m, n = prod(batch), rows, emitter.graph.shape(b)[-1]
        right = emitter.tensors.read(b, (count, depth, n), (), (*batch, depth, n))
    left = emitter.tensors.read(a, (count, m, depth), ("count", "m", "k"))
    out = emitter.write(node, ACC_BITS * len(form.plane_weights))
    emitter.layers.append(
        MatmulLayer(
            name=node.attrs["source"],
            m=m,
            n=n,
            k=depth,
            count=count,
            pe=form.element(right.bits, ACC_BITS),
            a=replace(left, elements=count * m * depth),
            b=replace(right, elements=count * depth * n, along=("count", "k", "n")),
            out=replace(out, view=View.contiguous((count, m, n)), along=("count", "m", "n")),
            column_sums=subtracts,
            offset=form.offset if subtracts else 0,
            plane_weights=form.plane_weights,
        )
    )
    emitter.begin_chain(node, (count * m, n))


def _vector(emitter: Emitter, node: Node) -> None:
    spec, unit, shape = node.attrs.get("unit"), unit_of_node(node), node.output.shape
    names = [name for name in dict.fromkeys(node.inputs) if _is_data(emitter, name)]
    inputs = [emitter.tensors.rows(name, shape) for name in names]
    scales = [name for name in node.inputs if name not in names]
    if scales and isinstance(spec, Epilogue):
        inputs += emit_rescale(emitter, node, spec, scales[0])
    elif unit.fields:
        inputs += emitter.tensors.parameters(f"{node.name}.parameters", unit.fields, spec, shape)
    *rows, length = shape
    out = emitter.write(node, code_bits(node))
    emitter.append(node, inputs, (prod(rows), length), out, unit, names)


def _mean(emitter: Emitter, node: Node) -> None:
    """Rows are what is averaged; a result is one column."""
    shape, axis = emitter.graph.shape(node.inputs[0]), node.attrs["axis"]
    rest = [other for other in range(len(shape)) if other != axis]
    size = shape[axis], prod(shape[other] for other in rest)
    whole = emitter.tensors.read(node.inputs[0], shape, ("rows",) * len(shape))
    view = whole.view.permute((axis, *rest)).reshape(size)
    inputs = [replace(whole, view=view, along=("rows", "length"))]
    out = emitter.write(node, code_bits(node), ("length",))
    emitter.append(node, inputs, size, out, unit_of_node(node))


def _is_data(emitter: Emitter, name: str) -> bool:
    """Whether `name` is a tensor of the network and not a table of predicted scales."""
    producer = emitter.graph.by_name.get(name)
    return producer is None or producer.op != "scale_predictor"


_SPECIAL: Mapping[str, Callable[[Emitter, Node], None]] = {
    **dict.fromkeys(PRODUCTS, _matmul),
    "concat": _concat,
    "mean": _mean,
    "range_extract": emit_range_extract,
    "scale_predictor": emit_scale_predictor,
    "outlier_split": emit_outlier_split,
    "outlier_join": emit_outlier_join,
}


def moved(view: View, node: Node) -> View:
    """Return a view of what a movement node makes; `SpecError` where there is none."""
    attrs = node.attrs
    if node.op == "reshape":
        return view.reshape(attrs["shape"])
    if node.op == "permute":
        return view.permute(attrs["axes"])
    if node.op == "slice":
        return view.slice(attrs["axis"], attrs["start"], attrs["stop"])
    if node.op == "select":
        return view.select(attrs["axis"], attrs["index"])
    return view.expand(attrs["shape"])
