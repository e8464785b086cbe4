from dataclasses import replace

import numpy as np
import pytest
import torch

from hwq.compiler.passes.base import run_passes
from hwq.compiler.pipelines import HOIST, LOWER, prepare
from hwq.errors import GraphError
from hwq.graph.import_torch import import_torch
from hwq.methods.base import Bits
from hwq.methods.calibration import Calibration
from hwq.methods.catalog import METHODS
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.outlier_split import NEVER
from hwq.quantizers.base import Quantizer
from hwq.quantizers.per_patch_outlier import PerPatchOutlier
from hwq.runtime.node_check import check_nodes

CASES = [
    "minmax",
    "minmax/log2",
    "psaq_vit",
    "repq_vit",
    "ptq4vit",
    "is_vit",
    "adfq_vit",
    "scalepredictor/minmax",
    "scalepredictor/repq_vit",
]
BITS = ["w8a8", "w7a7", "w4a4", "w3a3", "w2a2"]


@pytest.fixture(scope="module")
def lowered(quantise):
    """Return a function: method, bits -> hoisted and integer graph."""

    def both(method, bits):
        hoisted = run_passes(quantise(method, bits), HOIST)
        return hoisted, run_passes(hoisted, LOWER)

    return both


def changed(graph, name, **changes):
    """Return an integer graph with another output, attributes or inputs of one node."""
    return replace(
        graph,
        nodes=tuple(replace(n, **changes) if n.name == name else n for n in graph.nodes),
    )


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("method", CASES)
def test_every_node_of_every_method_is_checked(lowered, tiny_calibration, method, bits):
    hoisted, integer = lowered(method, bits)
    check = check_nodes(hoisted, integer, tiny_calibration.pixels[:2])
    assert not check.unchecked
    assert set(check.figures) == set(hoisted.by_name) & set(integer.by_name)
    coded = {n.name for n in integer.nodes if isinstance(n.output.quant, Quantizer)}
    moved = {n.name for n in integer.nodes if n.op in ("reshape", "permute", "select", "slice")}
    told = {name for name, node in check.figures.items() if node.quantizer_db is not None}
    assert told == coded - moved
    check.refuse()
    worst = min(check.figures.values(), key=lambda node: node.format_db)
    # psaq_vit has formats for its own four pictures; the scores of these saturate
    assert worst.format_db > (25 if method == "psaq_vit" else 55), worst
    if bits == "w8a8":
        for node in check.figures.values():
            # one code of 151,296, on a tie of steps of 41 %, is 40 dB alone; a few lie so near one
            # that rounding x to fixed point moves them
            least = 36 if node.form == "8-bit shift_log2 codes" else 40
            assert node.datapath_db > least, node


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "bits"),
    [
        ("minmax", "w8a8"),
        ("repq_vit", "w4a4"),
        ("is_vit", "w8a8"),
        ("adfq_vit", "w8a8"),
        ("adfq_vit", "w4a4"),
    ],
)
def test_every_node_of_deit_tiny_is_what_its_fake_quant_graph_says(hwq_data, method, bits):
    from hwq.api.network import open_network
    from hwq.models.images import open_images

    weights = hwq_data / "weights" / "deit_tiny_patch16_224.safetensors"
    source = open_network("deit_t", weights, False, 0)
    folder = open_images(
        hwq_data / "data" / "imagenet_calib500", source.preprocessing, labelled=False
    )
    images = Calibration.of(folder.sample(4, 0).pixels())
    options = {"iterations": 1, "batch": 2} if method in ("is_vit", "adfq_vit") else {}
    graph = METHODS[method](**options).fit(source.graph, images, Bits.parse(bits)).graph
    hoisted = run_passes(graph, HOIST)
    check = check_nodes(hoisted, run_passes(hoisted, LOWER), images.pixels[:1])
    assert not check.unchecked
    worst = min(check.figures.values(), key=lambda node: node.format_db)
    assert worst.format_db > 45, worst
    if bits == "w8a8":
        for node in check.figures.values():
            # one code of 151,296, on a tie of steps of 41 %, is 40 dB alone; a few lie so near one
            # that rounding x to fixed point moves them
            least = 36 if node.form == "8-bit shift_log2 codes" else 40
            assert node.datapath_db > least, node


def test_a_format_that_is_not_the_units_own_is_refused(lowered, tiny_calibration):
    """GELU gives 12 fraction bits: as 9, all its numbers are eight times too large."""
    hoisted, integer = lowered("minmax", "w8a8")
    name = "blocks.0.mlp.act"
    output = replace(integer.by_name[name].output, quant=FixedPoint(16, 9))
    check = check_nodes(hoisted, changed(integer, name, output=output), tiny_calibration.pixels[:1])
    message = (
        r"blocks\.0\.mlp\.act \(activation\): its integers, signed 16 bits, 9 of them fraction, "
        r"are -16\.9 dB from what they stand for; at least 25 dB are needed; so are 1 other "
        r"tensors$"
    )
    with pytest.raises(GraphError, match=message):
        check.refuse()


def test_a_node_is_judged_by_itself(lowered, tiny_calibration):
    """What reads a wrong tensor is right, as it is given the true one."""
    hoisted, integer = lowered("minmax", "w8a8")
    name = "blocks.0.attn.proj"
    unit = integer.by_name[name].attrs["unit"]
    wrong = changed(integer, name, attrs={"unit": replace(unit, mult=unit.mult // 2)})
    before, after = (
        check_nodes(hoisted, graph, tiny_calibration.pixels[:1]) for graph in (integer, wrong)
    )
    differing = [n for n in before.figures if before.figures[n] != after.figures[n]]
    assert differing == [name]
    assert after.figures[name].datapath_db == pytest.approx(20 * np.log10(2), abs=0.1)


def test_codes_that_are_one_off_are_told_from_a_tie(lowered, tiny_calibration):
    hoisted, integer = lowered("minmax", "w3a3")
    name = "blocks.0.attn.qkv.codes"
    unit = integer.by_name[name].attrs["unit"]
    wrong = changed(integer, name, attrs={"unit": replace(unit, bias=unit.bias + (1 << 30))})
    figure = check_nodes(hoisted, wrong, tiny_calibration.pixels[:1]).figures[name]
    assert figure.format_db < 25
    figure = check_nodes(hoisted, integer, tiny_calibration.pixels[:1]).figures[name]
    assert figure.format_db > 55 > 25 > figure.quantizer_db


def test_outliers_that_do_not_arrive_are_seen(lowered, tiny_calibration):
    hoisted, integer = lowered("adfq_vit", "w8a8")
    codes = next(n for n in integer.nodes if isinstance(n.output.quant, PerPatchOutlier))
    unit = replace(codes.attrs["unit"], threshold=NEVER)
    name = next(
        n.name
        for n in integer.consumers(codes.inputs[0])
        if n.op == "outlier_split" and n.attrs["unit"] is codes.attrs["unit"]
    )
    attrs = {**integer.by_name[name].attrs, "unit": unit}
    check = check_nodes(hoisted, changed(integer, name, attrs=attrs), tiny_calibration.pixels[:1])
    assert check.figures[codes.name].format_db < 25
    whole = check_nodes(hoisted, integer, tiny_calibration.pixels[:1])
    assert whole.figures[codes.name].format_db > 60


def test_what_a_unit_cannot_take_or_give_is_an_error_of_its_node(lowered, tiny_calibration):
    hoisted, integer = lowered("minmax", "w8a8")
    name = "blocks.1.mlp.act"
    node = integer.by_name[name]
    image = tiny_calibration.pixels[:1]
    narrow = changed(integer, name, attrs={"unit": replace(node.attrs["unit"], in_bits=8)})
    with pytest.raises(
        GraphError, match=r"blocks\.1\.mlp\.act \(activation\) cannot be executed: x must"
    ):
        check_nodes(hoisted, narrow, image)
    name = "blocks.0.add"
    node = integer.by_name[name]
    typed = changed(integer, name, output=replace(node.output, dtype="int32"))
    with pytest.raises(
        GraphError, match=r"add\): its integers must be int32\[1, 17, 32\], not int16"
    ):
        check_nodes(hoisted, typed, image)
    output = replace(node.output, quant=FixedPoint(6, 11))
    with pytest.raises(
        GraphError, match=r"blocks\.0\.add \(add\): its integers must be in -32\.\.31"
    ):
        check_nodes(hoisted, changed(integer, name, output=output), image)


@pytest.mark.parametrize("scale", [1e-5, 0.0])
def test_branches_that_are_hardly_there_are_no_reason_to_refuse(
    make_tiny_vit, tiny_calibration, scale
):
    """A fresh DeiT-III or BEiT adds its branches times 1e-5, and a fresh head is zero."""
    module = make_tiny_vit(init_values=1e-5)
    with torch.no_grad():
        for block in module.blocks:
            block.ls1.gamma.fill_(scale)
            block.ls2.gamma.fill_(scale)
        module.head.weight.zero_()
        module.head.bias.zero_()
    imported = import_torch(module, (1, 3, 32, 32), "fresh")
    graph = run_passes(getattr(imported, "graph", imported), prepare((0.5,) * 3, (0.5,) * 3))
    quantised = METHODS["minmax"]().fit(graph, tiny_calibration, Bits.parse("w8a8")).graph
    hoisted = run_passes(quantised, HOIST)
    check = check_nodes(hoisted, run_passes(hoisted, LOWER), tiny_calibration.pixels[:2])
    check.refuse()
    assert check.figures["head"].datapath_db == float("inf")
    if scale:
        branch = check.figures["blocks.0.attn.proj"]
        assert branch.datapath_db < 25 < branch.format_db


def test_the_note_counts_the_quantizers_and_names_the_worst(lowered, tiny_calibration):
    check = check_nodes(*lowered("minmax/log2", "w8a8"), tiny_calibration.pixels[:2])
    poor = {
        name: node.quantizer_db
        for name, node in check.figures.items()
        if node.quantizer_db is not None and node.quantizer_db < 25
    }
    worst = min(poor, key=poor.get)
    assert list(check.notes()) == [
        f"{len(poor)} of 13 quantised activations are less than 25 dB from their real values; "
        f"the worst, {worst}, {poor[worst]:.1f} dB"
    ]
    assert all(name.endswith("matmul_1.a") for name in poor)  # the probabilities


def test_rows_of_probabilities_sum_to_one(lowered, tiny_calibration):
    check = check_nodes(*lowered("repq_vit", "w8a8"), tiny_calibration.pixels[:2])
    rows = [node for node in check.figures.values() if node.row_sum_min is not None]
    assert [node.op for node in rows] == ["softmax"] * 2
    for node in rows:
        # 17 probabilities, each within half a unit of 2**-16 and the unit's own error
        assert 1 - 2**-9 < node.row_sum_min <= node.row_sum_mean < 1 + 2**-9
