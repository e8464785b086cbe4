"""What can go wrong, as one small tree.

HwqError
├── UsageError      the caller asked for something that does not exist or does not fit (exit code 2)
├── SpecError       a parameter is outside its range; also a ValueError
├── ImportGraphError  a network cannot be expressed in the graph; names the module path
├── GraphError      a graph breaks a rule of the IR; names the node
└── DataError       a file given by the user cannot be read or does not match (exit code 1)
"""

_LONGEST = 800


def one_line(text: str) -> str:
    """Return a text as one line that a terminal can show: the middle of a long one is left out."""
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))
    if len(plain) <= _LONGEST:
        return plain
    return f"{plain[: _LONGEST - 200]} ... {plain[-195:]}"


class HwqError(Exception):
    """Base of every error that hwq raises on purpose; the message, one line, is for the user."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class UsageError(HwqError):
    """The request names something unknown or contradictory."""


class SpecError(HwqError, ValueError):
    """A parameter of a unit, quantizer or accelerator is outside its range."""


class ImportGraphError(HwqError):
    """A network uses an operation that the graph cannot express."""


class GraphError(HwqError):
    """A graph breaks a rule of the IR."""


class DataError(HwqError):
    """A file of the user's is missing, damaged or of another kind than expected."""


def require(condition: bool, message: str) -> None:
    """Raise `SpecError` with `message` unless `condition` holds."""
    if not condition:
        raise SpecError(message)
