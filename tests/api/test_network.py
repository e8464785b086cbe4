from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hwq.api.network import (
    check_device,
    check_same_network,
    make_method,
    make_origin,
    open_network,
    state_sha256,
    to_preprocessing,
)
from hwq.errors import SpecError, UsageError
from hwq.methods.minmax import MinMax
from hwq.methods.scalepredictor import ScalePredictor


def test_options_reach_the_method_and_its_base():
    options = {"taps": 1, "base.softmax": "log2"}
    method = make_method("scalepredictor", "minmax", options)
    assert isinstance(method, ScalePredictor) and (method.taps, method.base) == (1, "minmax")
    assert method.base_options == {"softmax": "log2"}
    assert make_method("minmax", None, {"softmax": "log2"}) == MinMax("log2")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("magic", None, {}), UsageError, "unknown PTQ method 'magic'"),
        (("scalepredictor", "magic", {}), UsageError, "unknown PTQ method 'magic'"),
        (("minmax", "repq_vit", {}), UsageError, "method 'minmax' takes no base"),
        (("minmax", None, {"base.taps": 1}), UsageError, "method 'minmax' takes no base"),
        (
            ("minmax", None, {"taps": 1}),
            UsageError,
            "'minmax': unknown option 'taps'; known: .*softm",
        ),
        (("minmax", None, {"softmax": "odd"}), SpecError, "softmax must be one of"),
        (
            ("scalepredictor", "minmax", {"base.taps": 1}),
            UsageError,
            "method 'minmax': unknown option 'taps'",
        ),
        (("scalepredictor", "minmax", {"base_options": 1}), UsageError, "base.NAME=VALUE"),
        (("scalepredictor", "scalepredictor", {}), UsageError, "cannot be its own base"),
        (("minmax", None, {"name": "x"}), UsageError, "unknown option 'name'; known: softmax"),
        (("minmax", None, {"softmax": 3}), UsageError, "softmax must be a word, not 3"),
        (
            ("minmax", None, {"softmax_bits": 2.5}),
            UsageError,
            r"'minmax': softmax_bits must be a whole number, not 2\.5",
        ),
        (
            ("is_vit", None, {"iterations": "many"}),
            UsageError,
            "'is_vit': iterations must be a whole number, not 'many'",
        ),
        (("is_vit", None, {"drop": "no"}), UsageError, "drop must be a number, not 'no'"),
        (("is_vit", None, {"drop": 2}), SpecError, "drop must be in 0..1, not 2"),
        (("is_vit", None, {"iterations": 0}), SpecError, "iterations must be at least 1, not 0"),
        (("is_vit", None, {"images": 0}), SpecError, "images must be at least 1, not 0"),
        (("adfq_vit", None, {"batch": 0}), SpecError, "batch must be at least 1, not 0"),
        (("adfq_vit", None, {"images": 0}), SpecError, "images must be at least 1, not 0"),
        (("adfq_vit", None, {"temperature": 0}), SpecError, "temperature must be positive, not 0"),
    ],
)
def test_a_method_that_cannot_be_is_named(arguments, error, words):
    with pytest.raises(error, match=words):
        make_method(*arguments)


def test_the_origin_says_everything_that_the_result_depends_on(float_network):
    method = make_method("scalepredictor", "minmax", {"taps": 1, "base.softmax": "log2"})
    known = {"source": "images", "images": 8, "sha256": "0" * 64}
    origin = make_origin(float_network, method, "w4a4", 7, "cpu", known)
    assert (origin.model, origin.weights, origin.seed) == ("tiny", "random", 7)
    assert (origin.method, origin.base, origin.bits) == ("scalepredictor", "minmax", "w4a4")
    assert origin.options["taps"] == 1 and "base" not in origin.options
    assert origin.options["base_options"] == {"softmax": "log2"}
    assert set(origin.versions) == {"hwq", "torch", "numpy", "timm"}
    assert to_preprocessing(replace(origin, **origin.to_dict())) == float_network.preprocessing


def test_weights_tell_networks_apart(float_network):
    module = torch.nn.Linear(2, 2)
    first = state_sha256(module)
    with torch.no_grad():
        module.bias[0] += 1
    assert state_sha256(module) != first
    origin = make_origin(float_network, MinMax(), "w4a4", 0, "cpu", {})
    check_same_network(float_network, origin, Path("f"))
    with pytest.raises(UsageError, match="f is of model 'other', not 'tiny'"):
        check_same_network(float_network, replace(origin, model="other"), Path("f"))
    with pytest.raises(UsageError, match=r"f was calibrated from weights \(random\) with sha256 0"):
        check_same_network(float_network, replace(origin, weights_sha256="0" * 64), Path("f"))


def test_a_short_name_and_timms_own_are_one_model(float_network):
    origin = make_origin(float_network, MinMax(), "w4a4", 0, "cpu", {})
    source = replace(float_network, name="deit_t")
    check_same_network(source, replace(origin, model="deit_tiny_patch16_224"), Path("f"))


@pytest.mark.parametrize("device", ["tpu", "cuda:7", "cuda"])
def test_a_device_that_is_not_there_is_named(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="device"):
        check_device(device)


def test_weights_come_from_one_place():
    with pytest.raises(UsageError, match="exclude each other"):
        open_network("deit_t", Path("x"), pretrained=True)
    with pytest.raises(UsageError, match="seed must not be negative, not -1"):
        open_network("deit_t", seed=-1)
    with pytest.raises(UsageError, match=r"seed must be below 2\*\*32, not 4294967296"):
        open_network("deit_t", seed=1 << 32)
