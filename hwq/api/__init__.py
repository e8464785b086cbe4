"""What the command line calls, as functions."""

from hwq.api.calibration import calibrate
from hwq.api.evaluation import evaluate, evaluate_integers
from hwq.api.measuring import measure
from hwq.api.network import float_graph
from hwq.api.pricing import price
from hwq.api.simulation import lower, simulate
from hwq.request import Request

__all__ = [
    "Request",
    "calibrate",
    "evaluate",
    "evaluate_integers",
    "float_graph",
    "lower",
    "measure",
    "price",
    "simulate",
]
