"""Images that a method may look at, and what it sees in them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwq.graph.ir import Graph
from hwq.runtime.fake_quant_executor import FakeQuantExecutor

_BATCH = 16


@dataclass(frozen=True, eq=False)
class Calibration:
    """A calibration set.

    Parameters
    ----------
    pixels : uint8[B, C, H, W]
        Images, as the network reads them.
    synthetic : bool
        True when they are seeded noise, made because no images were given.
    device : str
        Where torch runs.
    """

    pixels: NDArray[np.uint8]
    synthetic: bool = False
    device: str = "cpu"

    @classmethod
    def of(cls, images: Iterable[NDArray[np.uint8]]) -> "Calibration":
        """Return the set of the given images, each uint8[C, H, W]."""
        return cls(np.stack(list(images)))

    @classmethod
    def noise(cls, shape: Sequence[int], count: int, seed: int) -> "Calibration":
        """Return `count` images of seeded uniform noise."""
        generator = np.random.default_rng(seed)
        return cls(generator.integers(0, 256, (count, *shape), dtype=np.uint8), synthetic=True)

    def __len__(self) -> int:
        return len(self.pixels)

    def head(self, count: int) -> "Calibration":
        """Return the first `count` images."""
        return Calibration(self.pixels[:count], self.synthetic, self.device)

    def batches(self) -> Iterator[Tensor]:
        """Yield float32[b, C, H, W] pixels, a few images at a time."""
        for start in range(0, len(self.pixels), _BATCH):
            yield torch.from_numpy(self.pixels[start : start + _BATCH]).float()

    def run(self, graph: Graph, names: Sequence[str]) -> Iterator[Mapping[str, Tensor]]:
        """Yield the named tensors of `graph`, batch by batch, without gradients."""
        if not names:  # for which an executor would give the graph's outputs
            return
        executor = FakeQuantExecutor(graph, device=self.device)
        for batch in self.batches():
            with torch.no_grad():
                values = executor(batch, names)
            yield values  # outside, or who reads two at a time is left without gradients

    def collect(self, graph: Graph, names: Sequence[str]) -> dict[str, Tensor]:
        """Return the named tensors for all images: float32[B, ...]."""
        parts: dict[str, list[Tensor]] = {name: [] for name in names}
        for values in self.run(graph, names):
            for name, value in values.items():
                parts[name].append(value)
        return {name: torch.cat(values) for name, values in parts.items()}

    def reduce(
        self, graph: Graph, names: Sequence[str], function: Callable[[Tensor], Tensor]
    ) -> dict[str, Tensor]:
        """Return function(tensor of a batch), stacked over the batches: [batches, ...]."""
        parts: dict[str, list[Tensor]] = {name: [] for name in names}
        for values in self.run(graph, names):
            for name, value in values.items():
                parts[name].append(function(value))
        return {name: torch.stack(values) for name, values in parts.items()}

    def max_abs(self, graph: Graph, names: Sequence[str]) -> dict[str, float]:
        """Return the largest magnitude of each named tensor."""
        peaks = self.reduce(graph, names, lambda value: value.abs().max())
        return {name: float(values.max()) for name, values in peaks.items()}
