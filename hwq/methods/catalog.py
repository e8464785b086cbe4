"""The methods, by name; importing this imports none of them."""

from typing import TYPE_CHECKING

from hwq.registry import Registry

if TYPE_CHECKING:
    from hwq.methods.base import Method

METHODS: "Registry[type[Method]]" = Registry(
    "PTQ method",
    {
        "adfq_vit": "hwq.methods.adfq_vit:AdfqViT",
        "is_vit": "hwq.methods.is_vit:IsViT",
        "minmax": "hwq.methods.minmax:MinMax",
        "psaq_vit": "hwq.methods.psaq_vit:PsaqViT",
        "ptq4vit": "hwq.methods.ptq4vit:Ptq4ViT",
        "repq_vit": "hwq.methods.repq_vit:RepqViT",
        "scalepredictor": "hwq.methods.scalepredictor:ScalePredictor",
    },
    group="hwq.methods",
)
