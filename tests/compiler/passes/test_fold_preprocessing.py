import pytest
import torch

from hwq.compiler.passes.base import run_passes
from hwq.compiler.passes.fold_preprocessing import FoldPreprocessing
from hwq.errors import GraphError

MEAN, STD = (0.5, 0.25, 0.75), (0.5, 0.25, 0.25)


def patches(build_graph, grid, bias=True):
    constants = {"w": grid(5, 12), **({"b": grid(5, seed=1)} if bias else {})}
    return build_graph(
        (1, 3, 4, 2),
        constants,
        ("grid", "reshape", ["image"], {"shape": (1, 3, 2, 2, 1, 2)}),
        ("windows", "permute", ["grid"], {"axes": (0, 2, 4, 1, 3, 5)}),
        ("patches", "reshape", ["windows"], {"shape": (1, 2, 12)}),
        ("y", "linear", ["patches", *constants]),
    )


def normalise(pixels):
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return (pixels / 255 - mean) / std


@pytest.mark.parametrize("bias", [True, False])
def test_network_reads_pixels(check_pass, build_graph, grid, bias):
    check_pass(
        FoldPreprocessing(MEAN, STD),
        patches(build_graph, grid, bias),
        name="fold_preprocessing" if bias else "fold_preprocessing_without_bias",
        convert=normalise,
        again=False,
    )


def test_whole_range_of_pixels(build_graph, grid):
    from hwq.runtime.float_executor import TorchExecutor

    graph = patches(build_graph, grid)
    pixels = torch.arange(256).float().repeat(24).reshape(256, 3, 4, 2)
    after = run_passes(graph, [FoldPreprocessing(MEAN, STD)])
    wanted = TorchExecutor(graph)(normalise(pixels))["y"]
    torch.testing.assert_close(TorchExecutor(after)(pixels)["y"], wanted, rtol=0, atol=1e-5)


def test_image_with_two_readers_is_refused(build_graph, grid):
    graph = build_graph(
        (1, 3, 4),
        {"w": grid(4, 4)},
        ("fc", "linear", ["image", "w"]),
        ("y", "add", ["fc", "image"]),
    )
    with pytest.raises(GraphError, match=r"^image feeds 2 nodes; the patch embedding alone may$"):
        run_passes(graph, [FoldPreprocessing()])


def test_other_work_before_the_patch_embedding_is_refused(build_graph, grid):
    graph = build_graph((1, 3, 4), {}, ("y", "gelu", ["image"]))
    with pytest.raises(GraphError, match=r"^y: gelu before the patch embedding$"):
        run_passes(graph, [FoldPreprocessing()])
