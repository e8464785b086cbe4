"""Names that the graph makes for itself, and how a network's own names keep out of their way."""

# what later steps append to a node's name: quantized operands, accumulators, side paths
_SUFFIXES = frozenset({"a", "b", "acc", "dense", "outliers", "joined", "multipliers", "unit"})


def escape(name: str) -> str:
    """Return `name`, with "_" after it where the graph uses such a name itself.

    >>> escape("blocks.0.attn.qkv"), escape("image"), escape("fc.a")
    ('blocks.0.attn.qkv', 'image_', 'fc.a_')
    """
    last = name.rpartition(".")[2]
    return f"{name}_" if name == "image" or last in _SUFFIXES else name
