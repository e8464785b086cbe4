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


def check_on_pixels(graph, mean=MEAN, std=STD):
    """The folded graph, which gives on pixels what the graph gives on the normalised image."""
    from hwq.runtime.float_executor import TorchExecutor

    after = run_passes(graph, [FoldPreprocessing(mean, std)])
    shape = graph.inputs[0].shape[1:]
    pixels = torch.randint(0, 256, (4, *shape), generator=torch.Generator().manual_seed(0)).float()
    channels = (-1, *(1 for _ in shape[1:]))
    images = (pixels / 255 - torch.tensor(mean).reshape(channels)) / torch.tensor(std).reshape(
        channels
    )
    old, new = TorchExecutor(graph)(images), TorchExecutor(after)(pixels)
    for before, behind in zip(graph.outputs, after.outputs, strict=True):
        torch.testing.assert_close(new[behind], old[before], rtol=0, atol=2e-5)
    return after


def test_patches_with_the_channel_last(build_graph, grid):
    graph = build_graph(
        (1, 3, 4, 2),
        {"w": grid(5, 12)},
        ("grid", "reshape", ["image"], {"shape": (1, 3, 2, 2, 1, 2)}),
        ("windows", "permute", ["grid"], {"axes": (0, 2, 4, 3, 5, 1)}),
        ("patches", "reshape", ["windows"], {"shape": (1, 2, 12)}),
        ("y", "linear", ["patches", "w"]),
    )
    assert [n.op for n in check_on_pixels(graph).nodes] == [n.op for n in graph.nodes]


def test_columns_of_several_channels_read_the_written_out_normalisation(build_graph, grid):
    graph = build_graph(
        (1, 3, 4, 2),
        {"w": grid(5, 2)},
        ("rows", "reshape", ["image"], {"shape": (1, 12, 2)}),
        ("turned", "permute", ["rows"], {"axes": (0, 2, 1)}),
        ("pairs", "reshape", ["turned"], {"shape": (1, 12, 2)}),
        ("y", "linear", ["pairs", "w"]),
    )
    assert [n.op for n in check_on_pixels(graph).nodes][:2] == ["mul", "add"]


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ([("fc", "linear", ["image", "w"]), ("y", "add", ["fc", "image"])], ("y",)),
        ([("y", "activation", ["image"], {"function": "gelu"})], ("y",)),
        ([("y", "layer_norm", ["image"], {"eps": 1e-5, "centered": True})], ("y",)),
        ([("y", "linear", ["image", "w"])], ("y", "image")),
    ],
    ids=["two readers", "activation", "layer_norm", "returned"],
)
def test_an_image_read_by_other_work_is_normalised_first(build_graph, grid, nodes, outputs):
    graph = build_graph((1, 3, 4), {"w": grid(4, 4)}, *nodes, outputs=outputs)
    assert [n.op for n in check_on_pixels(graph).nodes][:2] == ["mul", "add"]


def test_mean_and_std_of_another_number_of_channels_are_refused(build_graph, grid):
    graph = build_graph((1, 6, 4), {"w": grid(4, 4)}, ("y", "linear", ["image", "w"]))
    with pytest.raises(
        GraphError, match=r"^image has 6 channels, but mean and std are of 3 and 3$"
    ):
        run_passes(graph, [FoldPreprocessing()])
