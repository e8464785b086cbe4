"""Read a calibrated file: what comes out is a valid network."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from hwq.errors import DataError, GraphError, SpecError, UsageError
from hwq.files import parse_json
from hwq.graph.ir import Constant
from hwq.graph.serialize import Unpacker, to_constant, unpack_graph
from hwq.graph.verify import verify
from hwq.methods.base import Quantized
from hwq.methods.checkpoint import (
    CLASSES,
    CODES,
    CONSTANTS,
    FORMAT,
    VERSION,
    Calibrated,
    content_sha256,
)
from hwq.methods.checkpoint_schema import Content
from hwq.methods.origin import Origin
from hwq.methods.quantized_graph import check_quantized
from hwq.quantizers.base import Quantizer, check_whole
from hwq.quantizers.catalog import QUANTIZERS
from hwq.schema import explain

_DTYPES = (torch.float32, torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)


def load_calibrated(path: Path) -> Calibrated:
    """Read a file that `to_bytes` made.

    What is returned is a valid network: structure, values and tensors are checked here, not where
    they are used.

    Raises
    ------
    DataError
        When the file is missing, damaged, of another kind, or of another version; file and field
        are named.
    """
    try:
        raw, tensors = _read(path)
        content = _check(raw, tensors)
        origin = Origin(**content.origin.model_dump())
        with _naming("objects"):
            arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
            unpacker = Unpacker(_find, arrays).load(raw["objects"])
        with _naming("constants"):
            constants = _constants(content, unpacker)
        with _naming("graph"):
            graph = verify(unpack_graph(raw["graph"], constants, unpacker))
            for name in sorted(set(tensors) - unpacker.read):
                raise GraphError(f"tensor {name!r:.200} belongs to nothing")
            check_quantized(graph, origin.preprocessing["input_size"])
    except DataError as error:
        raise DataError(f"calibrated file {path}: {error}") from error
    return Calibrated(Quantized(graph, tuple(content.notes), content.findings), origin)


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Turn what is wrong with a part of the file into a `DataError` that names the part."""
    try:
        yield
    except (GraphError, SpecError, UsageError) as error:
        raise DataError(f"{place}: {error}") from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    if not path.is_file():
        raise DataError("no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # copied: what is mapped into memory is lost when someone writes to the file
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise DataError(f"cannot be read: {error}") from error
    if "hwq" not in metadata:
        raise DataError("metadata lacks 'hwq': not written by `hwq calibrate`")
    try:
        content = parse_json(metadata["hwq"])
    except ValueError as error:
        raise DataError(f"hwq: no JSON ({error})") from error
    if not isinstance(content, dict):
        raise DataError("hwq: no JSON object")
    return content, tensors


def _check(raw: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Content:
    """Refuse another kind of file, another version, what is no such file, and damage."""
    if raw.get("format") != FORMAT:
        raise DataError(f"format must be {FORMAT!r}, not {raw.get('format')!r:.60}")
    version = raw.get("version")
    if version != VERSION or isinstance(version, bool):
        newer = isinstance(version, int) and version > VERSION
        way = "it needs a newer hwq" if newer else "fit the network again"
        raise DataError(f"version must be {VERSION}, not {version!r:.60}: {way}")
    try:
        content = Content.model_validate(raw)
    except ValidationError as error:
        raise DataError(explain(error, Content)) from error
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise DataError(f"tensor {name!r:.200} must not be {tensor.dtype}")
        if tensor.numel() == 0:
            raise DataError(f"tensor {name!r:.200} has no elements")
    body = {key: value for key, value in raw.items() if key != "sha256"}
    if content.sha256 != content_sha256(body, tensors):
        raise DataError("sha256 is not that of the content: it is damaged")
    return content


def _constants(content: Content, unpacker: Unpacker) -> dict[str, Constant]:
    """Constants as the graph holds them: codes are decoded."""
    nodes = {node.output.name: node for node in content.graph.nodes}
    for name in sorted(set(content.codes) - set(content.constants)):
        raise GraphError(f"codes of {name!r:.200}, which is no constant")
    constants = {}
    for name in content.constants:
        coded = name in content.codes
        key = (CODES if coded else CONSTANTS) + name
        if key not in unpacker.tensors:
            raise GraphError(f"lacks {key!r:.200}")
        unpacker.read.add(key)
        array = unpacker.tensors[key]
        if coded:
            node = nodes.get(content.codes[name])
            quantizer = unpacker.unpack(node.output.quant) if node else None
            array = _decoded(name, quantizer, array)
        if not (array.dtype == np.float32 and bool(np.isfinite(array).all())):
            raise GraphError(f"{name}: must hold finite float32 numbers")
        constants[name] = to_constant(array)
    return constants


def _decoded(name: str, quantizer: Any, array: NDArray[Any]) -> NDArray[np.float32]:
    """Return what the codes of a weight stand for."""
    uniform = quantizer.uniform if isinstance(quantizer, Quantizer) else None
    if uniform is None or uniform is not quantizer:
        raise GraphError(f"{name}: its codes belong to no quantize node with a uniform quantizer")
    codes = torch.from_numpy(array)
    try:
        uniform.check(tuple(codes.shape))
        check_whole("codes", codes, uniform.lo, uniform.hi, tuple(codes.shape))
    except SpecError as error:
        raise GraphError(f"{name}: {error}") from error
    values = uniform.decode(codes.to(torch.int32))
    if not torch.equal(uniform.encode(values), codes.to(torch.int32)):
        raise GraphError(f"{name}: codes of {uniform.name} do not survive decoding")
    decoded: NDArray[np.float32] = values.numpy()
    return decoded


def _find(name: str) -> type[Any]:
    return CLASSES[name] if name in CLASSES else QUANTIZERS[name]
