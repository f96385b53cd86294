"""A stream over bytes that are fetched by range."""

import io
import os
from collections.abc import Callable
from typing import Any


class RangeStream(io.RawIOBase):
    """The `size` bytes of which `read(start, length)` gives some, fetched as they are read."""

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read, self._at, self._size = read, 0, size

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place, and say where that is."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        """Fill the buffer as far as there are bytes; how many."""
        content = self._read(self._at, max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)
