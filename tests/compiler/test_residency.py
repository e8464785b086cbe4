import pytest

from hwq.arch.accelerator import Accelerator
from hwq.arch.load import load_accelerator
from hwq.compiler.program import MatmulLayer, Operand, Program, VectorLayer
from hwq.compiler.residency import groups, plan_residency
from hwq.numerics.pe import MULTIPLY, PeSpec

KIB = 8192


def machine(activation_kib=64, weight_kib=64) -> Accelerator:
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


def vector(name, inputs, out, elements=4096, bits=8, fused=False, op="activation"):
    operands = tuple(Operand(tensor, elements, bits) for tensor in inputs)
    return VectorLayer(name, op, 1, elements, operands, Operand(out, elements, bits), fused)


def test_groups_keep_a_matmul_with_what_is_fused_to_it():
    program = Program(
        "p",
        (
            vector("e", ["image"], "x"),
            matmul("fc1", "x", "acc"),
            vector("r", ["acc"], "y", fused=True),
            vector("g", ["y"], "z"),
        ),
    )
    assert list(groups(program)) == [range(1), range(1, 3), range(3, 4)]


def test_an_activation_that_fits_stays_and_input_and_result_do_not():
    program = Program("p", (matmul("fc1", "image", "x"), matmul("fc2", "x", "logits")))
    plan = plan_residency(program, machine())
    assert plan.resident == {"x"}
    assert plan.resident_bits == (4096 * 8, 4096 * 8)


def test_what_only_fused_layers_read_is_never_stored():
    layers = (
        matmul("fc1", "image", "acc"),
        vector("r", ["acc"], "y", fused=True),
        vector("g", ["y"], "z", fused=True),
        matmul("fc2", "z", "logits"),
    )
    plan = plan_residency(Program("p", layers), machine())
    assert (plan.streamed, plan.resident) == ({"acc", "y"}, {"z"})
    later = (*layers, vector("again", ["acc"], "w"))
    assert plan_residency(Program("p", later), machine()).streamed == {"y"}


def test_a_quarter_of_the_buffer_is_kept_for_tiles():
    program = Program("p", (matmul("fc1", "image", "x"), matmul("fc2", "x", "logits")))
    four_kib = 4096 * 8 // KIB
    assert plan_residency(program, machine(four_kib * 4 / 3 + 0.01)).resident == {"x"}
    assert not plan_residency(program, machine(four_kib * 4 / 3 - 0.01)).resident


def test_a_vector_layer_works_in_place_and_a_matmul_does_not():
    layers = (matmul("fc1", "image", "x"), vector("g", ["x"], "y"), matmul("fc2", "y", "logits"))
    assert plan_residency(Program("p", layers), machine(6)).resident == {"x", "y"}
    layers = (matmul("fc1", "image", "x"), matmul("g", "x", "y"), matmul("fc2", "y", "logits"))
    assert plan_residency(Program("p", layers), machine(6)).resident == {"x"}


def test_a_tensor_leaves_after_its_last_reader():
    layers = (
        matmul("fc1", "image", "x"),
        matmul("fc2", "x", "y"),
        matmul("fc3", "y", "z"),
        matmul("fc4", "z", "logits"),
    )
    plan = plan_residency(Program("p", layers), machine(4096 * 2 * 8 / KIB * 4 / 3 + 0.01))
    assert plan.resident == {"x", "y", "z"}
    assert plan.resident_bits == (32768, 65536, 65536, 32768)


def attention(between):
    return Program(
        "p",
        (
            matmul("qk", "q", "scores", count=8, b="k"),
            vector("softmax", ["scores"], "probs", 8 * 4096, op="softmax"),
            *between,
            matmul("av", "probs", "heads", count=8, b="v"),
        ),
    )


def test_between_matmuls_over_heads_two_heads_are_stored():
    plan = plan_residency(attention(()), machine())
    assert plan.resident == {"scores", "probs"}
    assert plan.resident_bits == (2 * 4096 * 8,) * 3


def test_a_layer_beside_the_heads_does_not_end_the_run():
    side = VectorLayer("side", "concat", 1, 3, (Operand("image", 3, 8),), Operand("other", 3, 8))
    plan = plan_residency(attention((side,)), machine())
    assert plan.resident_bits[0] == 2 * 4096 * 8


def test_a_layer_that_mixes_the_heads_ends_the_run():
    mix = VectorLayer("mix", "add", 1, 3, (Operand("probs", 3, 8),), Operand("mean", 3, 8))
    plan = plan_residency(attention((mix,)), machine(512))
    assert plan.resident_bits[0] == 8 * 4096 * 8


def test_what_is_read_after_the_heads_is_stored_whole():
    later = VectorLayer("later", "concat", 1, 8, (Operand("probs", 8, 8),), Operand("out", 8, 8))
    program = attention(())
    plan = plan_residency(Program("p", (*program.layers, later)), machine(512))
    assert plan.resident_bits == (2 * 4096 * 8, 8 * 4096 * 8, 8 * 4096 * 8, 8 * 4096 * 8)


@pytest.mark.parametrize(("weight_kib", "stay"), [(7.9, False), (8.0, True)])
def test_weights_stay_only_if_all_fit(weight_kib, stay):
    program = Program("p", (matmul("fc1", "image", "x"), matmul("fc2", "x", "logits")))
    plan = plan_residency(program, machine(weight_kib=weight_kib))
    assert plan.weight_bits == (2 * 4096 * 8 if stay else 0)
    assert plan.on_chip(program.layers[0].b) is stay


def test_a_weight_that_is_read_again_in_part_counts_whole():
    """Outliers read some columns of a weight behind the product that reads all of it."""
    some = Operand("fc1.weight", 64, 8, constant=True)
    join = VectorLayer("join", "outlier_join", 1, 64, (some,), Operand("side", 64, 8))
    plan = plan_residency(Program("p", (matmul("fc1", "image", "x"), join)), machine())
    assert plan.weight_bits == 4096 * 8
