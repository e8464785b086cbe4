"""Checkpoints: other names, types, shapes, nests and bytes."""

import io
import os
import pickle
import warnings
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from hwq.models.weights import load_weights
from tests.fuzz import mutate
from tests.fuzz.calibrated import micro_vit
from tests.fuzz.harness import Fault, accepts

_PREFIXES = ("module.", "_orig_mod.", "teacher.", "vit.encoder.layer.0.", "x", "")
_NESTS = ("model", "state_dict", "model_state_dict", "model_ema", "ema", "teacher", "x")
_BESIDE = (3, "words", None, [1, 2], {"lr": 0.1}, Namespace(lr=0.1), torch.ones(2), {1: 2})


class Weights:
    """Load a checkpoint; what is accepted leaves finite float32 weights of the same names."""

    name = "weights"

    def __init__(self, folder: Path) -> None:
        self.stem = folder / f"weights-{os.getpid()}"
        self.module = micro_vit()
        self.state = dict(self.module.state_dict())

    def run(self, rng: mutate.Rng) -> bool:
        """Try one file."""
        state: dict[Any, Any] = dict(self.state)
        for _ in range(int(rng.integers(0, 3))):
            self._change(rng, state)
        if rng.random() < 0.3:
            prefix = mutate.pick(rng, _PREFIXES)
            state = {f"{prefix}{name}": value for name, value in state.items()}
        path = self._write(rng, state)
        self.module.load_state_dict(self.state)
        if not accepts(lambda: load_weights(self.module, path)):
            return False
        for name, value in self.module.state_dict().items():
            if value.dtype != torch.float32 or not value.isfinite().all():
                raise Fault(f"{name} became {value.dtype}, or is not finite")
        return True

    def _change(self, rng: mutate.Rng, state: dict[Any, Any]) -> None:
        name = mutate.pick(rng, sorted(map(str, state)))
        kind = rng.random()
        if name not in state:
            return
        if kind < 0.6 and isinstance(state[name], torch.Tensor):
            state[name] = mutate.tensor(rng, state[name])
        elif kind < 0.7:
            del state[name]
        elif kind < 0.8:
            state[mutate.pick(rng, ("extra", 3, "head.weight.x"))] = torch.ones(2)
        elif kind < 0.9:
            state[name] = mutate.pick(rng, _BESIDE)
        elif isinstance(state[name], torch.Tensor):
            value = state[name]
            makers = (torch.Tensor.to_sparse, lambda x: x.to("meta"), lambda x: x.data_ptr)
            # torch has no sparse eight-bit floats
            if value.layout == torch.strided and value.element_size() > 1 and not value.is_meta:
                state[name] = mutate.pick(rng, makers)(value)

    def _write(self, rng: mutate.Rng, state: dict[Any, Any]) -> Path:
        plain = all(
            isinstance(name, str)
            and isinstance(value, torch.Tensor)
            and value.layout == torch.strided
            and not value.is_meta
            for name, value in state.items()
        )
        if plain and rng.random() < 0.6:
            path = self.stem.with_suffix(".safetensors")
            data = save({name: value.clone().contiguous() for name, value in state.items()})
        else:
            path = self.stem.with_suffix(".pth")
            content: Any = OrderedDict(state)
            for _ in range(int(rng.integers(0, 3))):
                content = {mutate.pick(rng, _NESTS): content, "args": mutate.pick(rng, _BESIDE)}
            buffer = io.BytesIO()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    torch.save(content, buffer)
                except (pickle.PicklingError, TypeError, AttributeError):
                    torch.save(mutate.pick(rng, _BESIDE), buffer)
            data = buffer.getvalue()
        path.write_bytes(mutate.flipped(rng, data, 40) if rng.random() < 0.15 else data)
        return path
