"""How this process returns memory."""

import ctypes
import os

# <malloc.h> of glibc
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> None:
    """Let the C library keep freed blocks for the next tensors.

    glibc gives every large block back at once and faults each page in again for the next one: in
    a fake-quant network, which is element-wise operations on large tensors, that is most of the
    time. Where the C library has no such setting, nothing happens.
    """
    if os.name != "posix":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        mallopt(_M_TOP_PAD, 1 << 26)
