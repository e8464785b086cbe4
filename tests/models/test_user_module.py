import sys

import pytest

from hwq.errors import UsageError
from hwq.models.user_module import user_module

SOURCE = """
import sys
from torch import nn

instance = nn.Linear(2, 3)
number = 3

def network():
    from beside import width
    return nn.Linear(width, 3)

class Network(nn.Linear):
    def __init__(self):
        super().__init__(4, 5)

class Wide(nn.Linear):
    pass

def optional(width=2):
    return nn.Linear(width, 3)

def needs(width, *, depth):
    return nn.Linear(width, depth)

def fails():
    raise KeyError("\\n\\n  the first line\\n  the second")

def says_nothing():
    raise AssertionError

def leaves():
    sys.exit(0)

def nothing():
    pass

def table():
    return {"model": instance}
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    name = f"made_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    (tmp_path / "beside.py").write_text("width = 7")
    (tmp_path / f"{name}_broken.py").write_text("def network(:")
    (tmp_path / f"{name}_raises.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    yield name
    for loaded in (name, "beside"):
        sys.modules.pop(loaded, None)


def refusal(name):
    path = list(sys.path)
    with pytest.raises(UsageError) as caught:
        user_module(name)
    assert "\n" not in str(caught.value) and sys.path == path
    return str(caught.value)


@pytest.mark.parametrize(("name", "width"), [("network", 7), ("Network", 4), ("optional", 2)])
def test_functions_and_classes_without_needed_arguments(module, name, width):
    assert user_module(f"{module}:{name}").in_features == width


@pytest.mark.parametrize("name", [":f", "m:", ":"])
def test_half_a_name(name):
    assert refusal(name) == f"model {name!r} must look like module:function"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("needs", "must need no arguments: missing a required argument: 'width'"),
        ("Wide", "must need no arguments: missing a required argument: 'in_features'"),
        ("instance", "must be a function that returns an nn.Module, not Linear"),
        ("number", "must be a function that returns an nn.Module, not int"),
        ("fails", "cannot be built: KeyError: '\\n\\n the first line\\n the second'"),
        ("says_nothing", "cannot be built: AssertionError"),
        ("leaves", "cannot be built: SystemExit: 0"),
        ("nothing", "must return an nn.Module, not NoneType"),
        ("table", "must return an nn.Module, not dict"),
    ],
)
def test_what_is_no_function_of_no_arguments_that_returns_a_module(module, name, wanted):
    assert refusal(f"{module}:{name}") == f"model '{module}:{name}' {wanted}"


def test_modules_that_cannot_be_imported(module):
    assert refusal(f"{module}_broken:network").startswith(
        f"cannot import model '{module}_broken:network': SyntaxError: "
    )
    assert refusal(f"{module}_raises:network") == (
        f"cannot import model '{module}_raises:network': ZeroDivisionError: division by zero"
    )
    assert "ModuleNotFoundError" in refusal("no_such_module:network")
    assert "AttributeError" in refusal(f"{module}:no_such_function")
    assert "TypeError" in refusal(".relative:network")
