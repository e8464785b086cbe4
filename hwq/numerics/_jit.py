"""The only door to numba: every kernel is compiled with the same, exact options."""

import hashlib
import sys
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.extending import is_jitted

from hwq.cache import cache_folder

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compile `function` with numba: cached, without the GIL, never with fast-math.

    `error_model="numpy"` removes the division-by-zero check that keeps loops from being
    vectorised; a kernel must therefore not divide by zero.
    """
    compiled = numba.njit(nogil=True, fastmath=False, error_model="numpy")(function)
    if is_jitted(compiled) and cache_folder("kernels") is not None:
        vars(compiled)["_cache"] = _KernelCache(function)
    return cast(F, compiled)


class _ByContent:
    """Tells numba where compiled code is kept: under a name made of all that it depends on.

    numba's own caches ask only whether the file of a kernel is new, not those of the kernels that
    it calls and of the constants that it reads.
    """

    def __init__(self, digest: str, folder: Path) -> None:
        self.digest, self.folder = digest, folder

    @classmethod
    def from_function(cls, function: Any, _file: str) -> "_ByContent":
        """Return the place of a kernel's code."""
        folder = cache_folder("kernels")
        assert folder is not None
        return cls(content_digest(function), folder)

    def get_cache_path(self) -> str:
        """Return the folder."""
        return str(self.folder)

    def ensure_cache_path(self) -> None:
        """Make the folder, should it have been removed since."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def get_source_stamp(self) -> str:
        """Return what must be equal for the code to be valid."""
        return self.digest

    def get_disambiguator(self) -> str:
        """Return the part of the file's name that tells versions apart."""
        return self.digest[:16]


_IMPLEMENTATION = type(
    "_Implementation", (CompileResultCacheImpl,), {"_locator_classes": (_ByContent,)}
)
_FUNCTION_CACHE = type("_FunctionCache", (FunctionCache,), {"_impl_class": _IMPLEMENTATION})


class _KernelCache:
    """A kernel's cache, made when it is first called: by then what it calls is defined."""

    def __init__(self, function: Any) -> None:
        self._function = function

    @cached_property
    def _cache(self) -> Any:
        return _FUNCTION_CACHE(self._function)

    @property
    def cache_path(self) -> str:
        """Return the folder."""
        return str(self._cache.cache_path)

    def load_overload(self, *arguments: Any) -> Any:
        """Return what is kept for these types, or None, also where a crash left half of it."""
        try:
            return self._cache.load_overload(*arguments)
        except (EOFError, OSError, UnpicklingError):
            self._cache.flush()
            return None

    def save_overload(self, *arguments: Any) -> None:
        """Keep what was compiled."""
        self._cache.save_overload(*arguments)

    def flush(self) -> None:
        """Forget what is kept."""
        self._cache.flush()


def content_digest(function: Any) -> str:
    """SHA-256 of a kernel's code, of the kernels and intrinsics that it calls, and of constants."""
    code = function.__code__
    digest = hashlib.sha256(code.co_code + repr((code.co_consts, code.co_names)).encode())
    for name in code.co_names:
        digest.update(_content(function.__globals__.get(name)).encode())
    return digest.hexdigest()


def _content(value: Any) -> str:
    if is_jitted(value):
        return content_digest(value.py_func)
    if isinstance(value, int | str | tuple):
        return repr(value)
    # an intrinsic is code that writes code: its file, and those of what that imports from here
    defined = getattr(value, "_defn", None)
    return "" if defined is None else _files_digest(defined.__module__)


@cache
def _files_digest(module: str) -> str:
    names = {getattr(value, "__module__", None) for value in vars(sys.modules[module]).values()}
    ours = sorted({module, *(name for name in names if name and name.startswith("hwq."))})
    files = [sys.modules[name].__file__ for name in ours]
    digest = hashlib.sha256(b"".join(Path(file).read_bytes() for file in files if file))
    return digest.hexdigest()
