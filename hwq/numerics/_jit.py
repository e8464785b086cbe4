"""The only door to numba: every kernel is compiled with the same, exact options."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compile `function` with numba: cached, without the GIL, never with fast-math.

    `error_model="numpy"` removes the division-by-zero check that keeps loops from being
    vectorised; a kernel must therefore not divide by zero.
    """
    compiled = numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")(function)
    return cast(F, compiled)
