"""A network that the user's own function makes."""

import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from hwq.errors import UsageError


def user_module(name: str) -> nn.Module:
    """Call "module:function" and return the network that it makes.

    Modules are looked for in the current folder first.

    Raises
    ------
    UsageError
        When there is no such function, it needs arguments, raises, or returns something else. What
        the user's code raises is told by its type and its first line.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise UsageError(f"model {name!r} must look like module:function")
    with _current_folder_first():
        with _told(f"cannot import model {name!r}"):
            function = getattr(importlib.import_module(module_name), function_name)
        _check_function(name, function)
        with _told(f"model {name!r} cannot be built"):
            module = function()
    if not isinstance(module, nn.Module):
        raise UsageError(f"model {name!r} must return an nn.Module, not {type(module).__name__}")
    return module


def reason(error: BaseException) -> str:
    """Return the type of an error and the first line of its message that is not blank."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = next((line for line in lines if line), "")
    return f"{type(error).__name__}: {told}" if told else type(error).__name__


def _check_function(name: str, function: Any) -> None:
    if isinstance(function, nn.Module) or not callable(function):
        kind = type(function).__name__
        raise UsageError(f"model {name!r} must be a function that returns an nn.Module, not {kind}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # functions written in C may not say what they take
        return
    try:
        signature.bind()
    except TypeError as error:
        raise UsageError(f"model {name!r} must need no arguments: {error}") from error


@contextmanager
def _current_folder_first() -> Iterator[None]:
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path.pop(0)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn whatever the user's code raises, an exit included, into one line."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise UsageError(f"{what}: {reason(error)}") from error
