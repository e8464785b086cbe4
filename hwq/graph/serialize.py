"""A graph as JSON and tensors, and back: what a file of a network is made of.

Values are written by their kind: a frozen dataclass is the name of its class and its fields,
whatever the class. Equal values are written once, so that the same graph always gives the same
JSON, however its objects were shared.
"""

import hashlib
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.errors import GraphError, SpecError
from hwq.graph.attributes import is_whole
from hwq.graph.fields import check_fields
from hwq.graph.ir import Constant, Graph, Node, Tensor, constant_like

_NOT_FINITE = ("inf", "-inf", "nan")
Json = Any
Arrays = Mapping[str, NDArray[Any]]


@dataclass
class Packer:
    """Turns values into JSON, putting their tensors aside, as arrays.

    Parameters
    ----------
    name_of : callable
        Class -> its name in a file, None for a class that no file may hold.
    named : Mapping[str, object]
        Entries of a catalogue, for which a file holds their names.
    objects : list
        The dataclasses met so far, each once, as JSON.
    tensors : dict[str, ndarray]
        Theirs, contiguous.
    """

    name_of: Callable[[type[Any]], str | None]
    named: Mapping[str, Any] = field(default_factory=dict)
    objects: list[Json] = field(default_factory=list)
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)
    _known: dict[str, int] = field(default_factory=dict)

    def pack(self, value: Any, where: str) -> Json:
        """Return the JSON of `value`.

        Parameters
        ----------
        value : object
            None, bool, int, float, str, a tensor or array, a dataclass, or tuples and mappings of
            them.
        where : str
            Name that its tensors and its errors carry.

        Raises
        ------
        GraphError
            For a value of another kind, or of a class without a name.
        """
        tensors: dict[str, NDArray[Any]] = {}
        content = self._plain(value, "", where, tensors)
        if not is_dataclass(value):
            self.tensors |= {f"{where}{key}": tensor for key, tensor in tensors.items()}
            return content if not tensors else {"at": where, "value": content}
        identity = json.dumps(
            [content, [[key, _digest(tensor)] for key, tensor in tensors.items()]]
        )
        if identity not in self._known:
            self._known[identity] = len(self.objects)
            self.objects.append({"at": where, "value": content})
            self.tensors |= {f"{where}{key}": tensor for key, tensor in tensors.items()}
        return {"object": self._known[identity]}

    def _plain(self, value: Any, path: str, where: str, tensors: dict[str, NDArray[Any]]) -> Json:
        """JSON of `value`, whose tensors are named by their path below it."""
        if is_dataclass(value) and not isinstance(value, type):
            for known, entry in self.named.items():
                if value is entry:
                    return {"named": known}
            name = self.name_of(type(value))
            if name is None:
                raise GraphError(
                    f"{where}{path}: a {type(value).__name__} cannot be kept in a file"
                )
            content = {part.name: getattr(value, part.name) for part in fields(value) if part.init}
            content = self._items(content, path, where, tensors)
            return {"class": name, "fields": content}
        if isinstance(value, tuple | list):
            return [
                self._plain(item, f"{path}.{index}", where, tensors)
                for index, item in enumerate(value)
            ]
        if isinstance(value, Mapping):
            return {"map": self._items(value, path, where, tensors)}
        if isinstance(value, np.ndarray):
            tensors[path] = np.array(value, order="C")
            return {"array": path}
        if _is_tensor(value):
            tensors[path] = np.array(value.detach().cpu().numpy(), order="C")
            return {"tensor": path}
        return _scalar(value, where + path)

    def _items(
        self, items: Mapping[str, Any], path: str, where: str, tensors: dict[str, NDArray[Any]]
    ) -> Json:
        return {
            key: self._plain(item, f"{path}.{key}", where, tensors) for key, item in items.items()
        }


@dataclass(frozen=True)
class Unpacker:
    """Turns JSON back into values.

    Parameters
    ----------
    find : callable
        Name of a class in a file -> the class; raises `UsageError` for an unknown name.
    tensors : Mapping[str, ndarray]
        By the names that `Packer` gave.
    named : Mapping[str, object]
        As `Packer` takes it.
    objects : list
        The dataclasses made so far.
    read : set of str
        Names of the tensors that were used.
    """

    find: Callable[[str], type[Any]]
    tensors: Arrays
    named: Mapping[str, Any] = field(default_factory=dict)
    objects: list[Any] = field(default_factory=list)
    read: set[str] = field(default_factory=set)

    def load(self, objects: Sequence[Json]) -> "Unpacker":
        """Make the dataclasses, to which values refer, and return self.

        Raises
        ------
        GraphError
            For a field that does not exist or a value out of range; it is named.
        """
        for entry in objects:
            self.objects.append(self._value(entry["value"], entry["at"]))
        return self

    def unpack(self, content: Json) -> Any:
        """Return the value whose JSON this is; lists come back as tuples.

        Raises
        ------
        GraphError
            For what `Packer.pack` does not write.
        """
        if isinstance(content, dict) and "object" in content:
            index, last = content["object"], len(self.objects) - 1
            if not is_whole(index, 0, last):
                raise GraphError(f"object must be a whole number in 0..{last}, not {index!r:.60}")
            return self.objects[index]
        if isinstance(content, dict) and set(content) == {"at", "value"}:
            return self._value(content["value"], content["at"])
        return self._value(content, "")

    def _value(self, content: Json, where: str) -> Any:
        if isinstance(content, list):
            return tuple(self._value(item, where) for item in content)
        if not isinstance(content, dict):
            return content
        if set(content) == {"class", "fields"}:
            return self._instance(content["class"], content["fields"], where)
        kind, inner = next(iter(content.items())) if len(content) == 1 else (sorted(content), None)
        if kind == "map" and isinstance(inner, dict):
            return {key: self._value(item, where) for key, item in inner.items()}
        if kind == "float" and inner in _NOT_FINITE:
            return float(inner)
        if kind == "named" and isinstance(inner, str) and inner in self.named:
            return self.named[inner]
        if kind not in ("tensor", "array") or not isinstance(inner, str):
            raise GraphError(f"{where}: unknown kind of value {kind!r:.60}")
        name = f"{where}{inner}"
        if name not in self.tensors:
            raise GraphError(f"{where}: lacks tensor {name!r:.200}")
        self.read.add(name)
        return _to_tensor(self.tensors[name]) if kind == "tensor" else self.tensors[name]

    def _instance(self, name: Json, content: Json, where: str) -> Any:
        """Return the dataclass of that name with these fields."""
        if not isinstance(name, str) or not isinstance(content, dict):
            raise GraphError(f"{where}: class and fields must be a word and a mapping")
        kind = self.find(name)
        given = {key: self._value(item, where) for key, item in content.items()}
        try:
            check_fields(kind, given)
            return kind(**given)
        except SpecError as error:
            raise GraphError(f"{where}: {error}") from error


def pack_graph(graph: Graph, packer: Packer) -> Json:
    """Return the JSON of everything but the constants."""
    return {
        "name": graph.name,
        "inputs": [_pack_tensor(tensor, packer) for tensor in graph.inputs],
        "nodes": [_pack_node(node, packer) for node in graph.nodes],
        "outputs": list(graph.outputs),
    }


def unpack_graph(content: Json, constants: Mapping[str, Constant], unpacker: Unpacker) -> Graph:
    """Return the graph whose JSON this is.

    Raises
    ------
    GraphError
        When it is no legal structure.
    """
    return Graph(
        content["name"],
        tuple(_unpack_tensor(tensor, unpacker) for tensor in content["inputs"]),
        dict(constants),
        tuple(_unpack_node(node, unpacker) for node in content["nodes"]),
        tuple(content["outputs"]),
    )


def to_constant(array: NDArray[Any]) -> Constant:
    """Return an array of a file as one that a graph holds."""
    return constant_like(array, str(array.dtype))


def _pack_tensor(tensor: Tensor, packer: Packer) -> Json:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "quant": packer.pack(tensor.quant, f"{tensor.name}.quant"),
    }


def _unpack_tensor(content: Json, unpacker: Unpacker) -> Tensor:
    quant = unpacker.unpack(content["quant"])
    return Tensor(content["name"], tuple(content["shape"]), content["dtype"], quant)


def _pack_node(node: Node, packer: Packer) -> Json:
    # attributes first: a quantizer's tensors are then named after the attribute
    attrs = {key: packer.pack(node.attrs[key], f"{node.name}.{key}") for key in sorted(node.attrs)}
    output = _pack_tensor(node.output, packer)
    return {"op": node.op, "inputs": list(node.inputs), "output": output, "attrs": attrs}


def _unpack_node(content: Json, unpacker: Unpacker) -> Node:
    return Node(
        content["op"],
        tuple(content["inputs"]),
        _unpack_tensor(content["output"], unpacker),
        {key: unpacker.unpack(item) for key, item in content["attrs"].items()},
    )


def _scalar(value: Any, where: str) -> Json:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise _foreign(value, where)


def _foreign(value: Any, where: str) -> GraphError:
    return GraphError(f"{where}: a {type(value).__name__} cannot be kept in a file")


def _is_tensor(value: Any) -> bool:
    """Whether a value is a torch tensor: there is none before torch is imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _to_tensor(array: NDArray[Any]) -> Any:
    """Return an array as a torch tensor; a graph of integers alone has none."""
    import torch

    return torch.from_numpy(array)


def _digest(array: NDArray[Any]) -> list[Any]:
    """Type, shape and content of an array."""
    return [str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
