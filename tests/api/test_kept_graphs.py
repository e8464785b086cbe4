"""What an import gives is kept, and never another network's."""

import pytest

from hwq.api.kept_graphs import graph_key, read_graph
from hwq.api.network import open_network
from hwq.errors import DataError
from hwq.graph.text import to_text

MODEL = "vit_tiny_patch16_224"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "hwq" / "graphs"


@pytest.fixture
def never(monkeypatch):
    """Make a second import fail."""

    def call():
        def fail(*_, **__):
            raise AssertionError("is kept already")

        monkeypatch.setattr("hwq.api.network.create_network", fail)

    return call


def nodes(graph):
    """The text without the constants, which a file keeps in another order."""
    return [line for line in to_text(graph).splitlines() if "constant" not in line]


def same(one, other):
    assert nodes(one.graph) == nodes(other.graph)
    assert one.graph.constants.keys() == other.graph.constants.keys()
    for name, value in one.graph.constants.items():
        kept = other.graph.constants[name]
        assert value.dtype == kept.dtype and (value == kept).all(), name
    for field in ("name", "preprocessing", "weights", "sha256", "notes"):
        assert getattr(one, field) == getattr(other, field)


def test_the_second_import_is_the_first(home, never):
    first = open_network(MODEL, seed=3)
    assert len(list(home.iterdir())) == 1
    never()
    same(first, open_network(MODEL, seed=3))
    with pytest.raises(AssertionError, match="is kept already"):
        open_network(MODEL, seed=4)


def test_damage_is_not_read(home):
    first = open_network(MODEL)
    (path,) = home.iterdir()
    for content in (
        b"",
        path.read_bytes()[:1000],
        path.read_bytes().replace(rb"\"op\"", rb"\"no\""),
    ):
        path.write_bytes(content)
        assert read_graph(path.stem) is None
        same(first, open_network(MODEL))


def test_a_home_that_cannot_be_written_is_not_needed(tmp_path, monkeypatch):
    """Root may write anywhere, so a file takes the folder's place."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    same(open_network(MODEL), open_network(MODEL))


def test_weights_that_are_not_there_are_named(tmp_path):
    for path in (tmp_path, tmp_path / "no.safetensors"):
        with pytest.raises(DataError, match=str(path)):
            open_network(MODEL, path)


def test_the_key_tells_requests_apart():
    requests = [{"model": MODEL, "seed": seed, "weights": None} for seed in (0, 1)]
    assert len({graph_key(request) for request in requests}) == 2
    assert graph_key(requests[0]) == graph_key(dict(requests[0]))
