import pytest

from hwq.arch.load import load_accelerator
from hwq.compiler.operand import Operand
from hwq.compiler.program import MatmulLayer, Program, VectorLayer
from hwq.numerics.pe import MULTIPLY, PeSpec
from hwq.plan.make_plan import make_plan
from hwq.plan.runs import runs
from hwq.plan.verify import verify

KIB = 8192


def machine(activation_kib=64, weight_kib=64):
    base = load_accelerator("edge_16x16")
    sram = base.sram
    return base.model_copy(
        update={
            "sram": sram.model_copy(
                update={
                    "activation": sram.activation.model_copy(update={"size_kib": activation_kib}),
                    "weight": sram.weight.model_copy(update={"size_kib": weight_kib}),
                }
            )
        }
    )


def matmul(name, a, out, count=1, b=None, m=64, n=64, k=64, bits=8):
    weight = Operand(f"{name}.weight", count * k * n, 8, constant=True)
    return MatmulLayer(
        name,
        m,
        n,
        k,
        count,
        PeSpec(MULTIPLY, bits, bits if b else 8),
        Operand(a, count * m * k, bits),
        Operand(b, count * k * n, bits) if b else weight,
        Operand(out, count * m * n, bits),
    )


def vector(name, inputs, out, rows=64, bits=8, fused=False, op="activation"):
    operands = tuple(Operand(tensor, rows * 64, bits) for tensor in inputs)
    return VectorLayer(name, op, rows, 64, operands, Operand(out, rows * 64, bits), fused)


def where(layers, accelerator):
    """Tensor -> (memory, first bit, bits), of every port of a plan that verifies."""
    plan = make_plan(Program("p", tuple(layers)), accelerator)
    verify(plan)
    ports = [port for group in plan.groups for step in group.steps for port in step.ports]
    return {p.tensor: (p.memory, p.base, (p.view.last + 1) * p.bits) for p in ports}


def resident(layers, accelerator):
    places = where(layers, accelerator)
    return {tensor for tensor, (memory, _, _) in places.items() if memory == "activation"}


def test_a_step_is_a_matmul_with_what_is_fused_to_it():
    layers = (
        vector("e", ["image"], "x"),
        matmul("fc1", "x", "acc"),
        vector("r", ["acc"], "y", fused=True),
        vector("g", ["y"], "z"),
    )
    steps = [step for run in runs(Program("p", layers)) for step in run.steps]
    assert [[layer.name for layer in step] for step in steps] == [["e"], ["fc1", "r"], ["g"]]


def test_an_activation_that_fits_stays_and_input_and_result_do_not():
    places = where((matmul("fc1", "image", "x"), matmul("fc2", "x", "logits")), machine(64, 4))
    assert {tensor: memory for tensor, (memory, _, _) in places.items()} == {
        "image": "dram",
        "fc1.weight": "dram",
        "x": "activation",
        "fc2.weight": "dram",
        "logits": "dram",
    }


def test_what_only_fused_layers_read_is_never_stored():
    layers = (
        matmul("fc1", "image", "acc"),
        vector("r", ["acc"], "y", fused=True),
        vector("g", ["y"], "z", fused=True),
        matmul("fc2", "z", "logits"),
    )
    places = where(layers, machine())
    assert not {"acc", "y"} & {*places}
    places = where((*layers, vector("again", ["acc"], "w")), machine())
    assert "acc" in places and "y" not in places


def test_a_quarter_of_the_buffer_is_kept_for_blocks():
    layers = (matmul("fc1", "image", "x"), matmul("fc2", "x", "logits"))
    four_kib = 4096 * 8 // KIB
    assert resident(layers, machine(four_kib * 4 / 3 + 0.01)) == {"x"}
    assert not resident(layers, machine(four_kib * 4 / 3 - 0.01))


def test_a_pass_works_in_place_and_a_matmul_does_not():
    layers = (matmul("fc1", "image", "x"), vector("g", ["x"], "y"), matmul("fc2", "y", "logits"))
    places = where(layers, machine(6))
    assert places["x"] == places["y"] == ("activation", 0, 4096 * 8)
    layers = (matmul("fc1", "image", "x"), matmul("g", "x", "y"), matmul("fc2", "y", "logits"))
    assert resident(layers, machine(6)) == {"x"}


def test_a_tensor_leaves_after_its_last_reader():
    layers = (
        matmul("fc1", "image", "x"),
        matmul("fc2", "x", "y"),
        matmul("fc3", "y", "z"),
        matmul("fc4", "z", "logits"),
    )
    places = where(layers, machine(4096 * 2 * 8 / KIB * 4 / 3 + 0.01))
    bases = [places[tensor][:2] for tensor in ("x", "y", "z")]
    assert bases == [("activation", 0), ("activation", 32768), ("activation", 0)]


def attention(between=()):
    return (
        matmul("qk", "q", "scores", count=8, b="k"),
        vector("softmax", ["scores"], "probs", 8 * 64, op="softmax"),
        *between,
        matmul("av", "probs", "heads", count=8, b="v"),
    )


def test_of_what_lies_between_matmuls_over_heads_one_head_is_stored():
    places = where(attention(), machine())
    assert places["scores"] == places["probs"] == ("activation", 0, 4096 * 8)


def test_a_layer_beside_the_heads_is_done_before_them():
    side = VectorLayer("side", "concat", 1, 3, (Operand("image", 3, 8),), Operand("other", 3, 8))
    program = Program("p", attention((side,)))
    assert [(run.times, [s[0].name for s in run.steps]) for run in runs(program)] == [
        (1, ["side"]),
        (8, ["qk", "softmax", "av"]),
    ]
    assert where(program.layers, machine())["scores"][2] == 4096 * 8


def test_a_layer_that_mixes_the_heads_ends_the_run():
    mix = VectorLayer("mix", "add", 1, 3, (Operand("probs", 3, 8),), Operand("sums", 3, 8))
    assert where(attention((mix,)), machine(512))["scores"][2] == 8 * 4096 * 8


def test_what_is_read_after_the_heads_is_stored_whole():
    later = VectorLayer("later", "concat", 1, 8, (Operand("probs", 8, 8),), Operand("out", 8, 8))
    places = where((*attention(), later), machine(512))
    assert places["scores"][2] == 4096 * 8
    assert places["probs"][0] == "activation"


@pytest.mark.parametrize(("weight_kib", "memory"), [(7.9, "dram"), (8.0, "weight")])
def test_weights_stay_only_if_all_fit(weight_kib, memory):
    layers = (matmul("fc1", "image", "x"), matmul("fc2", "x", "logits"))
    assert where(layers, machine(weight_kib=weight_kib))["fc1.weight"][0] == memory


def test_a_weight_that_is_read_again_in_part_counts_whole():
    """Outliers read some columns of a weight behind the product that reads all of it."""
    some = Operand("fc1.weight", 64, 8, constant=True, size=4096)
    join = VectorLayer("join", "outlier_join", 1, 64, (some,), Operand("side", 64, 8))
    places = where((matmul("fc1", "image", "x"), join), machine(weight_kib=4))
    assert places["fc1.weight"] == ("weight", 0, 64 * 8)
    small = machine(weight_kib=3.9)
    assert where((matmul("fc1", "image", "x"), join), small)["fc1.weight"][0] == "dram"
