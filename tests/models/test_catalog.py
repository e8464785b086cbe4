import sys

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from hwq.errors import UsageError
from hwq.models.catalog import MODELS, create_network, list_models
from hwq.models.preprocessing import Preprocessing

TINY = """
import torch
from timm.models.vision_transformer import VisionTransformer

def tiny():
    return VisionTransformer(img_size=32, patch_size=8, embed_dim=32, depth=1, num_heads=2)

def configured():
    module = tiny()
    module.pretrained_cfg = {"input_size": (3, 32, 32), "mean": (0.1, 0.2, 0.3), "crop_pct": 1.0}
    return module

def wrong():
    return "not a network"
"""


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_short_names_are_timm_names():
    assert set(MODELS) == {"deit_t", "deit_s", "deit_b", "vit_t", "vit_s", "vit_b"}
    assert all(timm.is_model(name) for name in MODELS.values())
    assert set(MODELS) <= set(list_models()) and len(list_models()) > 100


def test_network_is_in_eval_mode_with_timms_preprocessing():
    network = create_network("deit_t")
    assert isinstance(network.module, VisionTransformer) and not network.module.training
    assert network.preprocessing == Preprocessing(
        (3, 224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 0.9, "bicubic"
    )
    assert not network.pretrained and network.name == "deit_t"


def test_preprocessing_is_the_models_own():
    preprocessing = create_network("vit_t").preprocessing
    assert preprocessing.mean == preprocessing.std == (0.5, 0.5, 0.5)


def test_random_weights_are_seeded():
    one, two, other = (create_network("deit_t", seed=seed).module for seed in (0, 0, 1))
    assert torch.equal(one.head.weight, two.head.weight)
    assert not torch.equal(one.head.weight, other.head.weight)


@pytest.mark.parametrize("name", ["deit_tiny", "resnet50", "", "swin_tiny_patch4_window7_224"])
def test_unknown_names_list_the_known_ones(name):
    with pytest.raises(UsageError) as caught:
        create_network(name)
    message = one_line(caught)
    assert message.startswith(f"unknown model {name!r}")
    assert all(known in message for known in MODELS)


def test_near_misses_are_guessed():
    with pytest.raises(UsageError, match=r"did you mean 'deit_s'\?"):
        create_network("deit_ss")


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    name = f"networks_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_users_own_function(user_module):
    path = list(sys.path)
    network = create_network(f"{user_module}:tiny")
    assert isinstance(network.module, VisionTransformer) and not network.module.training
    assert network.preprocessing == Preprocessing((3, 32, 32))
    assert network.notes == ()
    assert sys.path == path


def test_users_own_preprocessing_is_read(user_module):
    preprocessing = create_network(f"{user_module}:configured").preprocessing
    assert preprocessing.input_size == (3, 32, 32) and preprocessing.mean == (0.1, 0.2, 0.3)
    assert preprocessing.crop_pct == 1.0 and preprocessing.std == Preprocessing().std


def test_users_function_is_seeded(user_module):
    one, two = (create_network(f"{user_module}:tiny", seed=3).module for _ in range(2))
    assert torch.equal(one.head.weight, two.head.weight)


@pytest.mark.parametrize(
    ("attribute", "wanted"),
    [
        ("missing", "cannot import model '{name}': "),
        ("wrong", "model '{name}' must return an nn.Module, not str"),
    ],
)
def test_functions_that_give_no_network(user_module, attribute, wanted):
    name = f"{user_module}:{attribute}"
    with pytest.raises(UsageError) as caught:
        create_network(name)
    assert one_line(caught).startswith(wanted.format(name=name))


def test_module_that_does_not_exist():
    with pytest.raises(UsageError, match=r"^cannot import model 'no_such:thing': "):
        create_network("no_such:thing")


def test_pretrained_weights_are_for_timm_models(user_module):
    with pytest.raises(UsageError, match=r"^--pretrained needs a timm model, not '.*:tiny'$"):
        create_network(f"{user_module}:tiny", pretrained=True)


def test_no_network_connection_is_one_line(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("connection refused\nlong story")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(UsageError) as caught:
        create_network("deit_t", pretrained=True)
    assert one_line(caught) == (
        "cannot fetch weights of 'deit_tiny_patch16_224': OSError: connection refused"
    )


def test_unknown_tag_is_one_line():
    with pytest.raises(UsageError) as caught:
        create_network("deit_tiny_patch16_224.nonsense")
    assert one_line(caught) == (
        "cannot build 'deit_tiny_patch16_224.nonsense': RuntimeError: "
        "Invalid pretrained tag (nonsense) for deit_tiny_patch16_224."
    )
