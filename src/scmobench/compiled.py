"""Compile loops that NumPy cannot express, when their module is imported."""

from collections.abc import Callable

import numba


def compiled(signature: str | list[str]) -> Callable[[Callable], Callable]:
    """Compile for these types, without the Python lock, and cache the machine code where possible.

    numba caches it beside the source, or in the user's cache folder where the source is read-only. Where
    neither can be written or read, every process compiles the code: 3 seconds.
    """

    def decorate(function: Callable) -> Callable:
        try:
            return numba.njit(signature, nogil=True, cache=True)(function)
        except Exception:  # no folder, a full disk, a damaged file: numba has no error class for these
            return numba.njit(signature, nogil=True)(function)

    return decorate
