import pytest
import torch

from hwq.errors import DataError
from hwq.methods.workspace import Workspace


def test_what_is_saved_is_loaded(tmp_path):
    workspace = Workspace(folder=tmp_path)
    assert workspace.load("block.0") is None
    workspace.save("block.0", {"weight": torch.arange(6).reshape(2, 3).T})
    assert torch.equal(workspace.load("block.0")["weight"], torch.arange(6).reshape(2, 3).T)
    assert [path.name for path in tmp_path.iterdir()] == ["block.0.safetensors"]


def test_without_a_folder_nothing_is_kept():
    workspace = Workspace()
    workspace.save("block.0", {"weight": torch.zeros(1)})
    assert workspace.load("block.0") is None


def test_a_broken_checkpoint_is_named(tmp_path):
    (tmp_path / "block.0.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match=r"block\.0\.safetensors"):
        Workspace(folder=tmp_path).load("block.0")


def test_every_step_has_its_own_random_numbers():
    first, again = (torch.rand(4, generator=Workspace(3).generator(7)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, torch.rand(4, generator=Workspace(3).generator(8)))
    assert not torch.equal(first, torch.rand(4, generator=Workspace(4).generator(7)))
