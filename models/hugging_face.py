"""Hugging Face's names of a ViT's or DeiT's tensors, as timm calls them."""

import re
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

# in this order; transformers 5 has renamed what lies in a block, so there are two of most
_NAMES: Final = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^(?:vit|deit)\.", ""),
        (r"^embeddings\.cls_token$", "cls_token"),
        (r"^embeddings\.distillation_token$", "dist_token"),
        (r"^embeddings\.position_embeddings$", "pos_embed"),
        (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"^(?:encoder\.layer|layers)\.(\d+)\.", r"blocks.\1."),
        (r"\.attention\.attention\.(query|key|value)\.", r".attn.\1."),
        (r"\.attention\.([qkv])_proj\.", r".attn.\1."),
        (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
        (r"\.intermediate\.dense\.", ".mlp.fc1."),
        (r"\.output\.dense\.", ".mlp.fc2."),
        (r"\.layernorm_before\.", ".norm1."),
        (r"\.layernorm_after\.", ".norm2."),
        (r"^layernorm\.", "norm."),
        (r"^(?:cls_)?classifier\.", "head."),
        (r"^distillation_classifier\.", "head_dist."),
    )
)
_PART: Final = re.compile(r"\.attn\.(q|k|v|query|key|value)\.")


def is_hugging_face(names: Mapping[str, Tensor]) -> bool:
    """Whether these are the names of transformers' ViT or DeiT, of any of its versions."""
    return any(name.endswith("embeddings.patch_embeddings.projection.weight") for name in names)


def to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors by timm's names, with query, key and value of a block as one.

    What timm has no name for keeps its own, and so do queries without their keys or values.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for pattern, replacement in _NAMES:
            name = pattern.sub(replacement, name)
        renamed[name] = tensor
    joined: dict[str, Tensor] = {}
    for name, tensor in renamed.items():
        part = _PART.search(name)
        if part is None:
            joined[name] = tensor
        elif part[1] in ("q", "query"):
            words = ("q", "k", "v") if part[1] == "q" else ("query", "key", "value")
            parts = [renamed.get(_PART.sub(f".attn.{word}.", name)) for word in words]
            present = [value for value in parts if value is not None]
            if len(present) == 3:
                joined[_PART.sub(".attn.qkv.", name)] = torch.cat(present)
            else:
                joined[name] = tensor
    return joined
