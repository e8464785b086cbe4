import json
import os
import subprocess
import sys

import pytest
import torch

from hwq.api.work import (
    FIT,
    earlier_seconds,
    first_difference,
    open_work,
    read_json,
    remove,
    tidy,
    workspace,
)
from hwq.errors import DataError, UsageError
from hwq.methods.workspace import no_track

REQUEST = {"method": "minmax", "options": {"softmax": "uniform"}, "seed": 0}


def test_a_new_folder_holds_the_request(tmp_path):
    open_work(tmp_path / "deep" / "work", REQUEST, resume=False)
    assert json.loads((tmp_path / "deep" / "work" / "request.json").read_text()) == REQUEST


def test_an_empty_folder_is_as_good_as_none(tmp_path):
    (tmp_path / ".request.json.x1").touch()  # the draft of a writer that was killed
    open_work(tmp_path, REQUEST, resume=False)
    assert read_json(tmp_path / "request.json", dict) == REQUEST


def test_a_filled_folder_is_only_resumed(tmp_path):
    open_work(tmp_path, REQUEST, resume=False)
    with pytest.raises(UsageError, match="is not empty: --resume goes on"):
        open_work(tmp_path, REQUEST, resume=False)
    open_work(tmp_path, REQUEST, resume=True)
    assert read_json(tmp_path / "request.json", dict) == REQUEST


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({**REQUEST, "seed": 1}, "seed: 0, not 1"),
        ({**REQUEST, "method": "x"}, "method: minmax, not x"),
        ({**REQUEST, "options": {"softmax": "log2"}}, "options.softmax: uniform, not log2"),
        ({**REQUEST, "options": {}}, "options.softmax: uniform, not null"),
    ],
)
def test_another_request_is_refused_by_its_field(tmp_path, other, words):
    open_work(tmp_path, REQUEST, resume=False)
    with pytest.raises(UsageError, match=f"begun with another request: {words}"):
        open_work(tmp_path, other, resume=True)


def test_a_foreign_folder_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(DataError, match=r"no work folder: request\.json cannot be read"):
        open_work(tmp_path, REQUEST, resume=True)
    with pytest.raises(UsageError, match="is not empty"):
        open_work(tmp_path, REQUEST, resume=False)
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "work").touch()
    with pytest.raises(DataError, match=r"work folder .*work: File exists"):
        open_work(tmp_path / "work", REQUEST, resume=True)


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_spoilt_request_is_named(tmp_path, text):
    (tmp_path / "request.json").write_text(text)
    with pytest.raises(DataError, match=r"request\.json"):
        open_work(tmp_path, REQUEST, resume=True)


def test_a_workspace_loses_the_drafts_of_a_run_that_was_killed(tmp_path):
    place = workspace(tmp_path, FIT, 3, no_track)
    place.save("step", {"x": torch.ones(2)})
    (tmp_path / FIT / ".step.safetensors.abc").touch()
    again = workspace(tmp_path, FIT, 3, no_track)
    assert again.seed == 3 and os.listdir(tmp_path / FIT) == ["step.safetensors"]
    assert torch.equal(again.load("step")["x"], torch.ones(2))


def test_without_a_folder_nothing_is_kept(tmp_path):
    place = workspace(None, FIT, 0, no_track)
    place.save("step", {"x": torch.ones(2)})
    assert place.load("step") is None and earlier_seconds(None) == 0.0


def test_a_failure_leaves_nothing_unless_something_is_kept(tmp_path):
    for kept in (False, True):
        open_work(tmp_path / "work", REQUEST, resume=False)
        with pytest.raises(RuntimeError), tidy(tmp_path / "work"):
            place = workspace(tmp_path / "work", FIT, 0, no_track)
            earlier_seconds(tmp_path / "work")
            if kept:
                place.save("step", {"x": torch.ones(2)})
            raise RuntimeError
        assert (tmp_path / "work").exists() == kept


def test_one_process_works_in_a_folder_at_a_time(tmp_path):
    open_work(tmp_path, REQUEST, resume=False)
    other = f"""
from pathlib import Path
from hwq.api.work import tidy
with tidy(Path({str(tmp_path)!r})):
    pass
"""
    command = [sys.executable, "-c", other]
    with tidy(tmp_path):
        found = subprocess.run(command, capture_output=True, text=True)
        assert f"UsageError: work folder {tmp_path} is in use by another process" in found.stderr
    assert subprocess.run(command).returncode == 0


def test_what_others_put_there_stays(tmp_path):
    open_work(tmp_path / "work", REQUEST, resume=False)
    (tmp_path / "work" / "notes.txt").touch()
    remove(tmp_path / "work")
    assert os.listdir(tmp_path / "work") == ["notes.txt"]


def test_time_counts_until_the_last_checkpoint(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("hwq.api.work.time.time", lambda: now[0])
    (tmp_path / FIT).mkdir()
    assert earlier_seconds(tmp_path) == 0.0  # killed before it kept anything
    now[0] = 2000.0
    assert earlier_seconds(tmp_path) == 0.0
    file = tmp_path / FIT / "step.safetensors"
    file.touch()
    os.utime(file, (2030.0, 2030.0))
    now[0] = 3000.0
    assert earlier_seconds(tmp_path) == 30.0
    now[0] = 4000.0
    assert earlier_seconds(tmp_path) == 30.0  # nothing new was kept
    os.utime(file, (4005.0, 4005.0))
    assert earlier_seconds(tmp_path) == 35.0


def test_the_first_difference_is_told():
    assert first_difference(REQUEST, dict(REQUEST)) is None
    assert first_difference({"a": [1]}, {"a": [1, 2]}) == "a: [1], not [1, 2]"
    assert first_difference({"a": 1, "b": 2}, {"a": 1}) == "b: 2, not null"
