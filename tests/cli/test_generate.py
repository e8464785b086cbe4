"""`hwq generate`: a folder that a hardware team runs with nothing of hwq."""

import os
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[rtl]'")

from hwq.cli.main import main
from tests.cli.simulators import needs_simulator
from tests.cli.test_cosim_network import MACHINE, MODULE

HARDWARE = {"README.md", "accelerator.sdc", "accelerator.v", "accelerator.vlt", "registers.md"}
NETWORK = {"bench.v", "main.cpp", "dram.md"} | {
    f"{name}.hex" for name in ("dram", "work", "transfers", "expected")
}
ASKED = ["--model", "cosim_tiny:tiny", "--method", "minmax", "--accelerator", "four.toml"]


def prepare(folder: Path, rows: int = 4, latency: int = 2) -> None:
    (folder / "cosim_tiny.py").write_text(MODULE)
    text = MACHINE.format(rows=rows, bandwidth=2.0)
    (folder / "four.toml").write_text(f"{text}latency_cycles = {latency}\n")


def generate(place: Path, *arguments: str) -> None:
    """Run the command as a user does, in a process of its own."""
    code = "import sys; from hwq.cli.main import main; sys.exit(main(sys.argv[1:]))"
    subprocess.run(
        [sys.executable, "-c", code, "generate", *ASKED, *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        check=True,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `network` was generated."""
    place = tmp_path_factory.mktemp("generate")
    prepare(place)
    generate(place, "--out", "network", "--axi")
    return place


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy, away from everything."""
    return shutil.copytree(made / "network", tmp_path / "alone")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(folder: Path, first: str) -> str:
    """The commands of the README's block that begins with `first`, and of those joined to it."""
    blocks = re.findall(r"(?:^    .*\n)+", (folder / "README.md").read_text(), re.MULTILINE)
    return "\n".join(block for block in blocks if block.strip().startswith(first))


def shell(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    from hwq.sim.tools import tool_environment

    with tool_environment():
        return subprocess.run(
            ["bash", "-e", "-c", text], cwd=folder, capture_output=True, text=True, check=False
        )


def integers(place: Path) -> list[int]:
    """The logits of the integer network."""
    from hwq.api.cosimulation import open_subject
    from hwq.methods.workspace import no_track
    from hwq.request import Request
    from hwq.runtime.integer_executor import IntegerExecutor

    request = Request(model="cosim_tiny:tiny", method="minmax", accelerator=place / "four.toml")
    subject = open_subject(request, None, no_track)
    (logits,) = IntegerExecutor(subject.graph).run(subject.pixels).values.values()
    return logits.ravel().tolist()


def check_run(said: str, wanted: list[int]) -> None:
    printed = [
        (int(n), int(value)) for n, value in re.findall(r"^logit (\d+): (-?\d+)$", said, re.M)
    ]
    assert printed == sorted(enumerate(wanted), key=lambda pair: -pair[1])
    (cycles, planned) = re.findall(r"^PASS: (\d+) cycles, (\d+) planned$", said, re.MULTILINE)[0]
    assert cycles == planned and "FAIL" not in said and "WARNING" not in said


def flip(file: Path) -> None:
    """Change the lowest bit of the first beat."""
    first, *others = file.read_text().split()
    changed = f"{int(first, 16) ^ 1:0{len(first)}x}"
    file.write_text("\n".join([changed, *others]) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["icarus", "verilator"])
def test_the_folder_alone_passes_and_prints_the_logits(
    tool: str, made: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_simulator(tool)
    monkeypatch.setattr(sys, "path", [str(made), *sys.path])
    done = shell(folder, commands(folder, "iverilog" if tool == "icarus" else "verilator --cc"))
    assert done.returncode == 0, done.stderr[-2000:]
    check_run(done.stdout, integers(made))
    if tool == "verilator":
        said = shell(folder, "obj_dir/bench +stalls=1 +top=3").stdout
        assert "PASS: " in said and said.count("logit ") == 3
        flip(folder / "expected.hex")
        said = shell(folder, "obj_dir/bench").stdout
        assert "FAIL: 1 of 5 beats differ" in said and "PASS" not in said
        said = shell(folder, "obj_dir/bench +limit=100").stdout
        assert "not done after 100 cycles" in said and "FAIL: it did not end" in said


@pytest.mark.slow
def test_lint_has_nothing_to_say_but_what_is_waived(folder: Path) -> None:
    needs_simulator("verilator")
    text = commands(folder, "verilator --lint-only")
    assert text.count("--lint-only") == 2
    done = shell(folder, text)
    assert done.returncode == 0 and "%Warning" not in done.stderr, done.stderr[-2000:]
    lines = (folder / "accelerator.vlt").read_text().splitlines()
    for number, line in enumerate(lines):
        if line.startswith("lint_off"):
            assert lines[number - 1].startswith("// "), "every waiver has its reason"


@pytest.mark.slow
def test_the_same_command_writes_the_same_bytes(made: Path) -> None:
    generate(made, "--out", "again", "--axi")
    first, again = made / "network", made / "again"
    names = {file.name for file in first.iterdir()}
    assert names == {file.name for file in again.iterdir()}
    assert names == HARDWARE | NETWORK | {"accelerator_axi.v"}
    for name in names:
        assert (first / name).read_bytes() == (again / name).read_bytes(), name


@pytest.mark.slow
def test_the_pages_say_what_the_files_hold(folder: Path) -> None:
    """A record read by the page about records; the image by the page about the DRAM."""
    page = (folder / "registers.md").read_text()
    row = re.compile(r"^\| `([\w.\[\]]+)` \| (\d+) \| (\d+) \|", re.MULTILINE)
    work, transfers = (row.findall(part) for part in page.split("\n### ")[1:3])
    for fields, file, words in ((work, "work.hex", 32), (transfers, "transfers.hex", 8)):
        places = {name: (int(low), int(bits)) for name, low, bits in fields}
        # commands of units that never work together lie in one place, and settings of routes
        parts = {name.partition(".")[0] for name in places}
        routes = {name.split(".")[2] for name in places if ".settings." in name} or {""}
        last = 0
        for part, route in product(parts, routes):
            chosen = [
                place
                for name, place in places.items()
                if name.partition(".")[0] == part
                and (".settings." not in name or f".{route}." in name)
            ]
            ends = [low + bits for low, bits in chosen]
            assert [low for low, _ in chosen[1:]] == ends[:-1]
            last = max(last, ends[-1])
        lines = (folder / file).read_text().split()
        records = [
            sum(int(word, 16) << 64 * n for n, word in enumerate(lines[begin : begin + words]))
            for begin in range(0, len(lines), words)
        ]
        assert all(record < 1 << last for record in records)
        if file == "work.hex":
            low, bits = places["ends"]
            marks = [record >> low & ((1 << bits) - 1) for record in records]
            assert marks == [0] * (len(records) - 1) + [1]
    image = re.search(
        r"\| image \| (\d+) \| (\d+) \| 3072 \| 8 \|", (folder / "dram.md").read_text()
    )
    assert image and int(image[2]) == 3072 * 8 // 32
    beats = (folder / "dram.hex").read_text().split()[int(image[1]) :][: int(image[2])]
    assert len({*"".join(beats)}) == 16  # noise


def test_hardware_alone(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = Path("a") / "b"
    assert main(["generate", "--accelerator", "four.toml", "--out", str(out)]) == 0
    assert {Path(line).name for line in capsys.readouterr().out.split()} == HARDWARE
    assert {file.name for file in out.iterdir()} == HARDWARE
    text = (out / "accelerator.v").read_text()
    assert (
        text.startswith("// accelerator four\n// made by hwq ") and "\n// array.rows = 4\n" in text
    )
    assert "\nmodule accelerator(" in text
    assert (
        "create_clock -name clk -period 1.000 [get_ports clk]"
        in (out / "accelerator.sdc").read_text()
    )
    assert "bench" not in commands(out, "")
    # it is refused a second time
    assert main(["generate", "--accelerator", "four.toml", "--out", str(out)]) == 1
    wanted = f"{out} must be a new or an empty folder: it has README.md"
    assert wanted in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bits", "w4a4"], "bits needs a network: give model or checkpoint"),
        (["--image", "i.png"], "image needs a network: give model or checkpoint"),
        (["--accelerator", "edge_8x8"], "unknown accelerator 'edge_8x8'"),
        (["--accelerator", "cols.toml"], "array.columns must be 2 for gateware, not 4"),
        (["--model", "cosim_tiny:tiny"], "model and method are needed"),
    ],
)
def test_what_makes_no_sense_is_said(
    workplace: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("cols.toml").write_text(MACHINE.format(rows=2, bandwidth=2.0))
    assert main(["generate", "--out", "out", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.parametrize("there", [False, True])
def test_nothing_is_left_half_written(
    there: bool, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("hwq.api.generation.readme", stopped)
    monkeypatch.setattr("hwq.api.generation.hardware", lambda *_: {"accelerator.v": "text"})
    if there:
        Path("out").mkdir()
    assert main(["generate", "--accelerator", "four.toml", "--out", "out"]) == 1
    assert not there or not list(Path("out").iterdir())
    assert Path("out").exists() == there


def test_a_file_in_the_way_is_said(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").write_text("")
    assert main(["generate", "--accelerator", "four.toml", "--out", "out"]) == 1
    assert "out must be a new or an empty folder (Not a directory)" in capsys.readouterr().err


@pytest.mark.slow
def test_a_dram_that_the_bench_has_not_is_refused(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(workplace, latency=256)
    monkeypatch.setattr(sys, "path", [str(workplace), *sys.path])
    assert main(["generate", *ASKED, "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert "dram.latency_cycles must be at most 255 for a bench, not 256" in said
