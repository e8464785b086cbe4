"""`hwq cosim --model`: a network of a user's own on the gateware of a user's own machine."""

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[rtl]'")

from hwq.cli.main import main
from tests.cli.simulators import needs_simulator

MODULE = """
import torch
from timm.models.vision_transformer import VisionTransformer


def tiny(**changes):
    torch.manual_seed(0)
    sizes = dict(img_size=32, patch_size=8, embed_dim=32, depth=1, num_heads=2, mlp_ratio=2.0)
    return VisionTransformer(num_classes=10, **sizes, **changes).eval()


def averaging():
    return tiny(global_pool="avg", class_token=False)
"""
MACHINE = """
name = "four"
clock_mhz = 1000
technology_nm = 22

[array]
rows = {rows}
columns = 4
dataflow = "weight_stationary"

[vector_unit]
lanes = 4

[sram.activation]
size_kib = 8
width_bits = 32

[sram.weight]
size_kib = 2
width_bits = 32

[sram.parameter]
size_kib = 2
width_bits = 32

[sram.output]
size_kib = 8
width_bits = 32
banks = 8

[dram]
kind = "lpddr4"
bandwidth_gib_s = {bandwidth}
"""


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What asks for a tiny network on a machine of 4 x 4."""
    (tmp_path / "cosim_tiny.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    Path("four.toml").write_text(MACHINE.format(rows=4, bandwidth=2.0))
    chosen = ["--model", "cosim_tiny:tiny", "--method", "minmax", "--accelerator", "four.toml"]
    return ["cosim", *chosen]


@pytest.mark.slow
def test_a_network_runs_and_its_steps_are_printed(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    needs_simulator()
    assert main([*arguments, "--json", "steps.json"]) == 0
    printed = capsys.readouterr().out
    assert "blocks.0.attn.matmul" in printed and "head" in printed
    content = json.loads(Path("steps.json").read_text())
    assert content["passed"]
    assert all(step["planned"] == step["counted"] > 0 for step in content["steps"])
    assert sum(step["elements"] for step in content["steps"]) > 5000
    # the same bench runs a part of it, and with a DRAM that waits
    assert main([*arguments, "--layers", "blocks.0.norm1", "--stalls"]) == 0
    printed = capsys.readouterr().out
    assert "blocks.0.norm1" in printed and "head" not in printed


@pytest.mark.slow
def test_a_wrong_word_has_layer_row_column_cycle_and_waves(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_simulator()
    from hwq.rtl.unit_commands import UnitCommands

    right = UnitCommands.results

    def wrong(self, product, matmul, passes):
        fields = right(self, product, matmul, passes)
        if matmul.name == "blocks.0.attn.qkv":
            fields["epilogue"]["hi"] -= 1  # saturates at another end
        return fields

    monkeypatch.setattr(UnitCommands, "results", wrong)
    assert main([*arguments, "--waves", "first.vcd"]) == 1
    said = capsys.readouterr().err
    assert "blocks.0.attn.qkv.codes: row " in said
    assert "cycle" in said and "must be 127, not 126" in said
    assert Path("first.vcd").read_text().startswith("$")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--unit", "log2"], "unit is for units by themselves, not for a network"),
        (["--mutations"], "mutations is for units by themselves, not for a network"),
        (
            ["--layers", "blocks.7"],
            "layers must be the name of a layer or a module, not 'blocks.7'",
        ),
    ],
)
def test_what_makes_no_sense_is_said(
    arguments: list[str], more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_simulator()
    assert main([*arguments, *more]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 2}, "array.columns must be 2 for gateware, not 4"),
        ({"bandwidth": 5.0}, "dram.bandwidth_gib_s must be at most 32 bits a cycle for gateware"),
    ],
)
def test_a_machine_without_gateware_is_refused(
    arguments: list[str],
    changes: dict[str, float],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    needs_simulator()
    settings = {"rows": 4, "bandwidth": 2.0, **changes}
    Path("four.toml").write_text(MACHINE.format(**settings))
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_layer_without_gateware_is_named(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    needs_simulator()
    arguments[arguments.index("cosim_tiny:tiny")] = "cosim_tiny:averaging"
    assert main(arguments) == 2
    assert "gateware has no mean of its own" in capsys.readouterr().err
