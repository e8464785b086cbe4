"""What a simulation found: frozen, with units in the names, ready to be written down.

The fields are the JSON contract `hwq.result/1`; `hwq/report/schema.json` describes each of them.
"""

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, Final

from hwq.accuracy import Accuracy

SCHEMA: Final = "hwq.result/1"

Bytes = int | float
"""Bits / 8: exact, with a fraction only where sub-byte codes do not fill a byte."""


@dataclass(frozen=True, slots=True)
class Bits:
    """Widths of a matmul's operands and accumulator; a vector layer has only its first input."""

    a: int
    w: int | None
    acc: int | None


@dataclass(frozen=True, slots=True)
class Energy:
    """Picojoules by cause; `total` is their `math.fsum`."""

    mac: float
    sram: float
    dram: float
    vector: float
    leakage: float
    total: float


@dataclass(frozen=True, slots=True)
class LayerCost:
    """One layer, over all its instances.

    Parameters
    ----------
    name, op : str
        Module path; "matmul" or the vector operation.
    m, n, k, count : int
        Shape and instances of a matmul. A vector layer has m rows of n elements.
    pe, dataflow : str or None
        Processing element and dataflow of a matmul.
    bits : Bits
    cycles : int
        Exposed time: layers' cycles sum to the program's.
    compute_cycles : int
        Time for which the array or the vector unit works; may be hidden behind other layers.
    stall_cycles : int
        Exposed time in which that resource waits for DRAM.
    utilization : float or None
        MACs / (cycles x PEs) of a matmul, 0 to 1.
    macs : int
    sram_read_bytes, sram_write_bytes, dram_read_bytes, dram_write_bytes : int or float
    energy_pj : Energy
    saturations : int or None
        Codes that met the end of their range; None where not counted.
    sqnr_db : float or None
        SQNR of the layer's output against the float network; None where not measured.
    node_sqnr_db : float or None
        SQNR of the layer's output against the fake-quant graph, given that graph's own inputs;
        None for what has no counterpart there.
    quantizer_sqnr_db : float or None
        The same against what the codes stand for; None where the output is no code.
    row_sum_min, row_sum_mean : float or None
        Sums of the probabilities of a row of a softmax.
    """

    name: str
    op: str
    m: int
    n: int
    k: int | None
    count: int
    pe: str | None
    bits: Bits
    dataflow: str | None
    cycles: int
    compute_cycles: int
    stall_cycles: int
    utilization: float | None
    macs: int
    sram_read_bytes: Bytes
    sram_write_bytes: Bytes
    dram_read_bytes: Bytes
    dram_write_bytes: Bytes
    energy_pj: Energy
    saturations: int | None = None
    sqnr_db: float | None = None
    node_sqnr_db: float | None = None
    quantizer_sqnr_db: float | None = None
    row_sum_min: float | None = None
    row_sum_mean: float | None = None

    def unmeasured(self) -> "LayerCost":
        """Return the costs alone, without what is measured on images."""
        return replace(
            self, **{f.name: f.default for f in fields(self) if f.default is not MISSING}
        )


@dataclass(frozen=True, slots=True)
class Totals:
    """The program, one image: sums of its layers, and what follows from them."""

    cycles: int
    latency_ms: float
    throughput_ips: float
    macs: int
    utilization: float
    dram_bytes: Bytes
    energy_uj: float
    area_mm2: float
    peak_sram_bytes: Bytes


@dataclass(frozen=True, slots=True)
class ProgramCost:
    """What `hwq.cost.estimate.estimate` returns.

    Parameters
    ----------
    layers : tuple of LayerCost
        In execution order.
    totals : Totals
    dataflow, timing : str
        The choices under which they were found.
    """

    layers: tuple[LayerCost, ...]
    totals: Totals
    dataflow: str
    timing: str


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What was simulated, and from which inputs.

    Parameters
    ----------
    model, method, bits, accelerator, dataflow : str
        As asked for.
    base : str or None
        The method that the method builds on.
    seed : int
    weights : str
        File, "pretrained" or "random".
    images : int
        Images on which accuracy was measured.
    hwq_version : str
    timing : str
        Convention for the cycles of a matmul.
    notes : tuple of str
        What the reader must know, one sentence each.
    weights_sha256, git_commit : str or None
    checkpoint, checkpoint_sha256 : str or None
        The calibrated file, where one was given instead of a method.
    """

    model: str
    method: str
    base: str | None
    bits: str
    accelerator: str
    dataflow: str
    seed: int
    weights: str
    images: int
    hwq_version: str
    timing: str
    notes: tuple[str, ...] = ()
    weights_sha256: str | None = None
    git_commit: str | None = None
    checkpoint: str | None = None
    checkpoint_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Guess:
    """A class by its index, its name where the network's classes are ImageNet-1k's, and softmax."""

    index: int
    name: str | None
    probability: float


@dataclass(frozen=True, slots=True)
class Picture:
    """The likeliest classes of one picture, best first; `float32` is None where it is not known."""

    file: str
    float32: tuple[Guess, ...] | None
    fake_quant: tuple[Guess, ...]
    integer: tuple[Guess, ...]


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """Everything that one run found.

    Parameters
    ----------
    run : RunInfo
    layers : tuple of LayerCost
    totals : Totals
    fidelity : Accuracy or None
        None where accuracy was not measured.
    findings : Mapping
        Figures of the method's own, by name.
    picture : Picture or None
        Where one was asked for.
    schema : str
        Name and version of the JSON contract.
    """

    run: RunInfo
    layers: tuple[LayerCost, ...]
    totals: Totals
    fidelity: Accuracy | None = None
    findings: Mapping[str, Any] = field(default_factory=dict)
    picture: Picture | None = None
    schema: str = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON types, `schema` first.

        A ratio without noise has no decibels that JSON can write: an infinite SQNR becomes null.
        A picture that was not asked for is left out.
        """
        plain = _plain(asdict(self))
        if self.picture is None:
            del plain["picture"]
        return {"schema": plain.pop("schema"), **plain}


def to_bytes(bits: int) -> Bytes:
    """bits / 8, an int where that is whole."""
    whole, rest = divmod(bits, 8)
    return whole if rest == 0 else bits / 8


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
