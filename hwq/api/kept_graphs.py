"""Graphs that are kept in the user's cache: making one takes torch seconds.

Float graphs as they were imported, and integer graphs as they were lowered from a calibrated file.
Reading one needs no torch.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import is_dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hwq.cache import cache_folder, source_digest
from hwq.errors import DataError, GraphError, HwqError
from hwq.files import parse_json, write_bytes
from hwq.graph.ir import Graph
from hwq.graph.serialize import (
    Arrays,
    Packer,
    Unpacker,
    pack_graph,
    to_constant,
    unpack_graph,
)
from hwq.graph.verify import verify
from hwq.numerics.pe import PE_KINDS

_FOLDER = "graphs"
_OF_ANOTHER_SHAPE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""What JSON of another shape raises on the way to a graph."""
_LARGEST = 2 << 30
"""Bytes beyond which the files that were read longest ago are removed."""
_DIGITS = 64
"""Of a checksum, in hex: what is kept begins with it."""
_OBJECTS, _CONSTANTS = "objects/", "constants/"
# the packages that importing and lowering take
_MAKERS = (
    *("api", "arch", "compiler", "graph", "methods", "models", "numerics"),
    *("plan", "quantizers", "runtime"),
)
# where the dataclasses of an integer graph are defined
_DEFINED_IN = ("hwq.numerics.", "hwq.quantizers.mac_form.")


def graph_key(request: Mapping[str, Any]) -> str:
    """SHA-256 of all that a graph depends on: what is asked for, and who makes it.

    Parameters
    ----------
    request : Mapping
        JSON types: name, seed, digest of weights and the like.
    """
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode())
    for name in ("torch", "timm", "numpy"):
        digest.update(f"{name} {metadata.version(name)}".encode())
    digest.update(source_digest(_MAKERS).encode())
    return digest.hexdigest()


def read_graph(key: str) -> tuple[Graph, dict[str, Any]] | None:
    """Return a graph and the facts kept with it; None where there is none, or it is damaged."""
    folder = cache_folder(_FOLDER)
    path = None if folder is None else folder / f"{key}.safetensors"
    if path is None or not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as file:
            entry = (file.metadata() or {})["hwq"]
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        digest, text = entry[:_DIGITS], entry[_DIGITS:]
        if digest != _checksum(text, arrays):
            return None
        content = parse_json(text)
        objects, constants = (
            {name.removeprefix(kind): arrays[name] for name in arrays if name.startswith(kind)}
            for kind in (_OBJECTS, _CONSTANTS)
        )
        unpacker = Unpacker(_class_of, objects, PE_KINDS).load(content["objects"])
        plain = {name: to_constant(array) for name, array in constants.items()}
        graph, facts = verify(unpack_graph(content["graph"], plain, unpacker)), content["facts"]
        path.touch()
    except (SafetensorError, OSError, ImportError, *_OF_ANOTHER_SHAPE, HwqError):
        return None
    return graph, facts


def keep_graph(key: str, graph: Graph, facts: Mapping[str, Any]) -> None:
    """Keep a graph, with facts of JSON types, where that is possible."""
    folder = cache_folder(_FOLDER)
    if folder is None:
        return
    try:
        packer = Packer(_name_of, PE_KINDS)
        structure = pack_graph(graph, packer)
        content = {"graph": structure, "objects": packer.objects, "facts": dict(facts)}
        arrays = {f"{_OBJECTS}{name}": array for name, array in packer.tensors.items()}
        arrays |= {f"{_CONSTANTS}{name}": array for name, array in graph.constants.items()}
        text = json.dumps(content, sort_keys=True, allow_nan=False)
        # one entry only: the writer keeps no order among several
        entry = _checksum(text, arrays) + text
        write_bytes(folder / f"{key}.safetensors", save(arrays, {"hwq": entry}))
        _make_room(folder)
    except (GraphError, DataError, OSError, ValueError):
        return


def _checksum(text: str, arrays: Arrays) -> str:
    """SHA-256 of all that is kept."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _make_room(folder: Path) -> None:
    files = sorted(folder.glob("*.safetensors"), key=lambda file: -file.stat().st_mtime)
    total = 0
    for number, file in enumerate(files):
        total += file.stat().st_size
        if number and total > _LARGEST:
            file.unlink(missing_ok=True)


def _name_of(kind: type[Any]) -> str | None:
    name = f"{kind.__module__}.{kind.__qualname__}"
    return name if name.startswith(_DEFINED_IN) else None


def _class_of(name: str) -> type[Any]:
    module, _, attribute = name.rpartition(".")
    known = name.startswith(_DEFINED_IN) and find_spec(module) is not None
    kind = getattr(import_module(module), attribute, None) if known else None
    if not isinstance(kind, type) or not is_dataclass(kind):
        raise GraphError(f"a graph holds no {name:.60}")
    return kind
