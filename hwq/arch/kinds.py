"""The closed vocabularies of a machine: what a field may say, each word in one place."""

from typing import Final, Literal

Dataflow = Literal["output_stationary", "weight_stationary", "input_stationary"]
DataflowChoice = Literal["output_stationary", "weight_stationary", "input_stationary", "auto"]
Timing = Literal["rtl", "stall_free", "scalesim"]
PeKind = Literal["multiply", "shift", "shift_parity", "multiply_shift"]
SramCell = Literal["hp", "lstp"]
DramKind = Literal["ddr3", "ddr4", "lpddr4", "lpddr5", "hbm2", "hbm3"]

DATAFLOWS: Final[tuple[Dataflow, ...]] = (
    "output_stationary",
    "weight_stationary",
    "input_stationary",
)
"""What stays in the array while the third dimension streams through it."""

TIMINGS: Final[tuple[Timing, ...]] = ("rtl", "stall_free", "scalesim")
"""`rtl` is what the gateware's own counter says; `stall_free` an array whose folds do not overlap;
`scalesim` reports one less than that per matmul, as SCALE-Sim does."""

PE_KINDS: Final[tuple[PeKind, ...]] = ("multiply", "shift", "shift_parity", "multiply_shift")
"""Processing elements: significand product; barrel shift by a log2 code; the same into two
accumulators chosen by the code's parity (log_sqrt2); product followed by a 2:1 shift (twin)."""

VECTOR_OPS: Final[tuple[str, ...]] = (
    "softmax",
    "layernorm",
    "activation",
    "requantize",
    "rescale",
    "encode",
    "add",
    "mul",
    "mean",
    "move",
    "outlier_split",
    "outlier_join",
    "range_extract",
    "scale_predictor",
)
"""Work of the vector unit; each has a timing in `hwq.arch.unit_timing` and an energy in
`hwq.cost.energy`."""
