import hashlib
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hwq.errors import DataError
from hwq.models.weights import load_weights, sha256


def network(width=4):
    return nn.Sequential(nn.Linear(3, width), nn.GELU(), nn.Linear(width, 2))


def filled(value, width=4):
    return {name: torch.full_like(v, value) for name, v in network(width).state_dict().items()}


def message(path, module=None):
    with pytest.raises(DataError) as caught:
        load_weights(module or network(), path)
    text = str(caught.value)
    assert "\n" not in text and str(path) in text
    return text


def assert_loaded(module, value):
    assert all((tensor == value).all() for tensor in module.state_dict().values())


def test_safetensors(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(filled(0.5), path)
    module = network()
    digest = load_weights(module, path)
    assert_loaded(module, 0.5)
    assert digest == sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("key", [None, "model", "state_dict"])
def test_torch_files(tmp_path, key):
    path = tmp_path / "w.pth"
    torch.save({key: filled(0.25), "epoch": 3} if key else filled(0.25), path)
    module = network()
    load_weights(module, path)
    assert_loaded(module, 0.25)


def test_missing_file(tmp_path):
    path = tmp_path / "none.safetensors"
    assert message(path) == f"weights {path}: no such file"
    assert message(tmp_path) == f"weights {tmp_path}: no such file"


@pytest.mark.parametrize("size", [0, 5, 100, -7])
def test_truncated_safetensors(tmp_path, size):
    path = tmp_path / "w.safetensors"
    save_file(filled(0.5), path)
    path.write_bytes(path.read_bytes()[:size])
    assert message(path).startswith(f"weights {path} cannot be read: ")


@pytest.mark.parametrize("size", [0, 5, 100, -7])
def test_truncated_torch_file(tmp_path, size):
    path = tmp_path / "w.pth"
    torch.save(filled(0.5), path)
    path.write_bytes(path.read_bytes()[:size])
    assert message(path).startswith(f"weights {path} ")


def test_another_network(tmp_path):
    path = tmp_path / "w.safetensors"
    names = ["blocks.0.w", "blocks.1.w", "blocks.2.w", "blocks.3.w", "blocks.4.w"]
    save_file({name: torch.zeros(1) for name in names}, path)
    assert message(path) == (
        f"weights {path} are of another model: missing 0.weight, 0.bias, 2.weight and 1 more, "
        "unexpected blocks.0.w, blocks.1.w, blocks.2.w and 2 more"
    )


def test_one_tensor_missing_is_named(tmp_path):
    path = tmp_path / "w.safetensors"
    state = filled(0.5)
    del state["2.bias"]
    save_file(state, path)
    assert message(path) == f"weights {path} are of another model: missing 2.bias, unexpected -"


def test_other_widths(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(filled(0.5, width=5), path)
    assert message(path) == (
        f"weights {path} are of another model: 0.weight has shape [5, 3], not [4, 3]"
    )


def test_a_refused_file_changes_nothing(tmp_path):
    path = tmp_path / "w.safetensors"
    state = filled(0.5)
    state["2.bias"] = torch.zeros(9)
    save_file(state, path)
    module = network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    message(path, module)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("content", [3, [torch.zeros(1)], {"a": 3}, {"model": {"a": "b"}}])
def test_files_without_a_state_dict(tmp_path, content):
    path = tmp_path / "w.pth"
    torch.save(content, path)
    assert message(path) == f"weights {path} hold no state dict"


class Malicious:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".pkl", ".safetensors"])
@pytest.mark.parametrize("form", ["pickle", "torch", "torch_legacy"])
def test_never_unpickles(tmp_path, suffix, form):
    mark, path = tmp_path / "ran", tmp_path / f"w{suffix}"
    content = {**filled(0.5), "extra": Malicious(mark)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "torch")
    module = network()
    assert message(path, module).startswith(f"weights {path} ")
    assert not mark.exists(), "the file was executed"


def test_the_malicious_file_would_run(tmp_path):
    mark = tmp_path / "ran"
    pickle.loads(pickle.dumps(Malicious(mark))).close()
    assert mark.exists()
