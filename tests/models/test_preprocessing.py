from types import SimpleNamespace

import pytest
import timm
import torchvision
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, ViTConfig, ViTForImageClassification

from hwq.errors import SpecError
from hwq.models.preprocessing import Preprocessing, preprocessing_of

SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
SMALL |= {"intermediate_size": 32, "patch_size": 16}


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"mean": (0.5,)}, "mean must be 3 numbers, one per channel, not 1"),
        ({"std": (1.0,) * 6}, "std must be 3 numbers, one per channel, not 6"),
        ({"input_size": (6, 8, 8)}, "mean must be 6 numbers, one per channel, not 3"),
        ({"mean": (0.0, float("nan"), 0.0)}, "mean must be finite, not (0.0, nan, 0.0)"),
        ({"std": (0.0, 1.0, 1.0)}, "std must be positive, not (0.0, 1.0, 1.0)"),
        ({"crop_pct": 0.0}, "crop_pct must be in 0.1..1, not 0.0"),
        ({"crop_pct": 1.5}, "crop_pct must be in 0.1..1, not 1.5"),
        (
            {"interpolation": "cubic"},
            "interpolation must be one of nearest, bilinear, bicubic, box, hamming, lanczos, "
            "not 'cubic'",
        ),
        ({"crop_mode": "middle"}, "crop_mode must be one of center, squash, border, not 'middle'"),
        (
            {"input_size": (3, 8)},
            "input_size must be three whole numbers, channels, height, width, not (3, 8)",
        ),
        (
            {"input_size": (3, 8.0, 8)},
            "input_size must be three whole numbers, channels, height, width, not (3, 8.0, 8)",
        ),
        (
            {"input_size": (3, 0, 8)},
            "input_size must be 1..1024 channels of 1..8192 x 1..8192 pixels, not (3, 0, 8)",
        ),
    ],
)
def test_values_out_of_range_are_named(fields, wanted):
    with pytest.raises(SpecError) as caught:
        Preprocessing(**fields)
    assert str(caught.value) == wanted


def tiny(**options):
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 1}
    return VisionTransformer(**{**sizes, **options})


def test_size_is_the_modules_own():
    assert preprocessing_of(tiny(img_size=(48, 40))).input_size == (3, 48, 40)
    assert preprocessing_of(nn.Linear(2, 3)) == Preprocessing()


def test_size_of_timms_models_is_the_modules_and_not_that_of_its_training():
    module = timm.create_model("deit_tiny_patch16_224", img_size=96, depth=1)
    assert module.pretrained_cfg["input_size"] == (3, 224, 224)
    assert preprocessing_of(module).input_size == (3, 96, 96)


def test_size_of_hugging_face_and_torchvision_models():
    vit = ViTForImageClassification(ViTConfig(image_size=64, num_channels=1, **SMALL))
    assert preprocessing_of(vit).input_size == (1, 64, 64)
    clip = CLIPVisionModel(CLIPVisionConfig(image_size=48, **SMALL))
    assert preprocessing_of(clip).input_size == (3, 48, 48)
    vit_b = torchvision.models.VisionTransformer(64, 16, 1, 1, 16, 16)
    assert preprocessing_of(vit_b).input_size == (3, 64, 64)


def test_what_the_maker_says_comes_first():
    module = tiny(dynamic_img_size=True)
    module.pretrained_cfg = {"input_size": (3, 64, 48), "crop_mode": "squash"}
    assert preprocessing_of(module) == Preprocessing((3, 64, 48), crop_mode="squash")


def test_one_channel_is_grey():
    found = preprocessing_of(timm.create_model("vit_tiny_patch16_224", in_chans=1, depth=1))
    assert found.input_size == (1, 224, 224) and found.mean == found.std == (0.5,)
    found = preprocessing_of(tiny(in_chans=1))
    assert found.mean == pytest.approx((0.449,)) and found.std == pytest.approx((0.226,))


def test_other_channels_need_their_own_mean_and_std():
    module = tiny(in_chans=6)
    with pytest.raises(SpecError, match=r"^mean must be 6 numbers, one per channel, not 3$"):
        preprocessing_of(module)
    module.pretrained_cfg = {"mean": (0.5,) * 6, "std": (0.25,) * 6}
    assert preprocessing_of(module).mean == (0.5,) * 6


def test_what_timm_crops_otherwise_is_known():
    module = SimpleNamespace(
        pretrained_cfg=timm.models.get_pretrained_cfg("vit_base_patch16_clip_384").to_dict()
    )
    assert preprocessing_of(module).crop_mode == "squash"


def test_a_pretrained_cfg_that_is_no_dict():
    module = tiny()
    module.pretrained_cfg = 3
    with pytest.raises(SpecError, match=r"^pretrained_cfg must be a dict, not int$"):
        preprocessing_of(module)
