from dataclasses import replace

import pytest

from hwq.compiler.program import MatmulLayer, Operand, Program, VectorLayer
from hwq.errors import SpecError
from hwq.numerics.pe import PeSpec


def matmul(name="fc", m=4, n=6, k=8, count=2, a="x", out="acc", **changes):
    layer = MatmulLayer(
        name,
        m,
        n,
        k,
        count,
        PeSpec(),
        Operand(a, count * m * k, 8),
        Operand(f"{name}.weight", count * k * n, 8, constant=True),
        Operand(out, count * m * n, 32),
    )
    return replace(layer, **changes)


def vector(name="requantize", source="acc", out="y", bits=32, **changes):
    layer = VectorLayer(
        name,
        "requantize",
        8,
        6,
        (Operand(source, 48, bits),),
        Operand(out, 48, 8) if isinstance(out, str) else out,
        fused=True,
    )
    return replace(layer, **changes)


def test_macs_count_every_instance():
    program = Program("p", (matmul(), vector()))
    assert program.macs == 2 * 4 * 6 * 8
    assert program.matmuls == 2


def test_chain_before_ends_at_the_matmul():
    second = vector("again", source="y", out="z", bits=8)
    program = Program("p", (matmul(), vector(), second))
    assert [layer.name for layer in program.chain_before(2)] == ["requantize", "fc"]


def test_a_reader_may_take_a_slice():
    reader = VectorLayer("r", "concat", 2, 6, (Operand("acc", 12, 32),), Operand("y", 12, 8))
    assert Program("p", (matmul(), reader)).layers[1] is reader


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Operand("", 1, 8), "an operand's tensor must have a name"),
        (lambda: Operand("x", 0, 8), "x: elements must be positive, not 0"),
        (lambda: Operand("x", 1, 129), "x: bits must be in 1..128, not 129"),
        (lambda: matmul(pe=PeSpec(b_bits=4)), "fc: b must be 4 bits wide, not 8"),
        (
            lambda: matmul(b=Operand("w", 5, 8)),
            "fc: b must have 96 elements, not 5",
        ),
        (lambda: vector(op="sort"), "requantize: op must be one of requantize, "),
        (lambda: vector(rows=0), "requantize: rows must be positive, not 0"),
        (lambda: vector(inputs=()), "requantize: a vector layer must have an input"),
        (lambda: Program("p", ()), "program 'p' must have a layer"),
        (lambda: Program("p", (matmul(), matmul(out="o"))), "layer name 'fc' must be unique"),
        (
            lambda: Program("p", (matmul(), matmul("fc2"))),
            "fc2: 'acc' must be written once",
        ),
        (
            lambda: Program("p", (matmul(), vector(source="late"), matmul("fc2", out="late"))),
            "requantize: 'late' must be written before it is read",
        ),
        (
            lambda: Program("p", (matmul(), vector(bits=16))),
            "requantize: 'acc' must keep its kind: 32 bits activation before, 16 bits activation",
        ),
        (
            lambda: Program("p", (matmul(), vector(inputs=(Operand("acc", 49, 32),)))),
            "requantize: 'acc' must be read at most whole: it has 48 elements, not 49",
        ),
        (
            lambda: Program("p", (matmul(out="acc"), vector(out=Operand("y", 48, 8, True)))),
            "requantize: 'y' must not be constant",
        ),
        (
            lambda: Program("p", (vector(source="x", bits=8),)),
            "requantize: a fused layer must read what the matmul before it",
        ),
    ],
)
def test_says_what_must_hold(build, message):
    with pytest.raises(SpecError) as caught:
        build()
    assert str(caught.value).startswith(message)
