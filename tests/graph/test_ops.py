import pytest

from hwq.errors import GraphError
from hwq.graph.ops import OPS, broadcast, multiply_accumulates

GOOD = [
    ("linear", [(1, 5, 4), (6, 4), (6,)], {}, (1, 5, 6)),
    ("conv2d", [(1, 3, 8, 8), (5, 3, 4, 4)], {"stride": (4, 4), "padding": (0, 0)}, (1, 5, 2, 2)),
    ("conv2d", [(1, 3, 8, 8), (5, 3, 3, 3)], {"stride": (2, 1), "padding": (1, 1)}, (1, 5, 4, 8)),
    ("matmul", [(1, 2, 5, 4), (1, 2, 4, 3)], {"alpha": 1.0}, (1, 2, 5, 3)),
    ("matmul", [(2, 5, 4), (4, 3)], {"alpha": 1.0}, (2, 5, 3)),
    ("softmax", [(1, 5)], {"base": 2}, (1, 5)),
    ("activation", [(1, 5)], {"function": "gelu"}, (1, 5)),
    ("layer_norm", [(1, 5, 4), (4,), (4,)], {"eps": 1e-6, "centered": True}, (1, 5, 4)),
    ("add", [(1, 5, 4), (4,)], {}, (1, 5, 4)),
    ("mul", [(1, 1, 4), (1, 5, 1)], {}, (1, 5, 4)),
    ("mean", [(1, 5, 4)], {"axis": 1, "keepdim": False}, (1, 4)),
    ("mean", [(1, 5, 4)], {"axis": 1, "keepdim": True}, (1, 1, 4)),
    ("reshape", [(1, 6)], {"shape": (2, 3)}, (2, 3)),
    ("permute", [(1, 2, 3)], {"axes": (2, 0, 1)}, (3, 1, 2)),
    ("slice", [(1, 5, 4)], {"axis": 1, "start": 2, "stop": 5}, (1, 3, 4)),
    ("select", [(1, 5, 4)], {"axis": 1, "index": 4}, (1, 4)),
    ("expand", [(1, 1, 4)], {"shape": (2, 5, 4)}, (2, 5, 4)),
    ("concat", [(1, 1, 4), (1, 5, 4)], {"axis": 1}, (1, 6, 4)),
    ("quantize", [(1, 5)], {}, (1, 5)),
    ("range_extract", [(1, 6, 4)], {"chunk_tokens": 3}, (4,)),
    ("scale_predictor", [(4,)], {"predictor": None, "shape": (7,)}, (7,)),
    ("requantize", [(1, 5), (7, 4)], {"unit": None}, (1, 5)),
    ("outlier_split", [(1, 5, 3)], {"unit": None, "expected": 1}, (1, 5, 3)),
    ("outlier_join", [(1, 5, 4), (1, 5, 3), (4, 3)], {"unit": None, "source": "y"}, (1, 5, 4)),
    ("encode", [(1, 5)], {"unit": None}, (1, 5)),
]

BAD = [
    ("linear", [(1, 4), (6, 4, 1)], {}, r"weight must have 2 dimensions, not (6, 4, 1)"),
    ("linear", [(1, 5), (6, 4)], {}, r"input (1, 5) does not fit weight (6, 4)"),
    ("linear", [(1, 4), (6, 4), (4,)], {}, r"bias (4,) does not fit weight (6, 4)"),
    (
        "conv2d",
        [(1, 2, 8, 8), (5, 3, 4, 4)],
        {"stride": (4, 4), "padding": (0, 0)},
        "input (1, 2, 8, 8) does not fit weight (5, 3, 4, 4)",
    ),
    ("matmul", [(1, 5, 4), (1, 5, 4)], {}, "(1, 5, 4) x (1, 5, 4) is not a matrix product"),
    ("matmul", [(2, 5, 4), (3, 4, 5)], {}, "shapes (2,) and (3,) do not broadcast"),
    ("layer_norm", [(1, 4), (5,)], {}, "parameter (5,) does not fit input (1, 4)"),
    ("add", [(1, 4), (3,)], {}, "shapes (1, 4) and (3,) do not broadcast"),
    ("reshape", [(1, 6)], {"shape": (2, 2)}, "cannot reshape (1, 6) to (2, 2)"),
    ("permute", [(1, 6)], {"axes": (0, 0)}, "axes (0, 0) do not fit (1, 6)"),
    ("slice", [(1, 6)], {"axis": 1, "start": 2, "stop": 7}, "slice 2:7 leaves axis 1 of (1, 6)"),
    ("select", [(1, 6)], {"axis": 1, "index": 6}, "index 6 leaves axis 1 of (1, 6)"),
    ("concat", [(1, 6), (2, 6)], {"axis": 1}, "shapes [(1, 6), (2, 6)] differ outside axis 1"),
    ("expand", [(1, 3)], {"shape": (1, 4)}, "shapes (1, 3) and (1, 4) do not broadcast"),
    ("expand", [(1, 3)], {"shape": (1,)}, "cannot expand (1, 3) to (1,)"),
    ("range_extract", [(1, 7, 4)], {"chunk_tokens": 3}, "7 tokens are no multiple of a chunk"),
]


@pytest.mark.parametrize(("op", "shapes", "attrs", "wanted"), GOOD)
def test_shapes_follow_from_inputs(op, shapes, attrs, wanted):
    assert set(OPS[op].attrs) <= set(attrs)
    assert OPS[op].infer(shapes, attrs) == wanted


def test_every_operation_is_covered():
    assert {case[0] for case in GOOD} == set(OPS)


@pytest.mark.parametrize(("op", "shapes", "attrs", "message"), BAD)
def test_says_what_does_not_fit(op, shapes, attrs, message):
    with pytest.raises(GraphError) as caught:
        OPS[op].infer(shapes, attrs)
    assert str(caught.value) == message


def test_broadcast_pads_on_the_left():
    assert broadcast((3, 1), (2, 1, 5)) == (2, 3, 5)


@pytest.mark.parametrize(
    ("op", "shapes", "output", "wanted"),
    [
        ("linear", [(1, 5, 4), (6, 4)], (1, 5, 6), 5 * 4 * 6),
        ("conv2d", [(1, 3, 8, 8), (5, 3, 4, 4)], (1, 5, 2, 2), 5 * 2 * 2 * 3 * 4 * 4),
        ("matmul", [(1, 2, 5, 4), (1, 2, 4, 3)], (1, 2, 5, 3), 2 * 5 * 4 * 3),
        # scores of ViT-B, and of 64 queries on its 197 keys
        ("matmul", [(1, 12, 197, 64), (1, 12, 64, 197)], (1, 12, 197, 197), 29_805_312),
        ("matmul", [(1, 12, 64, 64), (1, 12, 64, 197)], (1, 12, 64, 197), 9_682_944),
        ("softmax", [(1, 5)], (1, 5), 0),
    ],
)
def test_multiply_accumulates(op, shapes, output, wanted):
    assert multiply_accumulates(op, shapes, output) == wanted
