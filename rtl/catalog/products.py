# amaranth: UnusedElaboratable=no
"""Units of one element behind a matrix product, and sums of the residual stream."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from amaranth.hdl import signed, unsigned

from hwq.numerics.add import AddSpec
from hwq.numerics.epilogue import GUARD_BITS, EpilogueSpec
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.mean import MeanSpec
from hwq.numerics.mul import MulSpec
from hwq.numerics.outlier_join import OutlierJoinSpec
from hwq.numerics.outlier_split import NEVER, OutlierSplitSpec
from hwq.numerics.rescale import RescaleSpec
from hwq.rtl.add import Add
from hwq.rtl.catalog.base import Twin
from hwq.rtl.epilogue import Epilogue
from hwq.rtl.mean import Mean
from hwq.rtl.mul import Mul
from hwq.rtl.outlier_join import OutlierJoin
from hwq.rtl.outlier_split import OutlierSplit
from hwq.rtl.rescale import Rescale

GUARDED = (1 << GUARD_BITS,)
# scales of seven tokens, from many codes a step to many steps a code
_MULT = np.array([46811, 65535, 0, 32768, 1, 52000, 39322])
_SHIFT = np.array([23, 24, 20, 1, 9, 22, 17])
_SPLIT = OutlierSplitSpec(_MULT[:1], _SHIFT[:1], zero_point=117, threshold=11000)
_SPLITS = OutlierSplitSpec(_MULT, _SHIFT, zero_point=7, threshold=2500, bits=4)
_JOIN = OutlierJoinSpec(np.array([4095, 1, 2731]), np.array([-(1 << 31), 70001, 0, 1 << 31, -8192]))
_JOIN_ONE = OutlierJoinSpec(np.array([3001]), np.array([-123456]))
_MUL = MulSpec(14, FixedPoint(16, 12))
_MEAN = MeanSpec.from_float(1 / 49, 49, FixedPoint(16, 12))

PRODUCTS: Mapping[str, Twin] = {
    "epilogue": Twin(
        Epilogue(EpilogueSpec(-128, 127, GUARDED)),
        {
            "int8": Epilogue(EpilogueSpec(-128, 127, GUARDED)),
            "encoder": Epilogue(EpilogueSpec(-128, 127, acc_bits=18)),
            "int4": Epilogue(EpilogueSpec(0, 15, GUARDED, acc_bits=24, addend_bits=40)),
            "fixed16": Epilogue(EpilogueSpec(-(1 << 15), (1 << 15) - 1, GUARDED)),
            "two_planes": Epilogue(EpilogueSpec(-128, 127, plane_weights=(128, 181))),
            "joined": Epilogue(EpilogueSpec(0, 63, acc_bits=46, addend_bits=45)),
        },
    ),
    "rescale": Twin(
        Rescale(RescaleSpec()),
        {"bias46": Rescale(RescaleSpec()), "bias20": Rescale(RescaleSpec(bias_bits=20))},
    ),
    "outlier_split": Twin(
        OutlierSplit(_SPLIT, channels=192),
        {
            "one_scale": OutlierSplit(_SPLIT, channels=192),
            "tokens": OutlierSplit(_SPLITS, channels=5),
            "one_channel": OutlierSplit(_SPLITS, channels=1),
            "no_outliers": OutlierSplit(replace(_SPLIT, threshold=NEVER), channels=3),
            "ends_are_outliers": OutlierSplit(replace(_SPLIT, threshold=(1 << 15) - 2), channels=3),
            "least_is_outlier": OutlierSplit(replace(_SPLIT, threshold=(1 << 15) - 1), channels=3),
            "all_but_zero": OutlierSplit(replace(_SPLITS, threshold=0, bits=8), channels=4),
            "far_outliers": OutlierSplit(_SPLITS, channels=6, x=signed(20)),
        },
    ),
    "outlier_join": Twin(
        OutlierJoin(_JOIN),
        {
            "table": OutlierJoin(_JOIN),
            "without_outliers": OutlierJoin(_JOIN, runs=(1,)),
            "many_outliers": OutlierJoin(_JOIN, channels=40, runs=(15, 1, 40)),
            "one_scale": OutlierJoin(_JOIN_ONE, channels=1536, runs=(2, 1)),
        },
    ),
    "add": Twin(
        Add(AddSpec(FixedPoint(16, 12))),
        {
            "signed16": Add(AddSpec(FixedPoint(16, 12))),
            "signed8": Add(AddSpec(FixedPoint(8, 4))),
            "unsigned7": Add(AddSpec(FixedPoint(7, 0, signed=False))),
        },
    ),
    "mul": Twin(
        Mul(_MUL),
        {
            "q4_12": Mul(_MUL),
            "bits8": Mul(MulSpec(5, FixedPoint(8, 4)), bits=8),
            "exact": Mul(MulSpec(0, FixedPoint(32, 0))),
            "far": Mul(MulSpec(31, FixedPoint(3, 0))),
            "unsigned": Mul(MulSpec(17, FixedPoint(9, 0, signed=False))),
        },
    ),
    "mean": Twin(
        Mean(_MEAN),
        {
            "tokens49": Mean(_MEAN),
            "tokens64": Mean(MeanSpec.from_float(1 / 4096, 64, FixedPoint(8, 3))),
            "one": Mean(MeanSpec.from_float(3.7, 1, FixedPoint(12, 2))),
            "unsigned": Mean(MeanSpec.from_float(1 / 3, 3, FixedPoint(16, 0, False)), unsigned(16)),
        },
    ),
}
"""Stem -> row."""
