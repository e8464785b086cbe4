"""What the command line calls, as functions."""

from hwq.api.calibration import calibrate
from hwq.api.evaluation import evaluate
from hwq.api.network import float_graph
from hwq.api.simulation import lower, simulate

__all__ = ["calibrate", "evaluate", "float_graph", "lower", "simulate"]
