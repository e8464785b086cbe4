import json
import os

import pytest

from hwq.api.calibration import Job, fit_images
from hwq.api.evaluation import make_entries
from hwq.api.kept_fits import KeptFits
from hwq.errors import DataError, UsageError
from hwq.files import sha256
from hwq.methods.checkpoint import to_bytes
from hwq.methods.workspace import no_track
from hwq.report.evaluation import EvaluationRow


@pytest.fixture
def fits(float_network, folder, tmp_path):
    place = tmp_path / "work"
    place.mkdir()
    return lambda seed=0: KeptFits(float_network, folder, seed, "cpu", place, no_track)


class Judge:
    """Tells rows without running anything, and how often it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, label, calibrated, digest, seconds):
        self.asked.append(label)
        return EvaluationRow(
            images=6,
            top1_fp32=50.0,
            top1_fake_quant=50.0,
            top1_integer=50.0,
            integer_only=0,
            fake_quant_only=0,
            agreement_fp32=100.0,
            agreement_fake_quant=100.0,
            integer_sqnr_fp32_db=10.0,
            fake_quant_sqnr_fp32_db=10.0,
            logit_sqnr_db=None,
            method=label,
            bits=calibrated.origin.bits,
            calibration_seconds=seconds,
            checkpoint_sha256=digest,
        )


(MINMAX,) = make_entries(["minmax"], ["w4a4"], {})
(LOG2,) = make_entries(["minmax"], ["w4a4"], {"minmax.softmax": "log2"})


def test_what_is_known_is_not_done_again(fits, tmp_path):
    judge = Judge()
    first = fits().row(MINMAX, "images", judge)
    assert sorted(os.listdir(tmp_path / "work")) == ["minmax-w4a4.json", "minmax-w4a4.safetensors"]
    time = os.stat(tmp_path / "work" / "minmax-w4a4.safetensors").st_mtime_ns
    assert fits().row(MINMAX, "images", judge) == first
    assert judge.asked == ["minmax"] and first.calibration_seconds > 0
    other = fits().row(MINMAX, "other images", judge)
    assert judge.asked == ["minmax", "minmax"]
    assert other.calibration_seconds == first.calibration_seconds
    assert os.stat(tmp_path / "work" / "minmax-w4a4.safetensors").st_mtime_ns == time


def test_a_file_of_another_request_is_named(fits):
    fits().row(MINMAX, "images", Judge())
    with pytest.raises(UsageError, match=r"minmax-w4a4.* options\.softmax: uniform, not log2"):
        fits().row(LOG2, "images", Judge())
    with pytest.raises(UsageError, match="seed: 0, not 1"):
        fits(seed=1).row(MINMAX, "images", Judge())


def test_a_file_that_was_put_there_is_taken_and_has_no_time(fits, tmp_path):
    (dynamic,) = make_entries(["scalepredictor@minmax"], ["w4a4"], {})
    first = fits().row(MINMAX, "images", Judge())
    file = tmp_path / "work" / "minmax-w4a4.safetensors"
    time = os.stat(file).st_mtime_ns
    file.with_suffix(".json").unlink()
    again = fits().row(MINMAX, "images", Judge())
    assert again.checkpoint_sha256 == first.checkpoint_sha256
    assert again.calibration_seconds is None and os.stat(file).st_mtime_ns == time
    file.with_suffix(".json").unlink()
    assert fits().row(dynamic, "images", Judge()).calibration_seconds is None


def test_spoilt_files_are_named(fits, tmp_path):
    fits().row(MINMAX, "images", Judge())
    notes = tmp_path / "work" / "minmax-w4a4.json"
    kept = json.loads(notes.read_text())
    notes.write_text("{")
    with pytest.raises(DataError, match=r"minmax-w4a4\.json"):
        fits().row(MINMAX, "images", Judge())
    notes.write_text(json.dumps(kept))
    file = tmp_path / "work" / "minmax-w4a4.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"minmax-w4a4\.safetensors: cannot be read"):
        fits().row(MINMAX, "images", Judge())


def test_a_base_is_fitted_once_and_extending_it_gives_what_a_fit_of_both_gives(fits, tmp_path):
    (dynamic,) = make_entries(["scalepredictor@minmax"], ["w4a4"], {})
    row = fits().row(dynamic, "images", Judge())
    made = sorted(path.name for path in (tmp_path / "work").glob("*.safetensors"))
    assert made == ["minmax-w4a4.safetensors", "scalepredictor@minmax-w4a4.safetensors"]
    base = fits().row(MINMAX, "images", Judge())
    assert row.calibration_seconds > base.calibration_seconds
    job = Job(fits().network, dynamic.method, dynamic.bits, 0, "cpu")
    images = fits()._images_of(dynamic.method)
    whole = tmp_path / "whole.safetensors"
    whole.write_bytes(to_bytes(fit_images(job, images, None, no_track).calibrated))
    assert sha256(whole) == row.checkpoint_sha256
