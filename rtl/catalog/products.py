"""Units of one element behind a matrix product."""

from collections.abc import Mapping

from hwq.numerics.epilogue import EpilogueSpec
from hwq.numerics.rescale import RescaleSpec
from hwq.rtl.catalog.base import Unit
from hwq.rtl.epilogue import Epilogue
from hwq.rtl.rescale import Rescale

PRODUCTS: Mapping[str, Unit] = {
    "epilogue": Unit(
        Epilogue(EpilogueSpec(-128, 127)),
        {
            "int8": Epilogue(EpilogueSpec(-128, 127)),
            "int4": Epilogue(EpilogueSpec(0, 15, acc_bits=24, addend_bits=24)),
            "fixed16": Epilogue(EpilogueSpec(-(1 << 15), (1 << 15) - 1)),
            "two_planes": Epilogue(EpilogueSpec(-128, 127, plane_weights=(128, 181))),
            "joined": Epilogue(EpilogueSpec(0, 63, acc_bits=46, addend_bits=45)),
        },
    ),
    "rescale": Unit(
        Rescale(RescaleSpec()),
        {"bias46": Rescale(RescaleSpec()), "bias20": Rescale(RescaleSpec(bias_bits=20))},
    ),
}
"""Stem -> row."""
