"""Which tensors can be weights, and their conversion to float32."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from hwq.errors import UsageError

_CONVERTED: Final = (torch.float16, torch.bfloat16, torch.float64)


def fault_of(tensor: Tensor) -> str | None:
    """Say why a tensor cannot be a float32 weight, as the end of a sentence; None if it can be."""
    if is_lazy(tensor):
        return "has no shape yet: it is lazy, until the module has seen an image"
    if tensor.is_meta:
        return "has no values: it is on torch's meta device"
    if tensor.layout != torch.strided or tensor.is_nested:
        return f"must be dense, not {tensor.layout}"
    if tensor.dtype not in (torch.float32, *_CONVERTED):
        return f"must be float32, float64, float16 or bfloat16, not {_word(tensor.dtype)}"
    finite = torch.isfinite(tensor)
    if not finite.all():
        bad = tensor[~finite].flatten()
        return f"holds {len(bad):,} of {tensor.numel():,} values that are not finite ({bad[0]:g})"
    if not torch.isfinite(tensor.float()).all():
        return f"holds values beyond float32, up to {float(tensor.abs().max()):.3g}"
    return None


def conversion_notes(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return a sentence if some of the tensors, which are weights, become float32 first."""
    words = sorted(
        {_word(tensor.dtype) for tensor in tensors.values()} & set(map(_word, _CONVERTED))
    )
    return (f"weights were {' and '.join(words)}, converted to float32",) if words else ()


def to_float32(module: nn.Module, name: str) -> tuple[str, ...]:
    """Make a module one of float32 on the CPU, in place.

    Returns
    -------
    tuple of str
        What a reader of its results must know.

    Raises
    ------
    UsageError
        When a parameter or a buffer cannot be that; it is named.
    """
    parameters: dict[str, Tensor] = dict(module.named_parameters())
    buffers = dict(module.named_buffers())
    for label, tensor in parameters.items():
        fault = fault_of(tensor)
        if fault is not None:
            raise UsageError(f"model {name!r}: parameter {label} {fault}")
    # a buffer may hold positions, or a mask whose values are not finite
    for label, tensor in buffers.items():
        if is_lazy(tensor) or tensor.is_meta or tensor.layout != torch.strided:
            raise UsageError(f"model {name!r}: buffer {label} {fault_of(tensor)}")
    notes = conversion_notes({**parameters, **buffers})
    module.cpu().float()
    return notes


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
