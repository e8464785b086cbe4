"""What the command line calls, as functions; each is imported when it is first asked for.

torch takes a second, and not every function needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwq.api.calibration import calibrate
    from hwq.api.cosimulation import cosimulate
    from hwq.api.evaluation import evaluate, evaluate_integers
    from hwq.api.generation import generate
    from hwq.api.integers import open_integers
    from hwq.api.measuring import measure
    from hwq.api.network import float_graph
    from hwq.api.pricing import price
    from hwq.api.simulation import lower, simulate
    from hwq.request import Request

__all__ = [
    "Request",
    "calibrate",
    "cosimulate",
    "evaluate",
    "evaluate_integers",
    "float_graph",
    "generate",
    "lower",
    "measure",
    "open_integers",
    "price",
    "simulate",
]
_MODULES = {
    "Request": "hwq.request",
    "calibrate": "hwq.api.calibration",
    "cosimulate": "hwq.api.cosimulation",
    "evaluate": "hwq.api.evaluation",
    "evaluate_integers": "hwq.api.evaluation",
    "float_graph": "hwq.api.network",
    "generate": "hwq.api.generation",
    "lower": "hwq.api.simulation",
    "measure": "hwq.api.measuring",
    "open_integers": "hwq.api.integers",
    "price": "hwq.api.pricing",
    "simulate": "hwq.api.simulation",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
