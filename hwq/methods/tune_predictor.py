"""Straight-through fine-tuning of a scale predictor on what the network's blocks compute."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hwq.graph.ir import Graph, Node
from hwq.methods.calibration import Calibration
from hwq.methods.predictor import Predictor
from hwq.methods.units import split_units
from hwq.methods.workspace import Workspace
from hwq.runtime.fake_quant_executor import FAKE_QUANT_OPS
from hwq.runtime.float_executor import TorchExecutor

_LEARNING_RATE = 1e-2


def tune_predictor(
    graph: Graph,
    reference: Graph,
    calibration: Calibration,
    iterations: int,
    batch: int,
    workspace: Workspace,
) -> Predictor:
    """Let all corrections learn together from the error of every block behind them.

    The whole quantised network runs, rounding passes gradients straight through, and the loss is
    the mean over the blocks of the error of their outputs as a share of the outputs' power.
    Coefficients and biases learn by Adam, with cosine decay; the projection stays.

    Parameters
    ----------
    graph : Graph
        Quantised, with a `scale_predictor` node.
    reference : Graph
        The float graph with the same names.
    calibration : Calibration
        Images to learn from.
    iterations, batch : int
        Steps, images per step.
    workspace : Workspace
        Seed and progress.
    """
    blocks = [unit.result for unit in split_units(reference, blocks=True)]
    exact = TorchExecutor(reference, device=calibration.device)
    learner = _Learner(graph, calibration.device)
    optimizer = torch.optim.Adam(learner.parameters, _LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    generator = workspace.generator(0)
    for _ in workspace.track(range(iterations), "scale predictor", iterations):
        chosen = torch.randperm(len(calibration), generator=generator)[:batch]
        images = torch.from_numpy(calibration.pixels[chosen.numpy()]).float()
        with torch.no_grad():
            wanted = exact(images, blocks)
        got = learner.executor(images, blocks)
        shares = [_share(got[name], wanted[name]) for name in blocks]
        optimizer.zero_grad()
        torch.autograd.backward(torch.stack(shares).mean())
        optimizer.step()
        schedule.step()
    return learner.predictor(detached=True)


class _Learner:
    """A quantised network whose predictor learns.

    Parameters
    ----------
    graph : Graph
        With a `scale_predictor` node.
    device : str
        Where it runs.
    """

    def __init__(self, graph: Graph, device: str) -> None:
        functions = {**FAKE_QUANT_OPS, "scale_predictor": self._predict}
        self.executor = TorchExecutor(graph, functions, device)
        nodes = self.executor.graph.nodes
        (self._start,) = (node.attrs["predictor"] for node in nodes if node.op == "scale_predictor")
        self._coefficients = self._start.coefficients.clone().requires_grad_()
        self._biases = self._start.biases.clone().requires_grad_()
        self.parameters = [self._coefficients, self._biases]

    def predictor(self, detached: bool = False) -> Predictor:
        """Return the predictor as it is now; for a graph, `detached` and on the CPU."""
        parts = [self._start.centre, self._start.projection, *self.parameters]
        return Predictor(*(part.detach().cpu() for part in parts) if detached else parts)

    def _predict(self, node: Node, x: Sequence[Tensor]) -> Tensor:
        return self.predictor()(x[0])


def _share(got: Tensor, wanted: Tensor) -> Tensor:
    return (got - wanted).square().mean() / wanted.square().mean().clamp(min=1e-30)
