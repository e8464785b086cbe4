"""Imported networks that are kept in the user's cache: importing one takes torch seconds."""

import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

import hwq
from hwq.cache import cache_folder
from hwq.errors import DataError, GraphError, HwqError
from hwq.files import parse_json, write_bytes
from hwq.graph.ir import Graph
from hwq.graph.serialize import Packer, Unpacker, pack_graph, to_constant, to_tensor, unpack_graph
from hwq.graph.verify import verify

_FOLDER = "graphs"
_LARGEST = 2 << 30
"""Bytes beyond which the files that were read longest ago are removed."""


def graph_key(request: Mapping[str, Any]) -> str:
    """SHA-256 of all that an imported graph depends on: what is asked for, and who makes it.

    Parameters
    ----------
    request : Mapping
        JSON types: name, seed, digest of weights and the like.
    """
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode())
    for name in ("torch", "timm", "numpy"):
        digest.update(f"{name} {metadata.version(name)}".encode())
    for folder in map(Path, hwq.__path__):
        for part in ("graph", "compiler", "models", "api", "runtime"):
            for file in sorted((folder / part).rglob("*.py")):
                digest.update(file.read_bytes())
    return digest.hexdigest()


def read_graph(key: str) -> tuple[Graph, dict[str, Any]] | None:
    """Return a graph and the facts kept with it; None where there is none, or it is damaged."""
    folder = cache_folder(_FOLDER)
    path = None if folder is None else folder / f"{key}.safetensors"
    if path is None or not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            content = parse_json((file.metadata() or {})["hwq"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        constants = {name: to_constant(tensor) for name, tensor in tensors.items()}
        graph = unpack_graph(content["graph"], constants, Unpacker(_no_class, {}))
        verify(graph)
        path.touch()
    except (SafetensorError, OSError, ValueError, LookupError, TypeError, HwqError):
        return None
    return graph, content["facts"]


def keep_graph(key: str, graph: Graph, facts: Mapping[str, Any]) -> None:
    """Keep a graph of plain values, with facts of JSON types, where that is possible."""
    folder = cache_folder(_FOLDER)
    if folder is None:
        return
    try:
        content = {"graph": pack_graph(graph, Packer(lambda kind: None)), "facts": dict(facts)}
        tensors = {name: to_tensor(value) for name, value in graph.constants.items()}
        text = json.dumps(content, sort_keys=True, allow_nan=False)
        write_bytes(folder / f"{key}.safetensors", save(tensors, {"hwq": text}))
        _make_room(folder)
    except (GraphError, DataError, OSError, ValueError):
        return


def _make_room(folder: Path) -> None:
    files = sorted(folder.glob("*.safetensors"), key=lambda file: -file.stat().st_mtime)
    total = 0
    for number, file in enumerate(files):
        total += file.stat().st_size
        if number and total > _LARGEST:
            file.unlink(missing_ok=True)


def _no_class(name: str) -> type[Any]:
    raise GraphError(f"an imported graph holds no {name}")
