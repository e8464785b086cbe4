"""One lazy table for everything that is looked up by name."""

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

from hwq.errors import UsageError

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps a name to an object that is imported when it is first asked for.

    Parameters
    ----------
    kind : str
        What the entries are, for error messages: "PTQ method".
    table : Mapping[str, str]
        Name -> "module:attribute".
    group : str, optional
        Entry-point group from which other packages add names.

    Raises
    ------
    UsageError
        On lookup of an unknown name (the known ones are listed) and on a second registration.
    """

    def __init__(self, kind: str, table: Mapping[str, str], group: str | None = None) -> None:
        self.kind = kind
        self._targets: dict[str, str] = dict(table)
        self._loaded: dict[str, T] = {}
        if group is not None:
            for entry in entry_points(group=group):
                self._reserve(entry.name)
                self._targets[entry.name] = entry.value

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds the decorated object under `name`."""
        self._reserve(name)

        def add(value: T) -> T:
            self._loaded[name] = value
            return value

        return add

    def __getitem__(self, name: str) -> T:
        if name in self._loaded:
            return self._loaded[name]
        if name not in self._targets:
            near = get_close_matches(name, list(self), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"unknown {self.kind} {name!r}{hint} known: {', '.join(self)}")
        module, attribute = self._targets[name].split(":")
        value = cast(T, getattr(import_module(module), attribute))
        self._loaded[name] = value
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._targets, *self._loaded}))

    def __contains__(self, name: object) -> bool:
        return name in self._targets or name in self._loaded

    def __len__(self) -> int:
        return len({*self._targets, *self._loaded})

    def _reserve(self, name: str) -> None:
        if name in self:
            raise UsageError(f"{self.kind} {name!r} is registered twice")
