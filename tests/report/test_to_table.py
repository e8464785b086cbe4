import io
from dataclasses import MISSING, fields, replace

import pytest
from rich.console import Console

from hwq.cost.result import Guess, LayerCost, Picture
from hwq.report.to_table import group_layers, print_table


def shown(result, width=100, **options):
    file = io.StringIO()
    print_table(result, Console(file=file, width=width), **options)
    return file.getvalue()


def alike(result):
    """The layers, with the figures of the first block in all of them."""
    first = result.layers[:3]
    return tuple(
        replace(first[position % 3], name=layer.name)
        for position, layer in enumerate(result.layers)
    )


def test_equal_layers_of_different_blocks_are_one_row(result):
    groups = [(group.name, len(group.layers)) for group in group_layers(alike(result))]
    assert groups == [("blocks.*.fc", 3), ("blocks.*.fc.requantize", 3), ("blocks.*.pad", 3)]
    assert sum(count for _, count in groups) == len(result.layers)


@pytest.mark.parametrize("field", ["cycles", "stall_cycles", "dram_read_bytes", "dataflow"])
def test_a_layer_of_other_figures_stays_apart(result, field):
    layers = alike(result)
    other = {"dataflow": "input_stationary"}.get(field, 7)
    assert getattr(layers[3], field) != other
    odd = replace(layers[3], **{field: other})
    groups = group_layers((*layers[:3], odd, *layers[4:]))
    assert [group.layers for group in groups if group.name == "blocks.*.fc"] == [
        (layers[0], layers[6]),
        (odd,),
    ]


MEASURED = [field.name for field in fields(LayerCost) if field.default is not MISSING]


@pytest.mark.parametrize("figure", MEASURED)
def test_what_is_measured_on_images_may_differ(result, figure):
    layers = alike(result)
    measured = [replace(layer, **{figure: k}) for k, layer in enumerate(layers)]
    assert [len(group.layers) for group in group_layers(measured)] == [3, 3, 3]
    assert {"saturations", "node_sqnr_db", "row_sum_min"} <= {*MEASURED}


def test_a_layer_of_another_shape_stays_apart(result):
    layers = alike(result)
    odd = replace(layers[6], m=16)
    groups = group_layers((*layers[:6], odd, *layers[7:]))
    assert [group.name for group in groups if len(group.layers) == 1] == ["blocks.*.fc"]


def test_it_says_what_was_run_and_that_accuracy_was_not_measured(result):
    text = shown(result)
    for part in (
        "tiny · scalepredictor on minmax · w4a4 · edge_16x16 · dataflow auto · timing stall_free",
        "weights: random · seed 0 · hwq 0.1.0",
        "accuracy: not measured",
        "note: weights are random",
        f"{result.totals.cycles:,}",
        f"{result.totals.energy_uj:,.1f} uJ",
        "hidden",
    ):
        assert part in text


def test_it_shows_measured_accuracy(measured):
    text = shown(measured)
    assert "not measured" not in text
    assert "80.92%" in text
    assert "650" in text


def test_every_layer_has_a_row_on_request(result):
    text = shown(result, every_layer=True)
    for layer in result.layers:
        assert layer.name.removesuffix(f".{layer.op}") in text
    assert sum(text.count(op) for op in ("matmul", "requantize", "concat")) == len(result.layers)


def test_groups_of_a_block_stand_together(result):
    wider = replace(result.layers[3], name="blocks.1.fc", m=16)
    names = [
        (group.name, group.layers[0].m)
        for group in group_layers((*result.layers[:3], replace(wider, name="head"), wider))
    ]
    assert names == [
        ("blocks.*.fc", 8),
        ("blocks.*.fc", 16),
        ("blocks.*.fc.requantize", 8),
        ("blocks.*.pad", 8),
        ("head", 16),
    ]


@pytest.mark.parametrize(
    ("width", "headings"),
    [
        (100, "layer op x shape bits flow cycles time stall util DRAM uJ"),
        (60, "layer op x shape bits cycles time util DRAM uJ"),
        (45, "layer op x shape cycles DRAM uJ"),
    ],
)
def test_a_narrow_terminal_shows_fewer_columns(result, width, headings):
    lines = shown(result, width).splitlines()
    assert [line.split() for line in lines if line.startswith("layer")] == [headings.split()]
    assert max(map(len, lines)) <= width


def test_it_fits_the_terminal(result):
    assert max(map(len, shown(result).splitlines())) <= 100


def test_values_that_were_not_measured_say_so(measured):
    partly = replace(measured, fidelity=replace(measured.fidelity, top1_fp32=None))
    assert "not measured" in shown(partly)


def test_an_upper_bound_is_said_in_the_heading(result):
    bound = replace(result, findings={"cost": "upper bound: every gate is counted as open"})
    assert "cost: upper bound: every gate is counted as open" in shown(bound).split("layer ")[0]
    assert "upper bound" not in shown(result)


def test_a_picture_is_shown_side_by_side(result):
    fish = Guess(0, "tench", 0.75)
    picture = Picture("a.png", None, (fish,), (fish, Guess(7, None, 0.125)))
    lines = shown(replace(result, picture=picture)).splitlines()
    (first,) = (line.split() for line in lines if "tench" in line)
    (second,) = (line.split() for line in lines if "12.5%" in line)
    assert first == ["-", "tench", "75.0%", "tench", "75.0%"]
    assert second == ["-", "-", "7", "12.5%"]
