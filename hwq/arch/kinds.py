"""The closed vocabularies of a machine: what a field may say, each word in one place."""

from typing import Final, Literal

from hwq.numerics.array import Dataflow

DataflowChoice = Literal[Dataflow, "auto"]
Timing = Literal["rtl", "stall_free", "scalesim"]
SramCell = Literal["hp", "lstp"]
DramKind = Literal["ddr3", "ddr4", "lpddr4", "lpddr5", "hbm2", "hbm3"]

TIMINGS: Final[tuple[Timing, ...]] = ("rtl", "stall_free", "scalesim")
"""`rtl` is what the gateware's own counter says; `stall_free` an array whose folds do not overlap;
`scalesim` reports one less than that per matmul, as SCALE-Sim does."""
