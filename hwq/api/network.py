"""The float network of a request, and which method with which options is asked for."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import torch
from torch import nn

from hwq import __version__
from hwq.api.kept_graphs import graph_key, keep_graph, read_graph
from hwq.compiler.passes.base import run_passes
from hwq.compiler.pipelines import prepare
from hwq.errors import DataError, SpecError, UsageError
from hwq.files import sha256 as file_sha256
from hwq.graph.import_torch import trace
from hwq.graph.ir import Graph
from hwq.methods.base import Method
from hwq.methods.catalog import METHODS
from hwq.methods.checkpoint import Calibrated
from hwq.methods.checkpoint_reader import load_calibrated
from hwq.methods.origin import Origin
from hwq.models.catalog import MODELS, Network, create_network
from hwq.models.preprocessing import Preprocessing
from hwq.models.weights import load_weights
from hwq.request import Request
from hwq.runtime.import_check import check_import, random_pixels

# what the type of an option is called; None is never given
_KINDS = {int: "a whole number", float: "a number", str: "a word", type(None): ""}


@dataclass(frozen=True, eq=False)
class FloatNetwork:
    """A network as methods take it, and where its weights are from.

    Parameters
    ----------
    name : str
        As the user gave it.
    preprocessing : Preprocessing
        What its images go through.
    graph : Graph
        Float graph whose input is 8-bit pixels.
    weights : {"file", "pretrained", "random"}
    sha256 : str
        SHA-256 of the weights file, or else of the module's parameters.
    notes : tuple of str
        What a reader of its results must know, one sentence each.
    """

    name: str
    preprocessing: Preprocessing
    graph: Graph
    weights: str
    sha256: str
    notes: tuple[str, ...] = ()


def open_network(
    model: str,
    weights: Path | None = None,
    pretrained: bool = False,
    seed: int = 0,
    resample_pos_embed: bool = False,
) -> FloatNetwork:
    """Build a network, load its weights and prepare its graph, or read what that gave before.

    Raises
    ------
    UsageError, DataError, ImportGraphError
        For an unknown name, weights that do not fit, a network that the graph cannot express.
    """
    if seed < 0:
        raise UsageError(f"seed must not be negative, not {seed}")
    if seed >= 1 << 32:
        raise UsageError(f"seed must be below 2**32, not {seed}")
    if weights is not None and pretrained:
        raise UsageError("weights and pretrained exclude each other")
    if resample_pos_embed and weights is None:
        raise UsageError("resample_pos_embed needs weights: a file whose table is resampled")
    key = None if pretrained else _key(model, weights, seed, resample_pos_embed)
    known = None if key is None else read_graph(key)
    if known is not None:
        return _from_facts(model, *known)
    network = create_network(model, pretrained=pretrained, seed=seed)
    notes = network.notes
    if weights is not None:
        loaded = load_weights(network.module, weights, resample_pos_embed=resample_pos_embed)
        digest, kind, notes = loaded.sha256, "file", (*notes, *loaded.notes)
    else:
        digest, kind = state_sha256(network.module), "pretrained" if pretrained else "random"
    source = FloatNetwork(
        network.name, network.preprocessing, float_graph(network), kind, digest, notes
    )
    if key is not None:
        facts = {
            "preprocessing": asdict(source.preprocessing),
            "weights": kind,
            "sha256": digest,
            "notes": list(notes),
        }
        keep_graph(key, source.graph, facts)
    return source


def _key(model: str, weights: Path | None, seed: int, resample: bool) -> str | None:
    """Name of what is kept; None for a user's own code, and for weights that cannot be read."""
    if ":" in model or (weights is not None and not weights.is_file()):
        return None
    digest = None if weights is None else file_sha256(weights)
    return graph_key({"model": model, "seed": seed, "weights": digest, "resample": resample})


def _from_facts(model: str, graph: Graph, facts: Mapping[str, Any]) -> FloatNetwork:
    preprocessing = _preprocessing(facts["preprocessing"])
    notes = tuple(facts["notes"])
    return FloatNetwork(model, preprocessing, graph, facts["weights"], facts["sha256"], notes)


def requested_network(request: Request, seed: int | None = None) -> FloatNetwork:
    """Open the network of a request, with this seed instead of its own if one is given."""
    if request.model is None:
        raise UsageError("model is needed")
    return open_network(
        request.model,
        request.weights,
        request.pretrained,
        (request.seed or 0) if seed is None else seed,
        request.resample_pos_embed,
    )


def float_graph(network: Network) -> Graph:
    """Import a network and prepare it, checked: matrix products that read 8-bit pixels.

    Raises
    ------
    ImportGraphError
        When the graph cannot express the network, or what it expresses is not the network.
    """
    config = network.preprocessing
    imported = trace(network.module, (1, *config.input_size), network.name)
    pixels = random_pixels(config.input_size)
    mean, std = (
        torch.tensor(values).double()[:, None, None] for values in (config.mean, config.std)
    )
    images = (pixels / 255 - mean) / std
    prepared = run_passes(imported.graph, prepare(config.mean, config.std))
    check_import(network.module, imported, prepared, images.float(), pixels.float())
    return prepared


def state_sha256(module: nn.Module) -> str:
    """SHA-256 of a module's parameters and buffers, in hex."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def make_method(name: str, base: str | None, options: Mapping[str, Any]) -> Method:
    """Return a method with its options; "base.NAME" is the option NAME of its base.

    Raises
    ------
    UsageError, SpecError
        For unknown names and values out of range.
    """
    known = getattr(METHODS[name], "__dataclass_fields__", {})
    if base is not None:
        METHODS[base]  # an unknown name is the first thing to say
    direct = {key: value for key, value in options.items() if not key.startswith("base.")}
    of_base = {
        key.removeprefix("base."): value for key, value in options.items() if key not in direct
    }
    if "base" not in known and (base is not None or of_base):
        raise UsageError(f"method {name!r} takes no base")
    if not isinstance(direct.get("base_options", {}), Mapping):
        raise UsageError("base_options: an option of the base is written base.NAME=VALUE")
    if base is not None:
        direct["base"] = base
    if of_base:
        direct["base_options"] = {**direct.get("base_options", {}), **of_base}
    method = _instance(name, direct)
    if "base" in known:
        _instance(vars(method)["base"], direct.get("base_options", {}))
    return method


def _instance(name: str, options: Mapping[str, Any]) -> Method:
    kind = METHODS[name]
    known: list[str] = [field.name for field in fields(kind)] if is_dataclass(kind) else []
    for key in options:
        if key not in known:
            listed = ", ".join(option for option in known if option != "base_options") or "none"
            raise UsageError(f"method {name!r}: unknown option {key!r}; known: {listed}")
    _check_kinds(name, get_type_hints(kind), options)
    try:
        return kind(**options)
    except TypeError as error:
        raise UsageError(f"method {name!r}: {error}") from error


def _check_kinds(name: str, hints: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Raise `UsageError` for a word where a number belongs, and the like."""
    for key, value in options.items():
        kinds = get_args(hints[key]) or (hints[key],)
        if not set(kinds) <= set(_KINDS):
            continue
        if not isinstance(value, (*kinds, int) if float in kinds else kinds):
            wanted = " or ".join(_KINDS[kind] for kind in kinds if kind is not type(None))
            raise UsageError(f"method {name!r}: {key} must be {wanted}, not {value!r}")


def make_origin(
    source: FloatNetwork,
    method: Method,
    bits: str,
    seed: int,
    device: str,
    calibration: Mapping[str, Any],
) -> Origin:
    """Return what a calibrated file says of where it is from."""
    names = getattr(method, "__dataclass_fields__", {})
    options = {name: getattr(method, name) for name in names}
    return Origin(
        model=source.name,
        weights=source.weights,
        weights_sha256=source.sha256,
        method=method.name,
        base=options.pop("base", None),
        bits=bits,
        options=options,
        seed=seed,
        device=device,
        calibration=dict(calibration),
        preprocessing=asdict(source.preprocessing),
        versions={
            "hwq": __version__,
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "timm": version("timm"),
        },
    )


def open_calibrated(path: Path) -> Calibrated:
    """Read a calibrated file.

    Raises
    ------
    DataError
        See `hwq.methods.checkpoint_reader.load_calibrated`; also for preprocessing out of range.
    """
    calibrated = load_calibrated(path)
    try:
        to_preprocessing(calibrated.origin)
    except SpecError as error:
        raise DataError(f"calibrated file {path}: origin.preprocessing.{error}") from error
    return calibrated


def to_preprocessing(origin: Origin) -> Preprocessing:
    """Return what the images of a calibrated network go through."""
    return _preprocessing(origin.preprocessing)


def _preprocessing(content: Mapping[str, Any]) -> Preprocessing:
    """Return what these JSON types describe."""
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in content.items()
    }
    return Preprocessing(**fields)


def check_device(device: str) -> None:
    """Raise `UsageError` unless torch can run there."""
    if device not in ("cpu", "cuda"):
        raise UsageError(f"device must be cpu or cuda, not {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("device: torch finds no cuda")


def check_same_network(source: FloatNetwork, origin: Origin, file: Path) -> None:
    """Raise `UsageError` unless a calibrated file was made from this network."""
    model, asked = (MODELS.get(name, name) for name in (origin.model, source.name))
    if model != asked:
        raise UsageError(f"{file} is of model {origin.model!r}, not {source.name!r}")
    if origin.weights_sha256 != source.sha256:
        raise UsageError(
            f"{file} was calibrated from weights ({origin.weights}) with sha256 "
            f"{origin.weights_sha256[:12]}..., not {source.sha256[:12]}... ({source.weights})"
        )
