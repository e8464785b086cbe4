"""Named orders of passes."""

from hwq.compiler.passes.base import Pass
from hwq.compiler.passes.base_two_softmax import BaseTwoSoftmax
from hwq.compiler.passes.fold_constants import FoldConstants
from hwq.compiler.passes.fold_mul import FoldMul
from hwq.compiler.passes.fold_preprocessing import FoldPreprocessing
from hwq.compiler.passes.fuse_activation import FuseActivation
from hwq.compiler.passes.hoist_quantize import HoistQuantize
from hwq.compiler.passes.legalize_conv2d import LegalizeConv2d
from hwq.compiler.passes.legalize_matmul import LegalizeMatmul
from hwq.compiler.passes.lower_to_integer import LowerToInteger


def prepare(mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[Pass, ...]:
    """Float graph as imported -> float graph of matrix products that reads 8-bit pixels."""
    return (
        FoldConstants(),
        LegalizeConv2d(),
        LegalizeMatmul(),
        FoldConstants(),  # what was broadcast for a product
        FuseActivation(),
        FoldMul(),
        BaseTwoSoftmax(),
        FoldPreprocessing(mean, std),
    )


HOIST: tuple[Pass, ...] = (HoistQuantize(),)
"""Quantised graph as a method returns it -> quantization right behind the matrix products."""

LOWER: tuple[Pass, ...] = (LowerToInteger(),)
"""Hoisted quantised graph -> integer graph."""
