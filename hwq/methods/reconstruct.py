"""Block reconstruction: tune a quantised network, part by part, to give what the float one gives.

Sources: AdaRound (arXiv 2004.10568), BRECQ (2102.05426), QDrop (2203.05740), learned step size
(1902.08153).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from typing import Literal

import torch
from torch import Tensor

from hwq.errors import require
from hwq.graph.ir import Graph, Node
from hwq.methods.base import Bits
from hwq.methods.calibration import Calibration
from hwq.methods.rounding import LearnedRounding
from hwq.methods.sites import apply_tuned, without_weight_codes
from hwq.methods.units import Unit, split_units
from hwq.methods.workspace import Workspace
from hwq.quantizers.base import Quantizer, Rescalable
from hwq.runtime.fake_quant_executor import FAKE_QUANT_OPS, FakeQuantExecutor
from hwq.runtime.float_executor import TorchExecutor

_INFERENCE_BATCH = 16
_WARM_UP, _SHARPEST, _SOFTEST = 0.2, 2.0, 20.0


@dataclass(frozen=True)
class Reconstruction:
    """How every unit is tuned.

    Parameters
    ----------
    iterations, batch : int
        Steps per unit, images per step.
    weights : {"float", "straight_through", "rounding"}
        Weights are tuned unquantised; through their rounding; or only in which way they are
        rounded.
    weight_rate, scale_rate, rounding_rate : float
        Adam's learning rates, cosine to 0: of weights and biases, as a share of each tensor's root
        mean square, for they differ by orders of magnitude; of log2 of the activation scales; of
        AdaRound's alpha.
    drop : float
        Share of a unit's input elements that come from the float network instead of from the
        quantised units before it (QDrop).
    rounding_weight : float
        Weight of AdaRound's indecision in the loss.
    attention_weight, temperature : float
        Weight of the divergence of the attention from the float network's, and its temperature.
    blocks : bool
        Whether attention and MLP are tuned together.
    """

    iterations: int = 200
    batch: int = 32
    weights: Literal["float", "straight_through", "rounding"] = "straight_through"
    weight_rate: float = 1e-3
    scale_rate: float = 1e-3
    rounding_rate: float = 1e-2
    drop: float = 0.5
    rounding_weight: float = 0.01
    attention_weight: float = 0.0
    temperature: float = 4.0
    blocks: bool = True

    def __post_init__(self) -> None:
        for name in ("iterations", "batch"):
            value = getattr(self, name)
            require(value >= 1, f"{name} must be at least 1, not {value}")
        require(0 <= self.drop <= 1, f"drop must be in 0..1, not {self.drop}")
        rates = ("weight_rate", "scale_rate", "rounding_rate")
        for name in (*rates, "rounding_weight", "attention_weight"):
            value = getattr(self, name)
            require(value >= 0, f"{name} must not be negative, not {value}")
        require(self.temperature > 0, f"temperature must be positive, not {self.temperature}")


def steps_for(iterations: int, bits: Bits) -> int:
    """Return a fifth of `iterations` at 6 bits and more, as I&S-ViT does; at least 1 of 1."""
    require(iterations >= 1, f"iterations must be at least 1, not {iterations}")
    return max(iterations // 5, 1) if min(bits.weight, bits.activation) >= 6 else iterations


def reconstruct(
    graph: Graph,
    reference: Graph,
    calibration: Calibration,
    settings: Reconstruction,
    workspace: Workspace,
    stage: str,
) -> Graph:
    """Tune weights, biases and activation scales of a quantised graph, unit by unit.

    Parameters
    ----------
    graph : Graph
        Quantised, as `insert_quantizers` returns it.
    reference : Graph
        The float graph with the same names.
    calibration : Calibration
        Images; all are used. Without real ones nothing is tuned.
    settings : Reconstruction
        How.
    workspace : Workspace
        Keeps every tuned unit as "<stage>.<number>".
    stage : str
        Name of this pass.

    Returns
    -------
    Graph
        With new constants under the old names and activation scales as tuned.
    """
    if calibration.synthetic:
        return graph  # there is nothing to learn from noise
    units = split_units(graph, settings.blocks)
    device = calibration.device
    exact = quantised = torch.cat(list(calibration.batches()))
    tuned: dict[str, Tensor] = {}
    for number, unit in enumerate(workspace.track(units, stage, len(units))):
        tuning = _Tuning(unit, settings, device)
        wanted = _run(unit.of(reference).graph, exact, tuning.fetch, device)
        key = f"{stage}.{number:03d}"
        of_unit = workspace.load(key)
        if of_unit is None:
            of_unit = tuning.run(quantised, exact, wanted, workspace.generator(number))
            workspace.save(key, of_unit)
        tuned.update(of_unit)
        done = apply_tuned(unit.graph, of_unit)
        if settings.weights == "float":
            done = without_weight_codes(done)
        quantised = _run(done, quantised, (unit.result,), device)[unit.result]
        exact = wanted[unit.result]
    return apply_tuned(graph, tuned)


def _run(graph: Graph, inputs: Tensor, fetch: tuple[str, ...], device: str) -> dict[str, Tensor]:
    """Return tensors of a unit for all images: float[B, ...] each."""
    executor = FakeQuantExecutor(graph, device)
    parts: dict[str, list[Tensor]] = {name: [] for name in fetch}
    with torch.no_grad():
        for batch in torch.split(inputs, _INFERENCE_BATCH):
            for name, value in executor(batch, fetch).items():
                parts[name].append(value.cpu())
    return {name: torch.cat(values) for name, values in parts.items()}


@dataclass(eq=False)
class _Tuning:
    """One unit while it is tuned."""

    unit: Unit
    settings: Reconstruction
    device: str
    weights: dict[str, Tensor] = field(default_factory=dict)
    roundings: dict[str, LearnedRounding] = field(default_factory=dict)
    factors: dict[str, Tensor] = field(default_factory=dict)
    rules: dict[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        functions = {**FAKE_QUANT_OPS, "quantize": self._quantize}
        self.executor = TorchExecutor(self.unit.graph, functions, self.device)
        for node in self.unit.graph.nodes:
            if node.op == "quantize":
                self._prepare(node)
            elif node.op == "linear" and len(node.inputs) > 2:
                self._free(node.inputs[2])

    def _prepare(self, node: Node) -> None:
        quantizer: Quantizer = node.quantizer
        source = node.inputs[0]
        if source not in self.unit.graph.constants:
            if isinstance(quantizer, Rescalable) and source != self.unit.source:
                self._learn_scale(node, quantizer)
        elif self.settings.weights == "rounding":
            assert quantizer.uniform is not None
            rounding = LearnedRounding(self.executor.constants[source], quantizer.uniform)
            self.roundings[source] = rounding
            self.rules[node.name] = lambda x: rounding.soft()
        else:
            self._free(source)
            if self.settings.weights == "float":
                self.rules[node.name] = lambda x: x

    def _free(self, name: str) -> None:
        """Let the constant called `name` be tuned."""
        parameter = self.executor.constants[name].clone().requires_grad_()
        self.executor.constants[name] = self.weights[name] = parameter

    def _learn_scale(self, node: Node, quantizer: Rescalable) -> None:
        exponent = torch.zeros((), device=self.device, requires_grad=True)
        self.factors[node.name] = exponent
        self.rules[node.name] = lambda x: quantizer.rescaled(torch.exp2(exponent)).fake_quantize(x)

    def _quantize(self, node: Node, x: Sequence[Tensor]) -> Tensor:
        rule = self.rules.get(node.name)
        result: Tensor = rule(x[0]) if rule else node.quantizer.fake_quantize(x[0])
        return result

    @property
    def fetch(self) -> tuple[str, ...]:
        """Tensors that the loss compares: the result, and scores of attention if they count."""
        scores = [node.inputs[0] for node in self.unit.graph.nodes if node.op == "softmax"]
        return (self.unit.result, *(scores if self.settings.attention_weight else ()))

    def run(
        self,
        quantised: Tensor,
        exact: Tensor,
        wanted: Mapping[str, Tensor],
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Tune.

        Parameters
        ----------
        quantised, exact : float[B, ...]
            The unit's inputs for all images, behind the quantised units and in the float network.
        wanted : Mapping[str, Tensor]
            What the float network makes of them, for every name of `fetch`.
        generator : torch.Generator
            Draws images and inputs.

        Returns
        -------
        dict[str, Tensor]
            New constants by name, and factors on scales by name of the `quantize` node.
        """
        settings = self.settings
        rates = [(weight, settings.weight_rate * _rms(weight)) for weight in self.weights.values()]
        rates += [(rounding.alpha, settings.rounding_rate) for rounding in self.roundings.values()]
        rates += [(exponent, settings.scale_rate) for exponent in self.factors.values()]
        optimizer = torch.optim.Adam([{"params": [value], "lr": rate} for value, rate in rates])
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.iterations)
        for step in range(settings.iterations):
            optimizer.zero_grad()
            chosen = torch.randperm(len(exact), generator=generator)[: settings.batch]
            drop = torch.rand(exact[chosen].shape, generator=generator) < settings.drop
            mixed = torch.where(drop, exact[chosen], quantised[chosen])
            got = self.executor(mixed, self.fetch)
            targets = {name: value[chosen].to(self.device) for name, value in wanted.items()}
            loss = self._loss(got, targets) + self._indecision(step)
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        return self._result()

    def _loss(self, got: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Tensor:
        result, *scores = self.fetch
        # summed over channels, averaged over tokens and images
        loss = (got[result] - wanted[result]).square().sum(-1).mean()
        for name in scores:
            loss = loss + self.settings.attention_weight * self._divergence(got[name], wanted[name])
        return loss

    def _divergence(self, got: Tensor, wanted: Tensor) -> Tensor:
        """KL of softened attention over the keys, averaged over images, heads and queries."""
        sharpness = log(2.0) / self.settings.temperature  # scores are base-2 logarithms
        ours, theirs = (torch.log_softmax(x * sharpness, -1) for x in (got, wanted))
        return (theirs.exp() * (theirs - ours)).sum(-1).mean()

    def _indecision(self, step: int) -> Tensor:
        progress = step / self.settings.iterations
        if progress < _WARM_UP or not self.roundings:
            return torch.zeros((), device=self.device)
        rest = (1 - progress) / (1 - _WARM_UP)
        sharpness = _SHARPEST + (_SOFTEST - _SHARPEST) * rest
        total = torch.stack(
            [rounding.indecision(sharpness) for rounding in self.roundings.values()]
        ).sum()
        return self.settings.rounding_weight * total

    def _result(self) -> dict[str, Tensor]:
        tuned = {name: value.detach().cpu() for name, value in self.weights.items()}
        tuned |= {name: rounding.hard().cpu() for name, rounding in self.roundings.items()}
        return tuned | {name: torch.exp2(v).detach().cpu() for name, v in self.factors.items()}


def _rms(x: Tensor) -> float:
    return float(x.detach().square().mean().sqrt())
