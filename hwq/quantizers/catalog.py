"""The quantizers, by name."""

from hwq.quantizers.base import Quantizer
from hwq.registry import Registry

QUANTIZERS: Registry[type[Quantizer]] = Registry(
    "quantizer",
    {
        "dynamic": "hwq.quantizers.dynamic:Dynamic",
        "log2": "hwq.quantizers.log2:Log2",
        "log_sqrt2": "hwq.quantizers.log_sqrt2:LogSqrt2",
        "per_patch_outlier": "hwq.quantizers.per_patch_outlier:PerPatchOutlier",
        "shift_log2": "hwq.quantizers.shift_log2:ShiftLog2",
        "shift_uniform_log2": "hwq.quantizers.shift_uniform_log2:ShiftUniformLog2",
        "twin_uniform": "hwq.quantizers.twin_uniform:TwinUniform",
        "uniform": "hwq.quantizers.uniform:Uniform",
    },
)
