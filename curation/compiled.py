"""Loops that are too slow as Python and too large as arrays, compiled by numba when they are first called."""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any


@cache
def compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Return `loop` as machine code that runs without the interpreter's lock; the code is kept beside its source.

    Where no folder can keep it (a read-only installation without a home), it is compiled in each process.
    """
    from numba import njit

    try:
        return njit(nogil=True, cache=True)(loop)  # type: ignore[no-any-return]
    except RuntimeError:  # numba's "no locator available": there is no place for its cache
        return njit(nogil=True)(loop)  # type: ignore[no-any-return]


def is_compiled_for(n: int, few: int, *, loaded: int = 0) -> bool:
    """Whether `n` pieces of work are for compiled code: fewer than `few` are done sooner than numba is loaded.

    loaded: the same where numba is loaded.
    """
    return n >= (min(few, loaded) if "numba" in sys.modules else few)
