"""How glibc gives memory to models, which free and ask for tens of megabytes layer by layer.

Left to itself it returns each block to the system and gets fresh pages for the next: half of the time of a small model
on two processors went there (python -m benchmarks.extraction). Elsewhere than on glibc nothing here does anything.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # parameters of mallopt


@contextmanager
def blocks_reused() -> Iterator[None]:
    """Have blocks that are freed given to whoever asks next; all go back to the system at the end.

    It takes full effect where threads share one arena: `share_one_arena`.
    """
    library = _glibc()
    if library is None:
        yield
        return
    share_one_arena()
    library.mallopt(_MMAP_THRESHOLD, 1 << 30)
    library.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
    try:
        yield
    finally:
        library.mallopt(_MMAP_THRESHOLD, 1 << 25)  # what glibc itself comes to once blocks of that size were freed
        library.mallopt(_TRIM_THRESHOLD, 1 << 26)
        library.malloc_trim(0)


def share_one_arena() -> None:
    """Have all threads allocate in one arena of glibc: in others blocks above 64 MB always come from the system.

    To be called before a process has eight threads; later it has no effect.
    """
    if (library := _glibc()) is not None:
        library.mallopt(_ARENA_MAX, 1)


def _glibc() -> ctypes.CDLL | None:
    with suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        if library.mallopt and library.malloc_trim:
            return library
    return None
