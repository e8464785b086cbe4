import argparse
import fractions
import hashlib
import pickle
import re

import pytest
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from transformers import (
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    ViTConfig,
    ViTForImageClassification,
)

from hwq.errors import DataError
from hwq.files import sha256
from hwq.models.state_dict import NESTS
from hwq.models.weights import load_weights


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
    loaded = load_weights(module, path)
    assert_loaded(module, 0.5)
    assert loaded.notes == ()
    assert loaded.sha256 == sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


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


@pytest.mark.parametrize("key", NESTS)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "backbone."])
def test_nests_and_prefixes(tmp_path, key, prefix):
    path = tmp_path / "w.pth"
    state = {f"{prefix}{name}": tensor for name, tensor in filled(0.25).items()}
    torch.save({"epoch": 3, key: {"state_dict": {**state, "n_averaged": torch.tensor(3)}}}, path)
    module = network()
    if not prefix:
        assert "unexpected n_averaged" in message(path)
        return
    load_weights(module, path)
    assert_loaded(module, 0.25)


def test_a_prefix_that_is_the_modules_own_stays(tmp_path):
    path = tmp_path / "w.pth"
    module = nn.ModuleDict({"module": network()})
    torch.save({f"module.{name}": tensor for name, tensor in filled(0.5).items()}, path)
    load_weights(module, path)
    assert_loaded(module, 0.5)


def test_of_several_nests_the_first_is_taken_and_told(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"model_ema": filled(0.25), "model": filled(0.5)}, path)
    module = network()
    assert load_weights(module, path).notes == (
        "weights are those under 'model'; also in the file: ['model_ema']",
    )
    assert_loaded(module, 0.5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_converted_and_told(tmp_path, dtype):
    path = tmp_path / "w.safetensors"
    save_file({name: tensor.to(dtype) for name, tensor in filled(0.5).items()}, path)
    module = network()
    word = str(dtype).removeprefix("torch.")
    assert load_weights(module, path).notes == (f"weights were {word}, converted to float32",)
    assert_loaded(module, 0.5)
    assert module[0].weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("tensor", "wanted"),
    [
        (torch.zeros(2, dtype=torch.int32), "must be float32, float64, float16 or bfloat16, not"),
        (torch.zeros(2, dtype=torch.complex64), "must be float32, float64, float16 or bfloat16"),
        (torch.zeros(2).to(torch.float8_e4m3fn), "must be float32, float64, float16 or bfloat16"),
        (torch.eye(2).to_sparse(), "must be dense, not torch.sparse_coo"),
        (torch.zeros(2, device="meta"), "has no values: it is on torch's meta device"),
        (torch.tensor([0.0, torch.nan]), "holds 1 of 2 values that are not finite (nan)"),
        (torch.tensor([-torch.inf, 0.0]), "holds 1 of 2 values that are not finite (-inf)"),
    ],
)
def test_tensors_that_are_no_weights_are_named(tmp_path, tensor, wanted):
    path = tmp_path / "w.pth"
    torch.save({**filled(0.5), "2.bias": tensor}, path)
    assert message(path).startswith(f"weights {path}: 2.bias {wanted}")


def test_what_a_module_counts_stays_whole(tmp_path):
    path = tmp_path / "w.pth"
    module = nn.BatchNorm1d(2)
    torch.save({**module.state_dict(), "num_batches_tracked": torch.tensor(7)}, path)
    load_weights(module, path)
    assert module.num_batches_tracked == 7


@pytest.mark.parametrize("zipped", [True, False])
def test_a_training_scripts_command_line_is_read(tmp_path, zipped):
    path = tmp_path / "w.pth"
    content = {"model": filled(0.5), "args": argparse.Namespace(lr=0.1, names=["a"])}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    module = network()
    load_weights(module, path)
    assert_loaded(module, 0.5)


@pytest.mark.parametrize("zipped", [True, False])
def test_other_classes_are_refused_by_name(tmp_path, zipped):
    path = tmp_path / "w.pth"
    content = {"model": filled(0.5), "args": argparse.Namespace(lr=fractions.Fraction(1, 2))}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert message(path) == (
        f"weights {path} are refused: they hold an object of fractions.Fraction; "
        "tensors, numbers and text are read"
    )


SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
SIZES |= {"num_classes": 10, "mlp_ratio": 2}


def hugging_face(distilled):
    options = {"image_size": 32, "patch_size": 8, "hidden_size": 32, "num_hidden_layers": 2}
    options |= {"num_attention_heads": 2, "intermediate_size": 64, "num_labels": 10}
    options |= {"layer_norm_eps": 1e-6, "initializer_range": 0.3}
    torch.manual_seed(1)
    if distilled:
        return DeiTForImageClassificationWithTeacher(DeiTConfig(**options)).eval()
    return ViTForImageClassification(ViTConfig(**options)).eval()


def as_released(name):
    """The name that transformers gave a tensor before its version 5."""
    for new, old in (
        (r"\.layers\.(\d+)", r".encoder.layer.\1"),
        (r"\.attention\.q_proj", ".attention.attention.query"),
        (r"\.attention\.k_proj", ".attention.attention.key"),
        (r"\.attention\.v_proj", ".attention.attention.value"),
        (r"\.attention\.o_proj", ".attention.output.dense"),
        (r"\.mlp\.fc1", ".intermediate.dense"),
        (r"\.mlp\.fc2", ".output.dense"),
    ):
        name = re.sub(new, old, name)
    return name


@pytest.mark.parametrize("rename", [str, as_released])
@pytest.mark.parametrize("distilled", [False, True])
def test_hugging_faces_weights_give_hugging_faces_logits(tmp_path, distilled, rename):
    path = tmp_path / "w.safetensors"
    source = hugging_face(distilled)
    save_file({rename(name): tensor for name, tensor in source.state_dict().items()}, path)
    module = (VisionTransformerDistilled if distilled else VisionTransformer)(**SIZES).eval()
    assert load_weights(module, path).notes == ("weights have Hugging Face's names",)
    images = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(module(images), source(images).logits, rtol=1e-4, atol=1e-4)


def test_a_key_without_its_query_is_named(tmp_path):
    path = tmp_path / "w.safetensors"
    state = hugging_face(False).state_dict()
    del state["vit.layers.1.attention.q_proj.bias"]
    save_file(state, path)
    assert "missing blocks.1.attn.qkv.bias" in message(path, VisionTransformer(**SIZES))


@pytest.mark.parametrize("kind", [VisionTransformer, VisionTransformerDistilled])
@pytest.mark.parametrize("classes", [1, 7, 100])
def test_a_head_of_other_classes_is_taken_and_told(tmp_path, kind, classes):
    path = tmp_path / "w.safetensors"
    source, module = kind(**{**SIZES, "num_classes": classes}).eval(), kind(**SIZES).eval()
    save_file(source.state_dict(), path)
    (note,) = load_weights(module, path).notes
    assert note.startswith(f"the network has {classes} classes, as the weights' head")
    images = torch.rand((2, 3, 32, 32))
    with torch.no_grad():
        assert torch.equal(module(images), source(images))


def test_heads_that_disagree_are_of_another_model(tmp_path):
    path = tmp_path / "w.safetensors"
    module = VisionTransformerDistilled(**SIZES)
    state = VisionTransformerDistilled(**{**SIZES, "num_classes": 7}).state_dict()
    save_file({**state, "head.weight": module.head.weight, "head.bias": module.head.bias}, path)
    assert message(path, module).endswith("head_dist.weight has shape [7, 32], not [10, 32]")


def test_position_tables_are_resampled_where_asked(tmp_path):
    path = tmp_path / "w.safetensors"
    source = VisionTransformer(**{**SIZES, "img_size": 48})
    module = VisionTransformer(**SIZES)
    save_file(source.state_dict(), path)
    assert message(path, module).endswith(
        "pos_embed has shape [1, 37, 32], not [1, 17, 32]; --resample_pos_embed fits it"
    )
    assert load_weights(module, path, resample_pos_embed=True).notes == (
        "position table resampled (bicubic) from 6 x 6 to 4 x 4 patches",
    )
    wanted = resample_abs_pos_embed(source.pos_embed, [4, 4], num_prefix_tokens=1)
    assert torch.equal(module.pos_embed, wanted)


def test_tables_that_fit_are_not_resampled(tmp_path):
    path = tmp_path / "w.safetensors"
    module = VisionTransformer(**SIZES)
    save_file(module.state_dict(), path)
    assert load_weights(module, path, resample_pos_embed=True).notes == ()


def test_only_square_tables_can_be_resampled(tmp_path):
    path = tmp_path / "w.safetensors"
    module = VisionTransformer(**SIZES)
    save_file({**module.state_dict(), "pos_embed": torch.zeros(1, 12, 32)}, path)
    with pytest.raises(DataError, match="is no square grid of patches after 1 tokens"):
        load_weights(module, path, resample_pos_embed=True)
    save_file(filled(0.5), path)
    with pytest.raises(DataError, match="needs timm's pos_embed"):
        load_weights(network(), path, resample_pos_embed=True)
