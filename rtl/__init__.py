"""Gateware of the units in `hwq.numerics`, in Amaranth; stems are the same."""

from hwq.errors import UsageError


class AmaranthMissing(UsageError, ImportError):
    """The extra `rtl` is not installed."""


try:
    import amaranth as _amaranth
except ImportError as error:
    raise AmaranthMissing("hwq.rtl needs Amaranth: pip install 'hwq[rtl]'") from error

__all__ = ["AmaranthMissing"]
del _amaranth
