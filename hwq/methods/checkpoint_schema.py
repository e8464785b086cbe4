"""The metadata of a calibrated file as a schema: what JSON it may be, before anything is made."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from hwq.graph.attributes import MAX_SIDE

_MAX_INT = (1 << 63) - 1


def _plain(value: JsonValue) -> JsonValue:
    """Return a value whose whole numbers fit 64 bits, at most 16 levels deep."""
    _check_plain(value, 16)
    return value


def _check_plain(value: JsonValue, levels: int) -> None:
    if isinstance(value, int) and abs(value) > _MAX_INT:
        raise ValueError("whole numbers must be below 2**63")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if inner and not levels:
        raise ValueError("values must be at most 16 levels deep")
    for item in inner:
        _check_plain(item, levels - 1)


Name = Annotated[str, Field(min_length=1, max_length=512)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Plain = Annotated[JsonValue, AfterValidator(_plain)]
Shape = Annotated[list[Annotated[int, Field(ge=1, le=MAX_SIDE)]], Field(max_length=16)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class CalibrationFields(_Part):
    """Of `hwq.methods.checkpoint.Origin.calibration`."""

    source: Literal["images", "psaq", "noise", "none"]
    images: Annotated[int, Field(ge=0, le=_MAX_INT)]
    sha256: Sha256 | None


class PreprocessingFields(_Part):
    """Of `hwq.models.preprocessing.Preprocessing`, which checks the ranges."""

    input_size: Annotated[list[int], Field(min_length=3, max_length=3)]
    mean: list[float]
    std: list[float]
    crop_pct: float
    interpolation: str
    crop_mode: str


class OriginFields(_Part):
    """Of `hwq.methods.checkpoint.Origin`."""

    model: Name
    weights: Literal["file", "pretrained", "random"]
    weights_sha256: Sha256
    method: Name
    base: Name | None
    bits: Annotated[str, Field(pattern="^w[2-8]a[2-8]$")]
    options: dict[str, Plain]
    seed: Annotated[int, Field(ge=0, lt=1 << 32)]
    device: Name
    calibration: CalibrationFields
    preprocessing: PreprocessingFields
    versions: dict[str, str]


class TensorFields(_Part):
    """Of `hwq.graph.ir.Tensor`; `quant` is a packed value."""

    name: Name
    shape: Shape
    dtype: Literal["float32"]
    quant: Plain


class NodeFields(_Part):
    """Of `hwq.graph.ir.Node`; attributes are packed values."""

    op: Name
    inputs: Annotated[list[Name], Field(max_length=64)]
    output: TensorFields
    attrs: dict[Name, Plain]


class GraphFields(_Part):
    """Of `hwq.graph.ir.Graph`, but its constants."""

    name: Name
    inputs: Annotated[list[TensorFields], Field(min_length=1, max_length=1)]
    nodes: Annotated[list[NodeFields], Field(min_length=1, max_length=100_000)]
    outputs: Annotated[list[Name], Field(min_length=1, max_length=64)]


class ObjectFields(_Part):
    """A quantizer or a format: where it was first met, and its packed value."""

    at: Annotated[str, Field(max_length=1024)]
    value: Plain


class Content(_Part):
    """All of the metadata."""

    format: str
    version: int
    origin: OriginFields
    notes: list[str]
    findings: dict[str, Plain]
    graph: GraphFields
    objects: list[ObjectFields]
    constants: list[Name]
    codes: dict[Name, Name]
    sha256: Sha256
