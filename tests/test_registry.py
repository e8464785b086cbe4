import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

from hwq import registry
from hwq.errors import UsageError
from hwq.registry import Registry

TABLE = {"ordered": "collections:OrderedDict", "counter": "collections:Counter"}


def test_look_up_imports():
    table = Registry("container", {"handler": "logging.handlers:QueueHandler"})
    module = sys.modules.pop("logging.handlers", None)
    try:
        assert "logging.handlers" not in sys.modules
        assert "handler" in table and len(table) == 1, "a name is known before it is imported"
        assert "logging.handlers" not in sys.modules
        assert table["handler"].__name__ == "QueueHandler"
    finally:
        if module is not None:
            sys.modules["logging.handlers"] = module


def test_names_are_sorted():
    assert list(Registry("container", TABLE)) == ["counter", "ordered"]


def test_a_decorator_adds():
    table = Registry("container", TABLE)

    @table.register("mine")
    class Mine:
        pass

    assert table["mine"] is Mine
    assert list(table) == ["counter", "mine", "ordered"] and len(table) == 3


def test_a_name_is_registered_once():
    table = Registry("container", TABLE)
    with pytest.raises(UsageError, match=r"^container 'counter' is registered twice$"):
        table.register("counter")


def test_unknown_names_list_the_known_and_the_nearest():
    with pytest.raises(UsageError) as caught:
        Registry("container", TABLE)["countr"]
    message = str(caught.value)
    assert message.startswith("unknown container 'countr'; did you mean 'counter'?")
    assert message.endswith("known: counter, ordered")
    with pytest.raises(UsageError) as caught:
        Registry("container", TABLE)["zzz"]
    assert "did you mean" not in str(caught.value) and "known: counter" in str(caught.value)


def test_entry_points_add(monkeypatch):
    entry = EntryPoint("extra", "collections:ChainMap", "hwq.containers")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    table = Registry("container", TABLE, group="hwq.containers")
    assert table["extra"].__name__ == "ChainMap"
    again = SimpleNamespace(name="counter", value="x:y")
    monkeypatch.setattr(registry, "entry_points", lambda group: [again])
    with pytest.raises(UsageError, match=r"^container 'counter' is registered twice$"):
        Registry("container", TABLE, group="hwq.containers")
