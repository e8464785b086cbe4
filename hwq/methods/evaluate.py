"""How good a quantised network is: accuracy in float, fake-quant and integers, error per layer."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwq.accuracy import Accuracy
from hwq.graph.ir import Graph
from hwq.methods.workspace import Track, no_track
from hwq.numerics.fixed_point import FixedPoint
from hwq.quantizers.base import Quantizer
from hwq.runtime.fake_quant_executor import FAKE_QUANT_OPS, FakeQuantExecutor
from hwq.runtime.float_executor import TorchExecutor
from hwq.runtime.image_executor import Execution
from hwq.runtime.integer_executor import IntegerExecutor
from hwq.runtime.integers import decibel, to_real
from hwq.runtime.logits import to_logits

T = TypeVar("T")
_BATCH = 16


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Accuracy, and the clamped elements of each integer node over all images."""

    accuracy: Accuracy
    saturations: Mapping[str, int]


def evaluate(
    reference: Graph | Tensor | None,
    quantised: Graph,
    integer: Graph,
    images: Iterable[NDArray[np.uint8]],
    labels: Sequence[int],
    track: Track = no_track,
    device: str = "cpu",
) -> Evaluation:
    """Run the three networks on the same images.

    Parameters
    ----------
    reference : Graph, float[B, classes] or None
        The float network, or its logits from `float_logits`; None where there is none.
    quantised, integer : Graph
        Two forms of one network; all read pixels.
    images : iterable of uint8[C, H, W]
        As many as there are labels.
    labels : sequence of int
        Class of each image.
    track : callable, optional
        Shows progress.
    device : str, optional
        Where torch runs.
    """
    graphs = [quantised, *([reference] if isinstance(reference, Graph) else [])]
    executors = [FakeQuantExecutor(graph, device) for graph in graphs]
    fast = IntegerExecutor(integer)
    real: list[list[Tensor]] = [[] for _ in executors]
    runs: list[Execution] = []
    for image_batch in _batches(track(images, "accuracy", len(labels)), _BATCH):
        for executor, rows in zip(executors, real, strict=True):
            rows.append(_logits(executor, image_batch))
        runs += fast.run_batch(image_batch)
    fake, *others = (torch.cat(rows) for rows in real)
    fp32 = reference if isinstance(reference, Tensor) else next(iter(others), None)
    exact = torch.from_numpy(to_logits(integer, runs)).float()
    saturations: dict[str, int] = {}
    for run in runs:
        for node, count in run.saturations.items():
            saturations[node] = saturations.get(node, 0) + count
    return _compare(torch.tensor(labels), fp32, fake, exact, saturations)


def float_logits(
    graph: Graph,
    images: Iterable[NDArray[np.uint8]],
    count: int,
    track: Track = no_track,
    device: str = "cpu",
) -> Tensor:
    """Return the logits of a float network for `count` images: float32[B, classes]."""
    executor = FakeQuantExecutor(graph, device)
    tracked = track(images, "float network", count)
    return torch.cat([_logits(executor, batch) for batch in _batches(tracked, _BATCH)])


def _logits(executor: TorchExecutor, images: Sequence[NDArray[np.uint8]]) -> Tensor:
    pixels = torch.from_numpy(np.stack(images)).float()
    with torch.no_grad():
        return executor(pixels)[executor.graph.outputs[0]].cpu().flatten(1)


def _compare(
    truth: Tensor,
    fp32: Tensor | None,
    fake: Tensor,
    exact: Tensor,
    saturations: Mapping[str, int],
) -> Evaluation:
    guess = {"fake": fake.argmax(1), "exact": exact.argmax(1)}
    right = {name: answer == truth for name, answer in guess.items()}
    plain = None if fp32 is None else fp32.argmax(1)
    accuracy = Accuracy(
        images=len(truth),
        top1_fp32=None if plain is None else _percent(plain == truth),
        top1_fake_quant=_percent(right["fake"]),
        top1_integer=_percent(right["exact"]),
        integer_only=int((right["exact"] & ~right["fake"]).sum()),
        fake_quant_only=int((right["fake"] & ~right["exact"]).sum()),
        agreement_fp32=None if plain is None else _percent(guess["exact"] == plain),
        agreement_fake_quant=_percent(guess["exact"] == guess["fake"]),
        integer_sqnr_fp32_db=None if fp32 is None else sqnr_db(fp32, exact),
        fake_quant_sqnr_fp32_db=None if fp32 is None else sqnr_db(fp32, fake),
        logit_sqnr_db=sqnr_db(fake, exact),
    )
    return Evaluation(accuracy, saturations)


def layer_sqnr_db(
    quantised: Graph, integer: Graph, images: Sequence[NDArray[np.uint8]]
) -> dict[str, float]:
    """Signal-to-quantization-noise ratio of every integer tensor against the float network.

    Codes with a per-image scale are left out, and those whose outliers are elsewhere: they have no
    decoding of their own. Where a method has tuned the weights, the float network is that with the
    tuned weights.

    Parameters
    ----------
    quantised : Graph
        Hoisted, so that its names are the integer graph's; run without its quantizers.
    integer : Graph
        Lowered from it.
    images : sequence of uint8[C, H, W]
        A few.
    """
    plain = {**FAKE_QUANT_OPS, "quantize": lambda node, x: x[0]}
    executor = TorchExecutor(quantised, plain)
    names = [
        node.name
        for node in integer.nodes
        if _is_whole(node.output.quant)
        and node.name in quantised.by_name
        and len(node.output.shape) > 1
    ]
    fast = IntegerExecutor(integer)
    signal = dict.fromkeys(names, 0.0)
    noise = dict.fromkeys(names, 0.0)
    for image in images:
        pixels = torch.from_numpy(image).float()[None]
        with torch.no_grad():
            real = executor.run({quantised.inputs[0].name: pixels}, names)
        codes = fast.run(image, names).values
        for name in names:
            x = real[name].double().numpy()
            error = x - to_real(codes[name], integer.tensors[name].quant)
            signal[name] += float(np.square(x).sum())
            noise[name] += float(np.square(error).sum())
    return {name: decibel(signal[name], noise[name]) for name in names}


def sqnr_db(signal: Tensor, noisy: Tensor) -> float:
    """10 log10 of the power of `signal` over that of the difference; infinite when equal."""
    difference = signal.double() - noisy.double()
    power = float(signal.double().square().sum())
    return decibel(power, float(difference.square().sum()))


def _percent(hits: Tensor) -> float:
    return 100.0 * int(hits.sum()) / len(hits)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


def _is_whole(quant: Any) -> bool:
    """Whether integers of this meaning stand for all of a tensor, on any image."""
    if isinstance(quant, Quantizer):
        return quant.correction is None and quant.side is None
    return isinstance(quant, FixedPoint)
