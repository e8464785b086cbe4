"""Random programs and machines: shapes only, no data."""

from hwq.compiler.operand import Operand
from hwq.compiler.program import MatmulLayer, Program, VectorLayer
from hwq.numerics.array import DATAFLOWS
from hwq.numerics.pe import MULTIPLY, SHIFT_PARITY, PeSpec
from hwq.numerics.unit import Field
from tests.plan.machines import machine


def random_program(rng):
    """Return layers one behind another: products, what is fused to them, heads, whole rows."""
    layers, source, bits = [], ("image", rng.randint(1, 400)), 8
    for number in range(rng.randint(1, 4)):
        grow = rng.choice((_linear, _linear, _heads, _rows))
        source, bits = grow(rng, layers, f"l{number}", source, bits)
    return Program("random", tuple(layers))


def _linear(rng, layers, name, source, bits):
    tensor, size = source
    k = rng.choice([n for n in range(1, size + 1) if size % n == 0])
    m, n = size // k, rng.randint(1, 24)
    kind = rng.choice((MULTIPLY, SHIFT_PARITY))
    pe = PeSpec(kind, bits, 4)
    out = Operand(f"{name}.acc", m * n, 32 * pe.planes)
    weight = Operand(f"{name}.w", k * n, 4, constant=True)
    sums = rng.random() < 0.3
    operands = Operand(tensor, size, bits), weight, out
    layers.append(MatmulLayer(name, m, n, k, 1, pe, *operands, column_sums=sums))
    return _fused(rng, layers, name, out, m, n)


def _fused(rng, layers, name, out, rows, n):
    bits = rng.choice((4, 8))
    parameters = Operand(f"{name}.p", n, 85, constant=True, fields=(Field("mult", 85),))
    codes = Operand(f"{name}.codes", rows * n, bits)
    inputs = (out, parameters) if rng.random() < 0.5 else (out,)
    layers.append(VectorLayer(f"{name}.r", "requantize", rows, n, inputs, codes, fused=True))
    if rng.random() < 0.4:
        other = Operand(f"{name}.other", rows * n, 16, constant=rng.random() < 0.5)
        out = Operand(f"{name}.sum", rows * n, bits)
        layers.append(VectorLayer(f"{name}.add", "add", rows, n, (codes, other), out, fused=True))
        codes = out
    return (codes.tensor, rows * n), bits


def _heads(rng, layers, name, source, bits):
    """Scores, softmax and values of several heads, which read one tensor in three ways."""
    tensor, size = source
    heads, tokens, depth = rng.randint(1, 3), rng.randint(1, 9), rng.randint(1, 9)
    if heads * tokens * depth > size:
        return _rows(rng, layers, name, source, bits)
    elements, square = heads * tokens * depth, heads * tokens * tokens
    x = Operand(tensor, elements, bits)
    scores, sums = Operand(f"{name}.s", square, 32), Operand(f"{name}.v", elements, 32)
    codes, probs = Operand(f"{name}.q", square, 16), Operand(f"{name}.pr", square, 8)
    layers += [
        MatmulLayer(f"{name}.qk", tokens, tokens, depth, heads, PeSpec(MULTIPLY, bits, bits),
                    x, x, scores),
        VectorLayer(f"{name}.qkr", "requantize", heads * tokens, tokens, (scores,), codes, True),
        VectorLayer(f"{name}.sm", "softmax", heads * tokens, tokens, (codes,), probs),
        MatmulLayer(f"{name}.av", tokens, depth, tokens, heads, PeSpec(MULTIPLY, 8, bits),
                    probs, x, sums),
    ]  # fmt: skip
    return _fused(rng, layers, f"{name}.av", sums, heads * tokens, depth)


def _rows(rng, layers, name, source, bits):
    tensor, size = source
    length = rng.choice([n for n in range(1, size + 1) if size % n == 0])
    op, wide = rng.choice((("softmax", 16), ("encode", 8), ("activation", 8)))
    out = Operand(f"{name}.out", size, wide if wide < 16 else 8)
    x = Operand(tensor, size, bits)
    layers.append(VectorLayer(f"{name}.{op}", op, size // length, length, (x,), out))
    return (out.tensor, size), out.bits


def random_machine(rng):
    """Return a machine of any bandwidth, from a bit a cycle to no limit, and any latency."""
    rate = rng.choice((1.0, 2.5, 7.0, 64.0, 1e3, 8e6))
    return machine(
        rng.randint(1, 9),
        rng.randint(1, 9),
        tuple(rng.choice((1.0, 1.5, 4.0, 64.0)) for _ in range(4)),
        rate=rate,
        latency=rng.choice((0, 0, 1, 17, 200)),
        lanes=rng.randint(1, 9),
        dataflow=rng.choice((*DATAFLOWS, "auto")),
    )
