"""Nanoseconds an element of the element-wise and row-wise units, one thread.

The kernel is compared with the reference on a few rows before it is timed. Times are CPU time of
this thread, the median of the repeats.
"""

import argparse
from collections.abc import Callable
from statistics import median
from time import thread_time
from typing import NamedTuple

import numpy as np
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from hwq.numerics.activation import ActivationSpec
from hwq.numerics.epilogue import Epilogue
from hwq.numerics.exp2 import Exp2Spec
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.gemm import pack
from hwq.numerics.horner import HornerSpec
from hwq.numerics.isqrt import IsqrtSpec
from hwq.numerics.layer_norm import LayerNormSpec
from hwq.numerics.softmax import SoftmaxSpec
from hwq.numerics.uniform import UniformSpec
from hwq.runtime.fused.lookup import code_table, look_up_codes
from hwq.runtime.fused.rescale import Rescale, of_head, rescale_rows

TOKENS, DIM, HIDDEN, HEADS = 197, 384, 1536, 6


Kernel = Callable[[NDArray[np.integer]], object]


class Case(NamedTuple):
    """A unit's two evaluations and one operand; row 0..1 of it is checked."""

    compute: Callable[[NDArray[np.integer]], object]
    reference: Callable[[NDArray[np.integer]], object] | None
    operand: NDArray[np.integer]


def cases() -> dict[str, Case]:
    rng = np.random.default_rng(0)
    norm = LayerNormSpec.from_float(
        rng.normal(1, 0.3, DIM), rng.normal(0, 1, DIM), 1e-6, 8, FixedPoint(16, 11)
    )
    softmax, gelu, exp2 = SoftmaxSpec(10), ActivationSpec(), Exp2Spec()
    horner, isqrt = HornerSpec((300, -900, 2000, 55)), IsqrtSpec(36)
    scores = rng.normal(0, 1500, (HEADS * TOKENS, TOKENS)).astype(np.int16)
    hidden = rng.normal(0, 4000, (TOKENS, HIDDEN)).astype(np.int16)
    residual = rng.normal(0, 800, (TOKENS, DIM)).astype(np.int16)
    roots = rng.integers(0, 1 << 36, (TOKENS, DIM))
    codes = rng.integers(-128, 127, (TOKENS, 64), np.int8)
    acc = rng.integers(-(1 << 20), 1 << 20, (TOKENS, HIDDEN), np.int32)
    columns = [rng.integers(*span, HIDDEN) for span in ((-(1 << 30), 1 << 30), (1 << 15, 1 << 16))]
    zero = np.zeros(1, np.int64)
    epilogue = Epilogue(
        columns[0], zero, columns[1], np.full(HIDDEN, 30), zero, -(1 << 15), (1 << 15) - 1, None, 12
    )
    rule = of_head(Rescale(epilogue).rules(), 0)
    encoder = UniformSpec(40000, 23, 19)
    table = code_table(lambda x: encoder.compute(gelu.compute(x)), signed=True)

    def fused(kernel: Callable[..., int], operand: object, kind: type[np.integer]) -> Kernel:
        def run(x: NDArray[np.integer]) -> tuple[NDArray[np.integer], int]:
            out = np.empty(x.shape, kind)
            rest = (HIDDEN,) if kernel is rescale_rows else ()
            return out, kernel(x, operand, *rest, out)

        return run

    return {
        "requantize, a node": Case(epilogue.compute, epilogue.reference, acc),
        "requantize, fused": Case(
            fused(rescale_rows, rule, np.int16), lambda x: epilogue.reference(x), acc
        ),
        "GELU and encode, two nodes": Case(
            lambda x: encoder.compute(gelu.compute(x)),
            lambda x: encoder.reference(gelu.reference(x)),
            hidden,
        ),
        "GELU and encode, fused": Case(
            fused(look_up_codes, table, np.uint8),
            lambda x: encoder.reference(gelu.reference(x)),
            hidden,
        ),
        "exp2": Case(exp2.compute, exp2.reference, hidden),
        "activation": Case(gelu.compute, gelu.reference, hidden),
        "horner, degree 3": Case(horner.compute, horner.reference, hidden),
        "isqrt, 36 bits": Case(isqrt.compute, isqrt.reference, roots),
        "layer_norm, D = 384": Case(norm.compute, norm.reference, residual),
        "softmax, T = 197": Case(softmax.compute, softmax.reference, scores),
        "pack V, 197 x 64": Case(pack, None, codes),
        "pack k^T, 64 x 197": Case(lambda k: pack(k.T), None, codes),
    }


def check(case: Case) -> None:
    if case.reference is None:
        return
    fast, slow = case.compute(case.operand[:2]), case.reference(case.operand[:2])
    for got, expected in zip(parts(fast), parts(slow), strict=True):
        assert_array_equal(got, expected)


def parts(result: object) -> tuple[object, ...]:
    return result if isinstance(result, tuple) else (result,)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15, help="samples per unit (default 15)")
    arguments = parser.parse_args()
    for name, case in cases().items():
        check(case)
        case.compute(case.operand)
        inner = max(1, 400_000 // case.operand.size)
        samples = []
        for _ in range(arguments.repeats):
            begin = thread_time()
            for _ in range(inner):
                case.compute(case.operand)
            samples.append((thread_time() - begin) / inner)
        print(f"{name:28}{median(samples) / case.operand.size * 1e9:7.2f} ns")


if __name__ == "__main__":
    main()
