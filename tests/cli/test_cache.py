"""`hwq cache` as a user meets it."""

import pytest

from hwq.cli.main import main


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "hwq"


def test_what_is_kept_is_shown_and_cleared(home, capsys):
    assert main(["cache"]) == 0
    assert str(home) in capsys.readouterr().out
    assert not home.exists()
    for kind, size in (("kernels", 1 << 20), ("graphs", 3 << 19), ("mine", 5)):
        (home / kind).mkdir(parents=True)
        (home / kind / "file").write_bytes(bytes(size))
    assert main(["cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in lines[1:]] == [
        ["kernels", "1", "files", "1.0"],
        ["graphs", "1", "files", "1.5"],
        ["sim", "0", "files", "0.0"],
    ]
    assert (home / "kernels" / "file").exists()
    assert main(["cache", "--clear"]) == 0
    assert "cleared" in capsys.readouterr().out
    # what is not ours stays
    assert sorted(path.name for path in home.iterdir()) == ["mine"]


def test_what_cannot_be_removed_is_named(home, capsys, monkeypatch):
    (home / "graphs").mkdir(parents=True)

    def refuse(path):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("hwq.cli.cache.shutil.rmtree", refuse)
    assert main(["cache", "--clear"]) == 1
    assert f"cache {home / 'graphs'}: Read-only file system" in capsys.readouterr().err
