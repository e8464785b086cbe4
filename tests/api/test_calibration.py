"""Fits that end, that fail, and that are killed."""

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from hwq.api.calibration import Job, calibrate, fit
from hwq.api.work import FIT, IMAGES
from hwq.errors import DataError, GraphError, UsageError
from hwq.methods.base import Bits, Method
from hwq.methods.catalog import METHODS
from hwq.methods.checkpoint import to_bytes
from hwq.methods.minmax import MinMax
from hwq.methods.psaq_vit import PsaqViT
from hwq.methods.workspace import NO_WORKSPACE, no_track
from hwq.request import Request


@dataclass(frozen=True)
class Stepwise(Method):
    """minmax after three steps, of which each is kept; fails after `stop` of them."""

    name: ClassVar[str] = "stepwise"
    images: ClassVar[int] = 4
    stop: int = 3

    def fit(self, graph, calibration, bits, workspace=NO_WORKSPACE):
        for step in range(3):
            key = f"step.{step}"
            if workspace.load(key) is None:
                if step == self.stop:
                    raise GraphError("stopped")
                workspace.save(key, {"x": torch.rand(2, generator=workspace.generator(step))})
        return MinMax().fit(graph, calibration, bits)


@pytest.fixture
def job(float_network, monkeypatch):
    monkeypatch.setitem(METHODS._loaded, "stepwise", Stepwise)
    return lambda method, seed=0: Job(float_network, method, Bits(4, 4), seed, "cpu")


def test_the_same_request_gives_the_same_bytes(job, folder, tmp_path):
    plain = fit(job(MinMax()), folder, None, False, no_track)
    kept = fit(job(MinMax()), folder, tmp_path / "work", False, no_track)
    assert to_bytes(plain.calibrated) == to_bytes(kept.calibrated)
    assert to_bytes(fit(job(MinMax(), 1), folder, None, False, no_track).calibrated) != to_bytes(
        plain.calibrated
    )
    assert plain.seconds > 0 and plain.calibrated.origin.calibration["images"] == 6


def test_images_that_a_method_keeps_to_itself_cannot_be_written(tmp_path):
    with pytest.raises(UsageError, match="'psaq_vit' makes its own and keeps none"):
        calibrate(
            Request(model="deit_t", method="psaq_vit"), images=tmp_path / "pixels.safetensors"
        )


def test_a_fit_that_failed_early_leaves_nothing(job, folder, tmp_path):
    with pytest.raises(GraphError, match="stopped"):
        fit(job(Stepwise(stop=0)), folder, tmp_path / "work", False, no_track)
    assert not (tmp_path / "work").exists()


def test_a_fit_that_failed_late_goes_on(job, folder, tmp_path):
    with pytest.raises(GraphError, match="stopped"):
        fit(job(Stepwise(stop=2)), folder, tmp_path / "work", False, no_track)
    assert sorted(os.listdir(tmp_path / "work" / FIT)) == [
        "step.0.safetensors",
        "step.1.safetensors",
    ]
    with pytest.raises(UsageError, match=r"options\.stop: 2, not 3"):
        fit(job(Stepwise()), folder, tmp_path / "work", True, no_track)
    with pytest.raises(UsageError, match="--resume"):
        fit(job(Stepwise(stop=2)), folder, tmp_path / "work", False, no_track)
    with pytest.raises(GraphError, match="stopped"):
        fit(job(Stepwise(stop=2)), folder, tmp_path / "work", True, no_track)


@pytest.mark.parametrize("written", [0, 1, 3, 4])
def test_a_disk_that_is_full_is_one_line_and_the_fit_goes_on(job, folder, tmp_path, written):
    """Full after so many files: the request, the clock, then a checkpoint a step."""
    calm = fit(job(Stepwise()), folder, tmp_path / "calm", False, no_track)
    room, place = [written], tmp_path / "work"

    def full(handle, mode):
        file = os.fdopen(handle, mode)
        if not room[0]:
            file.write(b"half")
            file.close()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        room[0] -= 1
        return file

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hwq.files.os", SimpleNamespace(fdopen=full, umask=os.umask))
        with pytest.raises(DataError, match="No space left on device") as caught:
            fit(job(Stepwise()), folder, place, False, no_track)
    kept = written > 2
    assert ("--resume goes on with it" in str(caught.value)) == kept
    assert not [path for path in place.rglob(".*") if path.name != ".lock"]
    found = fit(job(Stepwise()), folder, place, kept, no_track)
    assert to_bytes(found.calibrated) == to_bytes(calm.calibrated)


def test_other_images_are_another_request(job, folder, tmp_path):
    fit(job(Stepwise()), folder, tmp_path / "work", False, no_track)
    (folder / "n01440764" / "0.png").unlink()
    with pytest.raises(UsageError, match=r"calibration\.sha256|calibration\.images: 4, not"):
        fit(job(Stepwise()), folder, tmp_path / "work", True, no_track)


def test_synthesised_images_are_kept_and_found_again(job, tmp_path, few_psaq_images):
    first = fit(job(MinMax()), "psaq", tmp_path / "work", False, no_track)
    assert first.calibrated.origin.calibration["source"] == "psaq"
    kept = sorted(os.listdir(tmp_path / "work" / IMAGES))
    assert kept == ["psaq.0.safetensors", "psaq.1.safetensors"]
    times = {name: os.stat(tmp_path / "work" / IMAGES / name).st_mtime_ns for name in kept}
    second = fit(job(MinMax()), "psaq", tmp_path / "work", True, no_track)
    assert to_bytes(first.calibrated) == to_bytes(second.calibrated)
    again = {name: os.stat(tmp_path / "work" / IMAGES / name).st_mtime_ns for name in kept}
    assert times == again


def test_a_method_that_makes_its_own_images_keeps_them(job, tmp_path):
    method = PsaqViT(count=2, iterations=2, batch=1)
    found = fit(job(method), "psaq", tmp_path / "work", False, no_track)
    assert found.calibrated.origin.calibration == {"source": "none", "images": 0, "sha256": None}
    assert len(os.listdir(tmp_path / "work" / FIT)) == 2


def start(folder, out, method, options, **changes):
    """Run `hwq calibrate` in a process of its own; torch's autograd does not survive a fork."""
    given = ["--model", "tiny_for_cli:build", "--calib", "images", "--bits", "w4a4", "--resume"]
    given += ["--method", method, "--out", out]
    given += [part for option in options for part in ("--option", option)]
    return subprocess.Popen(
        [sys.executable, "-m", "hwq.calibrate", *given],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **changes},
    )


def test_a_limit_on_files_is_one_line(workplace):
    """The system's own error, in a process that may write 64 KiB: its fit keeps larger files."""
    limit = (1 << 16, 1 << 16)
    process = start(
        *(workplace, "limited.safetensors", "is_vit", ("batch=4", "iterations=1")),
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    lines = process.communicate(timeout=300)[1].decode().strip().splitlines()
    assert process.returncode == 1
    assert lines[-1].startswith("hwq: error: ") and "File too large" in lines[-1]
    assert not any("Traceback" in line for line in lines)
    assert not (workplace / "limited.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counts", "method", "options"),
    [
        ((1, 2, 3), "psaq_vit", ("count=6", "batch=1", "iterations=40")),
        ((1, 2, 3), "is_vit", ("batch=4", "iterations=10")),
    ],
)
def test_a_fit_that_was_killed_ends_with_the_same_bytes(workplace, counts, method, options):
    """Killed when it has kept so many checkpoints and worked on for a random moment."""
    assert start(workplace, "calm.safetensors", method, options).wait(300) == 0
    chance, work = random.Random(os.getpid()), workplace / "killed.safetensors.work"
    for count in counts:
        process = start(workplace, "killed.safetensors", method, options)
        while len(list(work.glob("fit/*.safetensors"))) < count and process.poll() is None:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.04))
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it had ended before it was killed"
        assert not (workplace / "killed.safetensors").exists()
    assert start(workplace, "killed.safetensors", method, options).wait(300) == 0
    calm, killed = (workplace / f"{name}.safetensors" for name in ("calm", "killed"))
    assert calm.read_bytes() == killed.read_bytes()
    assert not list(workplace.glob("*.work")), "removed with success"
