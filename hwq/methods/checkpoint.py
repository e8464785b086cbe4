"""The calibrated network as one file: codes, quantizers, formats, structure, origin.

A `.safetensors` file: tensors, and one entry of metadata, "hwq", with JSON; its fields are in
`docs/calibrated_file.md`. No time, host or path is in it: the same inputs give the same bytes.
Reading it executes nothing.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from hwq.errors import GraphError
from hwq.graph.ir import Graph
from hwq.graph.serialize import Packer, pack_graph
from hwq.methods.base import Quantized
from hwq.methods.origin import Origin, json_types
from hwq.methods.predictor import Predictor
from hwq.numerics.fixed_point import FixedPoint
from hwq.quantizers.base import Quantizer
from hwq.quantizers.catalog import QUANTIZERS

FORMAT = "hwq.calibrated"
VERSION = 3
# what a file may hold besides the quantizers of the catalogue
CLASSES: Mapping[str, type[Any]] = {"fixed_point": FixedPoint, "predictor": Predictor}
CODES, CONSTANTS = "codes/", "constants/"


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A quantised network, and what it was made from."""

    quantized: Quantized
    origin: Origin


def to_bytes(calibrated: Calibrated) -> bytes:
    """Return the content of the file.

    Raises
    ------
    GraphError
        When something in the graph cannot be written, or the codes of a weight do not survive
        decoding.
    """
    graph = calibrated.quantized.graph
    packer = Packer(_name_of)
    structure = pack_graph(graph, packer)
    tensors = {name: torch.from_numpy(array) for name, array in packer.tensors.items()}
    coded = _coded_constants(graph)
    for name, value in graph.constants.items():
        if name in coded:
            tensors[CODES + name] = _codes(graph, name, coded[name])
        else:
            tensors[CONSTANTS + name] = torch.from_numpy(np.array(value))
    content = {
        "format": FORMAT,
        "version": VERSION,
        "origin": calibrated.origin.to_dict(),
        "notes": list(calibrated.quantized.notes),
        "findings": json_types(calibrated.quantized.findings),
        "graph": structure,
        "objects": packer.objects,
        "constants": list(graph.constants),
        "codes": coded,
    }
    content["sha256"] = content_sha256(content, tensors)
    # one entry only: the writer keeps no order among several
    return save(tensors, {"hwq": json.dumps(content, sort_keys=True, allow_nan=False)})


def content_sha256(content: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """Digest of everything in the file but itself."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _coded_constants(graph: Graph) -> dict[str, str]:
    """Constants that are only read as uniform codes -> the `quantize` node that makes them."""
    coded = {}
    for name in graph.constants:
        readers = graph.consumers(name)
        if len(readers) != 1 or name in graph.outputs:
            continue
        quantizer = readers[0].quantizer
        if quantizer is not None and quantizer.uniform is quantizer:
            coded[name] = readers[0].name
    return coded


def _codes(graph: Graph, name: str, node: str) -> torch.Tensor:
    """Return int8 codes, uint8 or int16 where those are needed, of a constant."""
    quantizer: Quantizer = graph.by_name[node].quantizer
    codes = quantizer.encode(torch.from_numpy(np.array(graph.constants[name]))).cpu()
    again = quantizer.encode(quantizer.decode(codes)).cpu()
    if not torch.equal(codes, again):
        raise GraphError(f"{name}: codes of {quantizer.name} do not survive decoding")
    low, high = int(codes.min()), int(codes.max())
    for kind in (torch.int8, torch.uint8, torch.int16):
        if torch.iinfo(kind).min <= low and high <= torch.iinfo(kind).max:
            return codes.to(kind).contiguous()
    raise GraphError(f"{name}: codes {low}..{high} are wider than 16 bits")


def _name_of(kind: type[Any]) -> str | None:
    """Name of a class in a file."""
    for plain, known in CLASSES.items():
        if kind is known:
            return plain
    name = str(getattr(kind, "name", ""))
    return name if name in QUANTIZERS and QUANTIZERS[name] is kind else None
