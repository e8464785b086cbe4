"""Values that people and programs put where others belong."""

import copy
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Rng = np.random.Generator

PLAIN: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 8, 15, 16, 63, 255, 256, 4096, 65536),
    *(2**31 - 1, 2**31, -(2**31), 2**63, 10**40, 0.5, -0.5, 1e-300, 1e300, 3.0, 1e38),
    *("", "a", "uniform", "log2", "w4a4", "../x", "\x1b[31m", "\u2028", "é", "x" * 5000, "0"),
    *([], [1], [1, 2, 3], [[]], {}, {"a": 1}, {"class": "uniform"}, {"object": 0}, {"tensor": ""}),
)


def pick(rng: Rng, items: Any) -> Any:
    """Return one of a sequence."""
    return items[int(rng.integers(len(items)))]


def value(rng: Rng, old: Any) -> Any:
    """Return another value, sometimes a near one."""
    if isinstance(old, bool) or rng.random() < 0.5 or not isinstance(old, int | float):
        return copy.deepcopy(pick(rng, PLAIN))
    changes: tuple[Callable[[], Any], ...] = (
        *(lambda: old + 1, lambda: old - 1, lambda: -old, lambda: old * 2, lambda: old / 2),
        *(lambda: float(old), lambda: str(old), lambda: [old], lambda: old * 10**6),
    )
    return pick(rng, changes)()


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in nested lists and mappings."""
    found = [path] if path else []
    items = content.items() if isinstance(content, dict) else ()
    if isinstance(content, list):
        items = enumerate(content)
    for key, item in items:
        found += places(item, (*path, key))
    return found


def tree(rng: Rng, content: Any, paths: list[tuple[Any, ...]]) -> None:
    """Change one thing in nested lists and mappings: a value, a key, two that swap."""
    path, other = pick(rng, paths), pick(rng, paths)
    try:
        parent, source = _parent(content, path), _parent(content, other)
    except (KeyError, IndexError, TypeError):
        return  # an earlier change took it away
    kind = rng.random()
    if kind < 0.6:
        parent[path[-1]] = value(rng, parent[path[-1]])
    elif kind < 0.75:
        del parent[path[-1]]
    elif kind < 0.9:
        parent[path[-1]] = copy.deepcopy(source[other[-1]])
    elif isinstance(parent, dict):
        parent[str(pick(rng, ("extra", "shape", "bits", "quant", "0")))] = value(rng, 0)
    else:
        parent.append(value(rng, 0))


def _parent(content: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        content = content[key]
    content[path[-1]]
    if not isinstance(content, dict | list):
        raise TypeError("a word has letters, not values")
    return content


_DTYPES = (torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.uint8, torch.int16)
_DTYPES += (torch.int32, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn)
_NUMBERS = (0.0, -1.0, 1.0, float("nan"), float("inf"), -float("inf"), 1e-40, 1e-30, 1e30, 127, 300)


def tensor(rng: Rng, old: torch.Tensor) -> torch.Tensor:
    """Return a tensor with another number, type or shape, where torch can make one."""
    try:
        return _tensor(rng, old)
    except (NotImplementedError, RuntimeError, TypeError):
        return torch.ones(3)


def _tensor(rng: Rng, old: torch.Tensor) -> torch.Tensor:
    kind = rng.random()
    if kind < 0.5 and old.numel():
        new = old.clone().reshape(-1)
        number = float(pick(rng, _NUMBERS))
        if not new.is_floating_point():
            number = int(np.clip(np.nan_to_num(number), -(2**62), 2**62))
            number = min(max(number, torch.iinfo(new.dtype).min), torch.iinfo(new.dtype).max)
        new[int(rng.integers(new.numel())) if rng.random() < 0.7 else slice(None)] = number
        return new.reshape(old.shape)
    if kind < 0.75:
        return (
            old.nan_to_num().to(pick(rng, _DTYPES))
            if old.is_floating_point()
            else old.to(pick(rng, _DTYPES))
        )
    shapes: tuple[Callable[[], torch.Tensor], ...] = (
        *(lambda: old.reshape(-1), lambda: old[None], lambda: old.reshape(-1)[:1]),
        *(lambda: old.reshape(-1)[:0], lambda: old.flip(0) if old.ndim else old[None]),
        *(lambda: old.T if old.ndim == 2 else old[None, None], lambda: old.reshape(-1)[0]),
        lambda: torch.cat([old.reshape(-1), old.reshape(-1)]),
    )
    return pick(rng, shapes)().clone().contiguous() if old.numel() else torch.ones(3)


def json_text(rng: Rng, text: str) -> str:
    """Return JSON, one number of it sometimes in words that only Python takes for a number."""
    numbers = [match.span() for match in re.finditer(r"(?<=: )-?\d+(\.\d+)?", text)]
    if not numbers or rng.random() < 0.97:
        return text
    first, last = pick(rng, numbers)
    return text[:first] + pick(rng, ("1e999", "-1e999", "NaN", "Infinity")) + text[last:]


def flipped(rng: Rng, data: bytes, most: int = 4) -> bytes:
    """Return bytes of which some are changed, or the end is missing."""
    if rng.random() < 0.2:
        return data[: int(rng.integers(len(data) + 1))]
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, most + 1))):
        changed[int(rng.integers(len(changed)))] = int(rng.integers(256))
    return bytes(changed)
