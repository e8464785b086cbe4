"""Whether a graph computes what its module does: every import is checked before it is used.

Seeded random pixels go through the module and through the graph. The imported graph is compared
with the exported program tensor by tensor, so that an error can name the first that differs; the
prepared graph, which folds and renames, by what comes out.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from hwq.errors import ImportGraphError
from hwq.graph.aten.builder import module_path
from hwq.graph.import_torch import Import, placeholders
from hwq.graph.ir import Graph
from hwq.runtime.float_executor import TorchExecutor

TOLERANCE = 1e-4
"""Largest difference of a tensor's elements, as a share of its largest magnitude, in float32."""

PREPARED_TOLERANCE = 1e-6
"""The same in float64, where folded constants, which are float32, are all that differs."""

SEEDS = (0, 1)


def random_pixels(shape: Sequence[int]) -> Tensor:
    """Return seeded 8-bit pixels: float64[2, C, H, W] for (C, H, W)."""
    images = [
        torch.randint(0, 256, tuple(shape), generator=torch.Generator().manual_seed(seed))
        for seed in SEEDS
    ]
    return torch.stack(images).double()


def check_import(module: nn.Module, imported: Import, images: Tensor) -> None:
    """Compare an imported graph with its module.

    Parameters
    ----------
    module : nn.Module
        In eval mode.
    imported : Import
        Made from it.
    images : float32[B, C, H, W]
        What the module reads, two or more; the first is compared tensor by tensor.

    Raises
    ------
    ImportGraphError
        When a tensor differs: the first is named, with its module path. Also when the images of
        a batch influence each other, which no graph of one image can express.
    """
    graph = imported.graph
    with torch.no_grad():
        wanted = _run(module, images)
        first = _LockStep(imported).run_on(images[:1])
        rest = TorchExecutor(graph)(images[1:])
        for name, output in zip(graph.outputs, wanted, strict=True):
            values = torch.cat([first[name].flatten(), rest[name].flatten()])
            difference = _difference(values, output.flatten())
            if difference is not None:
                raise ImportGraphError(
                    f"model {graph.name!r}: output {name} of the graph, for one image, is not the "
                    f"module's, for a batch of {len(images)}: {difference}"
                )


def check_prepared(imported: Graph, prepared: Graph, images: Tensor, pixels: Tensor) -> None:
    """Compare a prepared graph, which reads pixels, with the imported one.

    Parameters
    ----------
    imported, prepared : Graph
        Float graphs of one network.
    images, pixels : float64[B, C, H, W]
        The same images: as the imported graph reads them, and 0..255.

    Raises
    ------
    ImportGraphError
        When an output differs; it is named.
    """
    with torch.no_grad():
        wanted = TorchExecutor(imported, dtype=torch.float64)(images)
        values = TorchExecutor(prepared, dtype=torch.float64)(pixels)
    for old, new in zip(imported.outputs, prepared.outputs, strict=True):
        difference = _difference(values[new], wanted[old], PREPARED_TOLERANCE)
        if difference is not None:
            raise ImportGraphError(
                f"model {prepared.name!r}, prepared for 8-bit pixels: output {new} is not the "
                f"module's: {difference}"
            )


def _run(module: nn.Module, images: Tensor) -> list[Tensor]:
    """Return the module's outputs, an image along the first axis: float32[B, ...]."""
    try:
        outputs = _tensors(module(images))
    except Exception:  # a network may be written for one image
        outputs = []
    if outputs and all(output.shape[:1] == images.shape[:1] for output in outputs):
        return outputs
    singles = [_tensors(module(image[None])) for image in images]
    return [torch.stack(parts) for parts in zip(*singles, strict=True)]


class _LockStep(fx.Interpreter):
    """Runs an exported program and the graph made from it side by side, comparing each tensor."""

    def __init__(self, imported: Import) -> None:
        super().__init__(imported.program.graph_module)
        self.imported = imported
        self.computed = imported.graph
        self.steps: Iterator[tuple[str, Tensor]] = iter(())
        self.compared: set[str] = set()
        self.outputs: dict[str, Tensor] = {}

    def run_on(self, image: Tensor) -> dict[str, Tensor]:
        """Compare on float32[1, C, H, W]; return the graph's outputs."""
        self.steps = TorchExecutor(self.computed).steps({self.computed.inputs[0].name: image})
        inputs = placeholders(self.imported.program)
        self.run(*(image if tensor is None else tensor.clone() for _, _, tensor in inputs))
        return self.outputs

    def run_node(self, n: fx.Node) -> Any:
        """Run one call of the program, then the graph as far, and compare."""
        value = super().run_node(n)
        name = self.imported.names.get(n, "")
        if (
            isinstance(value, Tensor)
            and name in self.computed.by_name
            and name not in self.compared
        ):
            difference = _difference(self._advance(name), value)
            if difference is not None:
                raise ImportGraphError(
                    f"model {self.computed.name!r}: {name}, the graph's {n.target} in module "
                    f"{module_path(n) or '(root)'!r}, is not the module's: {difference}"
                )
        return value

    def _advance(self, name: str) -> Tensor:
        """Execute the graph up to the node called `name`."""
        for step, value in self.steps:
            self.compared.add(step)
            if step in self.computed.outputs:
                self.outputs[step] = value
            if step == name:
                return value
        raise AssertionError(f"{name} is computed out of the program's order")


def _difference(value: Tensor, wanted: Tensor, tolerance: float = TOLERANCE) -> str | None:
    """Say how two tensors differ; None where they agree."""
    if value.shape != wanted.shape:
        return f"its shape is {list(value.shape)}, not {list(wanted.shape)}"
    largest = float(wanted.abs().max())
    difference = float((value - wanted).abs().max())
    # false for a value that is no number
    if difference <= tolerance * max(largest, torch.finfo(torch.float32).tiny):
        return None
    return f"it differs by up to {difference:.3g}, where the largest magnitude is {largest:.3g}"


def _tensors(result: Any) -> list[Tensor]:
    """Return the tensors of a module's result, in order."""
    return [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]
