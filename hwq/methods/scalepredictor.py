"""ScalePredictor: activation scales per image, predicted from the ranges of early activations."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch

from hwq.errors import UsageError, require
from hwq.graph.ir import Graph, Node
from hwq.graph.ir import Tensor as GraphTensor
from hwq.methods.base import Bits, Method, Quantized, with_formats
from hwq.methods.calibration import Calibration
from hwq.methods.catalog import METHODS
from hwq.methods.error_table import OFFSETS, RANGES, tabulate
from hwq.methods.evaluate import sqnr_db
from hwq.methods.predictor import Predictor, fit_predictor, oracle_report
from hwq.methods.sites import apply_tuned, predictable
from hwq.methods.tune_predictor import tune_predictor
from hwq.methods.workspace import NO_WORKSPACE, Workspace
from hwq.quantizers.dynamic import Dynamic

_CHOICES = ("best", "base", "static", "dynamic", "dynamic and static", "tuned")


@dataclass(frozen=True)
class ScalePredictor(Method):
    """Per-image activation scales on top of another method.

    The paper (arXiv 2606.21947) is public as an abstract only: robust range statistics of shallow
    activations feed a low-order polynomial that predicts all scales at once. **This is our
    reconstruction**, not the authors' code:

    * statistic: the residual stream after the patch embedding and after the first `taps` - 1
      blocks is cut into chunks of tokens; max - min per channel, summed over the chunks;
    * one linear projection of all these ranges to `features` numbers, then a polynomial of degree
      `degree` in each of them gives log2 of the factor on every scale (zero points stay);
    * fit: starting from the static scales, by gradient descent on the tabulated error of every
      calibration image, not by regressing the best scale, which can raise the error because over-
      and under-clipping do not cost the same; the error is what quantization of its input
      changes in the linear layer's output;
    * gate: a quantizer keeps its predictor only if, on held-out images, the prediction explains
      the best per-image scales (R^2 > `min_r2`) and lowers the error below that of the best
      constant correction; otherwise its scale stays static, times the best constant correction
      where that lowers the held-out error by more than `min_gain`;
    * tuning, if asked for: open gates learn from the blocks' error, straight through the rounding;
    * verdict: of the base, the base with better static scales, both with the predictor, and the
      tuned one, that whose logits are nearest to the float network's on the held-out images is
      returned.

    Scales are predicted for the uniform left operands of linear layers that come after the taps.

    Parameters
    ----------
    base : str
        The method that is made dynamic.
    taps : int
        Residual tensors that are looked at.
    features : int
        Width of the projection, at most 8.
    degree : int
        Degree of the polynomials, 1 to 3.
    min_r2 : float
        The gate.
    min_gain : float
        Share of its error that a scale must lose for its static value to be changed.
    held_out : float
        Share of the calibration images that only judge.
    iterations, batch : int
        Steps of tuning, none by default, and images per step.
    choose : {"best", "base", "static", "dynamic", "dynamic and static", "tuned"}
        Which candidate is returned: by the verdict, or for an ablation this one; the base where
        it does not exist.
    """

    name: ClassVar[str] = "scalepredictor"
    images: int = 512
    base: str = "repq_vit"
    taps: int = 2
    features: int = 8
    degree: int = 1
    min_r2: float = 0.2
    min_gain: float = 0.01
    held_out: float = 0.3
    iterations: int = 0
    batch: int = 8
    choose: str = "best"
    base_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.base == self.name:
            raise UsageError("scalepredictor cannot be its own base")
        if self.choose not in _CHOICES:
            known = ", ".join(_CHOICES)
            raise UsageError(f"choose must be one of {known}, not {self.choose!r}")
        for name, least, most in (("taps", 1, 64), ("features", 1, 8), ("degree", 1, 3)):
            value = getattr(self, name)
            require(least <= value <= most, f"{name} must be in {least}..{most}, not {value}")
        require(self.images >= 2, f"images must be at least 2, not {self.images}")
        for name, least in (("iterations", 0), ("batch", 1)):
            value = getattr(self, name)
            require(value >= least, f"{name} must be at least {least}, not {value}")
        require(0 <= self.held_out < 1, f"held_out must be in 0..1, below 1, not {self.held_out}")

    def fit(
        self,
        graph: Graph,
        calibration: Calibration,
        bits: Bits,
        workspace: Workspace = NO_WORKSPACE,
    ) -> Quantized:
        """Quantise `graph`; see `Method.fit`."""
        base = METHODS[self.base](**self.base_options).fit(graph, calibration, bits, workspace)
        return self.extend(base, graph, calibration, workspace)

    @property
    def extends(self) -> tuple[str, Mapping[str, Any]]:
        """The base method and its options."""
        return self.base, self.base_options

    def extend(
        self,
        base: Quantized,
        graph: Graph,
        calibration: Calibration,
        workspace: Workspace = NO_WORKSPACE,
    ) -> Quantized:
        """Make the scales of what the base method returned dynamic.

        Parameters
        ----------
        base : Quantized
            Result of the base method.
        graph : Graph
            The float graph that it was fitted to.
        calibration : Calibration
            Images to fit on and to judge by.
        workspace : Workspace, optional
            Seed and progress of the tuning.
        """
        taps = find_taps(base.graph, self.taps)
        names = predictable(base.graph, taps[-1])
        if not names:
            raise UsageError(f"model {graph.name!r} has no quantizer after block {self.taps - 2}")
        static = _with_ranges(base.graph, taps)
        if calibration.synthetic:
            return self._not_fitted(base, static, names, calibration)
        ranges, errors = tabulate(static, names, calibration)
        fit = fit_predictor(
            ranges, errors, OFFSETS, self.features, self.degree, self.min_r2, self.held_out
        )
        used = [name for name, keep in zip(names, fit.keep, strict=True) if keep]
        corrections = zip(names, fit.constants(self.min_gain), strict=True)
        changed = {name: torch.exp2(octaves) for name, octaves in corrections if octaves != 0}
        candidates = {"base": base.graph, "static": apply_tuned(base.graph, changed)}
        if used:
            both = apply_tuned(static, changed)
            candidates["dynamic"] = _dynamic(static, used, fit.predictor)
            candidates["dynamic and static"] = _dynamic(both, used, fit.predictor)
            if self.iterations:
                predictor = tune_predictor(
                    candidates["dynamic and static"],
                    graph,
                    calibration.head(len(calibration) - fit.images),
                    self.iterations,
                    self.batch,
                    workspace,
                )
                candidates["tuned"] = _dynamic(both, used, predictor)
        judges = replace(calibration, pixels=calibration.pixels[-fit.images :])
        sqnr = _logit_sqnr_db(candidates, graph, judges)
        best = max(sqnr, key=sqnr.__getitem__)
        if self.choose != "best":
            best = self.choose if self.choose in candidates else "base"
        notes = [
            *base.notes,
            "scalepredictor is a reconstruction from the paper's abstract",
            f"scale predictor: {len(used)} of {len(names)} gates open, {len(changed)} other scales "
            f"with a better static value; returned: {best}",
        ]
        findings = {
            "base": self.base,
            "taps": list(taps),
            "static_changed": len(changed),
            "chosen": best,
            "held_out_logit_sqnr_db": sqnr,
            **oracle_report(fit, names),
        }
        if best == "base":
            return Quantized(base.graph, tuple(notes), findings)
        formatted = with_formats(candidates[best], calibration.head(Method.images))
        return Quantized(formatted, tuple(notes), findings)

    def _not_fitted(
        self, base: Quantized, static: Graph, names: list[str], noise: Calibration
    ) -> Quantized:
        """Return a predictor that corrects nothing, of all scales: its cost is known."""
        width = static.shape(RANGES)[0]
        predictor = Predictor.static(width, len(names), self.features, self.degree)
        note = "scale predictor not fitted (no calibration images): its cost is counted for all "
        note += f"{len(names)} scales"
        graph = with_formats(_dynamic(static, names, predictor), noise)
        bound = {"cost": "upper bound: every gate is counted as open"}
        return Quantized(graph, (*base.notes, note), bound)


def _logit_sqnr_db(
    candidates: Mapping[str, Graph], reference: Graph, images: Calibration
) -> dict[str, float]:
    """Power of the float network's logits over that of every candidate's difference from them."""
    (name,) = reference.outputs
    wanted = images.collect(reference, [name])[name]
    return {
        kind: sqnr_db(wanted, images.collect(graph, [name])[name])
        for kind, graph in candidates.items()
    }


def _dynamic(graph: Graph, names: list[str], predictor: Predictor) -> Graph:
    """Let a predictor correct the scales of the `quantize` nodes called `names`.

    `graph` has the node `RANGES` as its last output, which goes.
    """
    index = {name: position for position, name in enumerate(names)}
    source = Node(
        "scale_predictor",
        (RANGES,),
        GraphTensor("scale_predictor", (len(names),)),
        {"predictor": predictor, "shape": (len(names),)},
    )
    nodes = []
    for node in graph.nodes:
        if node.name in index:
            quantizer = Dynamic(node.quantizer, index[node.name])
            node = replace(
                node,
                inputs=(node.inputs[0], source.name),
                output=replace(node.output, quant=quantizer),
            )
        nodes.append(node)
        if node.name in source.inputs:
            nodes.append(source)
    return graph.rebuild(nodes, outputs=graph.outputs[:-1])


def find_taps(graph: Graph, count: int) -> tuple[str, ...]:
    """Residual tensors after the patch embedding and after each of the first count - 1 blocks."""
    sums = [node.name for node in graph.nodes if node.op == "add"]
    taps = tuple(sums[0 : 2 * count : 2])
    if len(taps) < count:
        raise UsageError(
            f"model {graph.name!r} has {len(sums)} residual sums, too few for {count} taps"
        )
    return taps


def _with_ranges(graph: Graph, taps: tuple[str, ...]) -> Graph:
    """Add the range statistics of the taps, concatenated, as a second output."""
    patches = next(node for node in graph.nodes if node.op == "linear").output.shape[1]
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes.append(node)
        if node.name in taps:
            nodes += _range_nodes(node, patches)
    width = sum(graph.shape(tap)[2] for tap in taps)
    joined = GraphTensor(RANGES, (width,))
    nodes.append(Node("concat", tuple(f"{tap}.ranges" for tap in taps), joined, {"axis": 0}))
    return graph.rebuild(nodes, outputs=[*graph.outputs, joined.name])


def _range_nodes(tap: Node, patches: int) -> list[Node]:
    """Chunked extrema of the patch tokens of one residual tensor."""
    _, tokens, width = tap.output.shape
    cut = GraphTensor(f"{tap.name}.patches", (1, patches, width))
    bounds = {"axis": 1, "start": tokens - patches, "stop": tokens}
    ranges = GraphTensor(f"{tap.name}.ranges", (width,))
    return [
        Node("slice", (tap.name,), cut, bounds),
        Node("range_extract", (cut.name,), ranges, {"chunk_tokens": _chunk(patches)}),
    ]


def _chunk(tokens: int) -> int:
    """Return the divisor of `tokens` nearest to its square root: one row of a square image."""
    divisors = [n for n in range(1, tokens + 1) if tokens % n == 0]
    return min(divisors, key=lambda n: abs(n - tokens**0.5))
