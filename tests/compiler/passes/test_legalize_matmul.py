import numpy as np
import pytest

from hwq.compiler.passes.legalize_matmul import LegalizeMatmul


@pytest.mark.parametrize("shape", [(4, 6), (1, 4, 6)], ids=["matrix", "leading one"])
def test_a_product_with_a_constant_matrix_is_a_linear_layer(check_pass, build_graph, grid, shape):
    graph = build_graph(
        (1, 5, 4), {"w": grid(*shape)}, ("y", "matmul", ["image", "w"], {"alpha": 0.5})
    )
    after = check_pass(LegalizeMatmul(), graph, name=f"legalize_matmul_{len(shape)}d")
    (node,) = after.nodes
    assert node.op == "linear"
    assert np.array_equal(after.constants[node.inputs[1]], grid(*shape).reshape(4, 6).T / 2)


@pytest.mark.parametrize(
    ("constant", "inputs"),
    [((1, 2, 4, 6), ["image", "c"]), ((1, 1, 3, 5), ["c", "image"])],
    ids=["a matrix per head", "on the left"],
)
def test_other_constants_stay_operands(check_pass, build_graph, grid, constant, inputs):
    graph = build_graph(
        (1, 2, 5, 4), {"c": grid(*constant)}, ("y", "matmul", inputs, {"alpha": 1.0})
    )
    name = f"legalize_matmul_{inputs.index('c')}"
    assert check_pass(LegalizeMatmul(), graph, name=name).nodes[-1].op == "matmul"


def test_an_operand_that_all_heads_share_is_repeated(check_pass, build_graph):
    graph = build_graph(
        (1, 2, 5, 4),
        {},
        ("first", "slice", ["image"], {"axis": 1, "start": 0, "stop": 1}),
        ("turned", "permute", ["image"], {"axes": (0, 1, 3, 2)}),
        ("y", "matmul", ["first", "turned"], {"alpha": 1.0}),
    )
    after = check_pass(LegalizeMatmul(), graph, name="legalize_matmul_shared")
    assert [node.op for node in after.nodes] == ["slice", "permute", "expand", "matmul"]
