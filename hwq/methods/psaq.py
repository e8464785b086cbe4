"""Calibration images without data: images whose patches are as diverse as those of real ones."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import cos, pi, sqrt

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor

from hwq.errors import require
from hwq.graph.ir import Graph
from hwq.methods.calibration import Calibration
from hwq.methods.patch_entropy import AttentionLayer, attention_layers, layer_entropy
from hwq.methods.workspace import NO_WORKSPACE, Workspace
from hwq.runtime.fake_quant_executor import FakeQuantExecutor

# images are optimised in units of x = (pixel / 255 - 0.45) / 0.225, about ImageNet's deviation,
# because learning rate and smoothness were published for normalised images
_CENTRE, _UNIT = 0.45 * 255, 0.225 * 255
_LOW, _HIGH = -_CENTRE / _UNIT, (255 - _CENTRE) / _UNIT
_BETAS = (0.5, 0.9)
_WARM_UP = 0.2
# the image is rolled by at most this share of its side, in each epoch
_ROLL = (15 / 224, 30 / 224)
_SMOOTHNESS = 0.05
# the target of the variation was published for batches of 32 images of 3 x 224 x 224
_TARGET = (2500.0, 3000.0)
_TARGET_IMAGES, _TARGET_SIZE = 32, 3 * 224 * 224


@dataclass(frozen=True)
class PsaqSettings:
    """How images are made.

    Parameters
    ----------
    count : int
        Images.
    iterations : int
        Gradient steps, half of them in each of two epochs. Published: 1000; the default keeps 32
        images for DeiT-T within ten minutes of two cores.
    learning_rate : float
        In normalised units (about 57 pixels). Published: 0.20 for DeiT, 0.25 for Swin.
    batch : int
        Images that are made together, which costs memory; each batch has its own random numbers.
    """

    count: int = 32
    iterations: int = 240
    learning_rate: float = 0.2
    batch: int = 8

    def __post_init__(self) -> None:
        for name, least in (("count", 1), ("iterations", 2), ("batch", 1)):
            value = getattr(self, name)
            whole = isinstance(value, int) and value >= least
            require(whole, f"{name} must be a whole number of at least {least}, not {value!r}")
        rate = self.learning_rate
        positive = isinstance(rate, int | float) and rate > 0
        require(positive, f"learning_rate must be a positive number, not {rate!r}")


DEFAULT = PsaqSettings()


@dataclass(frozen=True, eq=False)
class Synthesis:
    """Images and how they came about.

    Parameters
    ----------
    pixels : uint8[B, C, H, W]
        Images.
    first_loss, last_loss : float
        Mean loss of an image before the first and before the last gradient step.
    """

    pixels: NDArray[np.uint8]
    first_loss: float
    last_loss: float


def synthesize(
    graph: Graph,
    settings: PsaqSettings = DEFAULT,
    device: str = "cpu",
    workspace: Workspace = NO_WORKSPACE,
) -> Calibration:
    """Make a calibration set from nothing but a network; see `make_images`."""
    return Calibration(make_images(graph, settings, device, workspace).pixels, device=device)


def make_images(
    graph: Graph,
    settings: PsaqSettings = DEFAULT,
    device: str = "cpu",
    workspace: Workspace = NO_WORKSPACE,
) -> Synthesis:
    """Optimise noise until its patches are diverse, it has a class, and it is smooth.

    Per image: - sum over attention layers of the entropy of patch similarities + cross-entropy to
    a random class + 0.05 |variation - target|, by Adam with warm-up and cosine decay, twice; the
    image is rolled and flipped at random before every step (Li et al., ECCV 2022, arXiv
    2203.02250). The published variation is one norm over a batch of 32; here every image has its
    own, times sqrt(32), so images do not depend on each other.

    Parameters
    ----------
    graph : Graph
        Float graph whose input is 8-bit pixels; of a network with attention.
    settings : PsaqSettings
        How many, how long.
    device : str
        Where torch runs.
    workspace : Workspace
        Seed, checkpoints per batch ("psaq.0", "psaq.1", ...), progress.

    Raises
    ------
    UsageError
        When no attention output has two patches.
    """
    layers = attention_layers(graph)
    executor = FakeQuantExecutor(graph, device)
    parts = []
    for index, start in enumerate(range(0, settings.count, settings.batch)):
        key = f"psaq.{index}"
        part = workspace.load(key)
        if part is None:
            size = min(settings.batch, settings.count - start)
            what = f"images {start + 1} to {start + size} of {settings.count}"
            steps = workspace.track(range(settings.iterations), what, settings.iterations)
            generator = workspace.generator(index)
            part = _make_batch(executor, layers, size, settings, generator, steps)
            workspace.save(key, part)
        parts.append(part)
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    first, last = (float(joined[name].mean()) for name in ("first_loss", "last_loss"))
    return Synthesis(joined["pixels"].numpy(), first, last)


def _make_batch(
    executor: FakeQuantExecutor,
    layers: tuple[AttentionLayer, ...],
    size: int,
    settings: PsaqSettings,
    generator: Generator,
    steps: Iterable[int],
) -> dict[str, Tensor]:
    """Optimise `size` images: pixels, first and last loss of each."""
    graph = executor.graph
    logits = graph.outputs[0]
    shape = graph.inputs[0].shape[1:]
    low, high = _TARGET
    images = torch.randn((size, *shape), generator=generator).clamp(_LOW, _HIGH)
    classes = torch.randint(graph.shape(logits)[-1], (size,), generator=generator)
    target = low + (high - low) * torch.rand(size, generator=generator)
    images, classes, target = (part.to(executor.device) for part in (images, classes, target))
    images.requires_grad_()
    optimizer = torch.optim.Adam([images], settings.learning_rate, _BETAS)
    fetch = (logits, *(layer.output for layer in layers))
    losses = []
    for step in steps:
        epoch, progress = _position(step, settings.iterations)
        optimizer.param_groups[0]["lr"] = settings.learning_rate * _rate(progress)
        moved = _move(images, epoch, generator)
        values = executor(_CENTRE + _UNIT * moved, fetch)
        loss = F.cross_entropy(values[logits].flatten(1), classes, reduction="none")
        loss = loss + _SMOOTHNESS * (variation(moved) - target).abs()
        for layer in layers:
            loss = loss - layer_entropy(values[layer.output], layer.prefix)
        optimizer.zero_grad()
        # the sum: an image's gradient does not depend on how many are made together
        torch.autograd.backward(loss.sum())
        optimizer.step()
        with torch.no_grad():
            images.clamp_(_LOW, _HIGH)
        losses.append(loss.detach())
    pixels = (_CENTRE + _UNIT * images.detach()).round().clamp(0, 255).to(torch.uint8)
    return {"pixels": pixels.cpu(), "first_loss": losses[0].cpu(), "last_loss": losses[-1].cpu()}


def variation(images: Tensor) -> Tensor:
    """float[B, C, H, W] in normalised units -> float[B]: how rough an image is.

    The sum of the L2 norms of the first differences along rows, columns and both diagonals, as
    if for a batch of 32 such images of 3 x 224 x 224 (L2 norms grow with the root of the count).
    """
    differences = (
        images[..., :, :-1] - images[..., :, 1:],
        images[..., :-1, :] - images[..., 1:, :],
        images[..., 1:, :-1] - images[..., :-1, 1:],
        images[..., :-1, :-1] - images[..., 1:, 1:],
    )
    a, b, c, d = (torch.linalg.vector_norm(part.flatten(1), dim=1) for part in differences)
    total: Tensor = a + b + c + d
    return total * sqrt(_TARGET_IMAGES * _TARGET_SIZE / images[0].numel())


def _position(step: int, iterations: int) -> tuple[int, float]:
    """Epoch of a step, 0 or 1, and the part of that epoch that is done after it, in (0, 1]."""
    first = (iterations + 1) // 2
    if step < first:
        return 0, (step + 1) / first
    return 1, (step + 1 - first) / (iterations - first)


def _rate(progress: float) -> float:
    """Share of the learning rate: linear up over a fifth of the epoch, then half a cosine down."""
    if progress < _WARM_UP:
        return progress / _WARM_UP
    return 0.5 * (1 + cos(pi * (progress - _WARM_UP) / (1 - _WARM_UP)))


def _move(images: Tensor, epoch: int, generator: Generator) -> Tensor:
    """Roll all images by one random offset, the same along both sides, and maybe mirror them."""
    reach = round(_ROLL[epoch] * images.shape[-1])
    offset, mirror = torch.randint(2**31, (2,), generator=generator).tolist()
    shift = offset % (2 * reach + 1) - reach
    moved = torch.roll(images, (shift, shift), (-2, -1))
    return moved.flip(-1) if mirror % 2 else moved
