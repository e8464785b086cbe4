"""What several tests share: SCALE-Sim's tables, and DeiT as a program.

The program is written by hand from the published shapes; what the compiler emits is alike.
"""

import csv
import os
from pathlib import Path

import pytest

from hwq.compiler.operand import Operand
from hwq.compiler.program import MatmulLayer, Program, VectorLayer
from hwq.compiler.view import View
from hwq.numerics.array import DATAFLOWS
from hwq.numerics.pe import MULTIPLY, SHIFT, PeSpec

GOLDEN = Path(__file__).parent / "golden" / "scalesim"
DATAFLOW = {name[0] + "s": name for name in DATAFLOWS}
SIZES = {"deit_t": (192, 3), "deit_s": (384, 6)}
TOKENS, BLOCKS, CLASSES, PATCH = 197, 12, 1000, 768


@pytest.fixture(scope="session")
def gemm_rows():
    """SCALE-Sim's table of matmuls: ((m, n, k), (rows, columns), dataflow, row)."""
    return _read(os.environ.get("HWQ_SCALESIM_GOLDEN", GOLDEN / "gemm_table.csv"))


@pytest.fixture(scope="session")
def deit_s_rows():
    """SCALE-Sim's table of DeiT-S, in the same form."""
    return _read(GOLDEN / "deit_s.csv")


@pytest.fixture(scope="session")
def deit_program():
    """The builder of DeiT programs."""
    return _deit_program


def _read(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    return [(_integers(row, "MNK"), _array(row), DATAFLOW[row["dataflow"]], row) for row in rows]


def _array(row):
    return _integers(row, ("rows", "cols")) if "rows" in row else _split(row["array"])


def _split(array):
    rows, columns = array.split("x")
    return int(rows), int(columns)


def _integers(row, columns):
    return tuple(int(row[column]) for column in columns)


class _Builder:
    def __init__(self, weight_bits, activation_bits):
        self.w, self.a = weight_bits, activation_bits
        self.layers = []

    def linear(self, name, source, m, n, k, out_bits=None):
        """A matmul and its fused requantization."""
        out = Operand(f"{name}.acc", m * n, 32)
        self.layers.append(
            MatmulLayer(
                name,
                m,
                n,
                k,
                1,
                PeSpec(MULTIPLY, self.a, self.w),
                Operand(source, m * k, self.a),
                Operand(f"{name}.weight", k * n, self.w, constant=True),
                out,
            )
        )
        return self.fused(f"{name}.requantize", "requantize", out, m, n, out_bits or self.a)

    def heads(self, name, a, b, m, n, k, count, pe=MULTIPLY, a_bits=None, out_bits=None):
        out = Operand(f"{name}.acc", count * m * n, 32)
        self.layers.append(
            MatmulLayer(
                name,
                m,
                n,
                k,
                count,
                PeSpec(pe, a_bits or self.a, self.a),
                Operand(a, count * m * k, a_bits or self.a),
                Operand(b, count * k * n, self.a),
                out,
            )
        )
        bits = out_bits or self.a
        return self.fused(f"{name}.requantize", "requantize", out, count * m, n, bits)

    def fused(self, name, op, source, rows, length, bits, *others):
        return self.vector(name, op, [source, *others], rows, length, bits, fused=True)

    def vector(self, name, op, sources, rows, length, bits, fused=False):
        out = Operand(name, rows * length, bits)
        self.layers.append(VectorLayer(name, op, rows, length, tuple(sources), out, fused))
        return out


def _deit_program(model="deit_s", weight_bits=8, activation_bits=8, tokens=TOKENS):
    dim, heads = SIZES[model]
    b, a = _Builder(weight_bits, activation_bits), activation_bits
    image = Operand("image", (tokens - 1) * PATCH, 8)
    codes = b.vector("encode", "encode", [image], (tokens - 1), PATCH, a)
    patches = b.linear("patch_embed.proj", codes.tensor, (tokens - 1), dim, PATCH, out_bits=16)
    size = tokens * dim
    parts = {
        name: Operand("stream", rows * dim, 16, view=view, along=("rows", "length"), size=size)
        for name, rows, view in (
            ("rest", tokens - 1, View(dim, (((tokens - 1, dim),), ((dim, 1),)))),
            ("class", 1, View(0, ((), ((dim, 1),)))),
        )
    }
    position = Operand("pos_embed", (tokens - 1) * dim, 16, constant=True)
    token = Operand("cls_token", dim, 16, constant=True)
    b.layers += [
        VectorLayer("pos", "add", tokens - 1, dim, (patches, position), parts["rest"], True),
        VectorLayer("cls", "concat", 1, dim, (token,), parts["class"]),
    ]
    stream = Operand("stream", size, 16)
    for block in range(BLOCKS):
        stream = _block(b, f"blocks.{block}", stream, dim, heads, a, tokens)
    last = b.vector("norm", "layer_norm", [stream], tokens, dim, a)
    b.linear("head", last.tensor, 1, CLASSES, dim, out_bits=16)
    return Program(model, tuple(b.layers))


def _block(b, name, stream, dim, heads, a, tokens):
    norm = b.vector(f"{name}.norm1", "layer_norm", [stream], tokens, dim, a)
    qkv = b.linear(f"{name}.attn.qkv", norm.tensor, tokens, 3 * dim, dim)
    d = dim // heads
    scores = b.heads(
        f"{name}.attn.qk", qkv.tensor, qkv.tensor, tokens, tokens, d, heads, out_bits=16
    )
    probs = b.vector(f"{name}.attn.softmax", "softmax", [scores], heads * tokens, tokens, 16)
    codes = b.vector(f"{name}.attn.encode", "encode", [probs], heads * tokens, tokens, 4)
    values = b.heads(
        f"{name}.attn.av",
        codes.tensor,
        qkv.tensor,
        tokens,
        d,
        tokens,
        heads,
        pe=SHIFT,
        a_bits=4,
    )
    proj = b.linear(f"{name}.attn.proj", values.tensor, tokens, dim, dim, out_bits=16)
    stream = b.fused(f"{name}.add1", "add", proj, tokens, dim, 16, stream)
    norm = b.vector(f"{name}.norm2", "layer_norm", [stream], tokens, dim, a)
    hidden = b.linear(f"{name}.mlp.fc1", norm.tensor, tokens, 4 * dim, dim, out_bits=16)
    act = b.fused(f"{name}.mlp.act", "activation", hidden, tokens, 4 * dim, a)
    out = b.linear(f"{name}.mlp.fc2", act.tensor, tokens, dim, 4 * dim, out_bits=16)
    return b.fused(f"{name}.add2", "add", out, tokens, dim, 16, stream)
