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

SEEDS = (0, 1)


def random_pixels(shape: Sequence[int]) -> Tensor:
    """Return seeded 8-bit pixels: float64[2, C, H, W] for (C, H, W)."""
    images = [
        torch.randint(0, 256, tuple(shape), generator=torch.Generator().manual_seed(seed))
        for seed in SEEDS
    ]
    return torch.stack(images).double()


def check_import(
    module: nn.Module, imported: Import, prepared: Graph, images: Tensor, pixels: Tensor
) -> None:
    """Compare an imported graph, and what was made of it, with the module.

    It takes five times as long as the module takes for an image.

    Parameters
    ----------
    module : nn.Module
        In eval mode.
    imported : Import
        Made from it; compared tensor by tensor, on the first image.
    prepared : Graph
        Float graph of the same network that reads pixels; its outputs are compared, on the second
        image.
    images, pixels : float32[2, C, H, W]
        The same two images: as the module reads them, and 0..255.

    Raises
    ------
    ImportGraphError
        When a tensor differs: the first is named, with its module path. Also when the images of
        a batch influence each other, which no graph of one image can express.
    """
    graph = imported.graph
    with torch.no_grad():
        values = _LockStep(imported).run_on(images[:1])
        first = [values[name].flatten() for name in graph.outputs]
        values = TorchExecutor(prepared)(pixels[1:])
        second = [values[name].flatten() for name in prepared.outputs]
        batch = _together(module, images)
        both = [torch.cat(parts) for parts in zip(first, second, strict=True)]
        if _first_difference(graph, both, batch) is None:
            return
        alone = [[x.flatten() for x in _tensors(module(image[None]))] for image in images]
    _refuse(_first_difference(graph, first, alone[0]), f"model {graph.name!r}: the graph")
    wrong = _first_difference(prepared, second, alone[1])
    _refuse(wrong, f"model {graph.name!r}: the graph that is prepared for 8-bit pixels")
    if batch:
        # the same numbers in another order are those of a batch axis that is not the first
        wrong = _first_difference(graph, _sorted(batch), _sorted(both))
        _refuse(wrong, f"model {graph.name!r}: for one image of a batch, the graph")


def _refuse(difference: str | None, what: str) -> None:
    if difference is not None:
        raise ImportGraphError(f"{what} is not the module: {difference}")


def _together(module: nn.Module, images: Tensor) -> list[Tensor]:
    """Return the module's outputs for a batch, flat; none where it takes one image only."""
    try:
        return [output.flatten() for output in _tensors(module(images))]
    except Exception:  # whatever a module that was written for one image raises
        return []


def _sorted(outputs: list[Tensor]) -> list[Tensor]:
    return [output.sort().values for output in outputs]


def _first_difference(graph: Graph, values: list[Tensor], wanted: list[Tensor]) -> str | None:
    """Say which output differs, and how."""
    if len(values) != len(wanted):
        return f"there are {len(values)} outputs, not {len(wanted)}"
    for name, value, expected in zip(graph.outputs, values, wanted, strict=True):
        difference = _difference(value, expected)
        if difference is not None:
            return f"output {name}: {difference}"
    return None


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
        name = self.computed.inputs[0].name
        self.steps = TorchExecutor(self.computed).steps({name: image})
        self.outputs = {name: image}
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
