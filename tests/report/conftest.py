from dataclasses import replace

import pytest

from hwq.accuracy import Accuracy
from hwq.arch.load import load_accelerator
from hwq.compiler.program import MatmulLayer, Operand, Program, VectorLayer
from hwq.cost.result import RunInfo, SimulationResult
from hwq.numerics.pe import MULTIPLY, PeSpec
from tests.costs import cost_of


def _block(name, source):
    acc = Operand(f"{name}.fc.acc", 48, 32)
    weight = Operand(f"{name}.fc.weight", 48, 4, constant=True)
    x = Operand(source, 64, 4)
    matmul = MatmulLayer(f"{name}.fc", 8, 6, 8, 1, PeSpec(MULTIPLY, 4, 4), x, weight, acc)
    codes = Operand(f"{name}.codes", 48, 4)
    return (
        matmul,
        VectorLayer(f"{name}.fc.requantize", "requantize", 8, 6, (acc,), codes, fused=True),
        VectorLayer(f"{name}.pad", "concat", 8, 8, (codes,), Operand(f"{name}.out", 64, 4)),
    )


@pytest.fixture(scope="session")
def result():
    """Three equal blocks, w4a4, accuracy not measured."""
    layers, source = [], "image"
    for number in range(3):
        layers += _block(f"blocks.{number}", source)
        source = layers[-1].out.tensor
    cost = cost_of(
        Program("tiny", tuple(layers)), load_accelerator("edge_16x16"), timing="stall_free"
    )
    first = replace(cost.layers[0], saturations=3, sqnr_db=31.5)
    run = RunInfo(
        model="tiny",
        method="scalepredictor",
        base="minmax",
        bits="w4a4",
        accelerator="edge_16x16",
        dataflow="auto",
        seed=0,
        weights="random",
        images=0,
        hwq_version="0.1.0",
        timing=cost.timing,
        notes=("weights are random",),
    )
    return SimulationResult(run, (first, *cost.layers[1:]), cost.totals)


@pytest.fixture(scope="session")
def measured(result):
    """The same with accuracy."""
    fidelity = Accuracy(
        images=650,
        top1_fp32=81.54,
        top1_fake_quant=81.0,
        top1_integer=80.92,
        integer_only=3,
        fake_quant_only=4,
        agreement_fp32=97.5,
        agreement_fake_quant=99.25,
        integer_sqnr_fp32_db=17.5,
        fake_quant_sqnr_fp32_db=17.6,
        logit_sqnr_db=float("inf"),
    )
    return replace(result, fidelity=fidelity)
