"""Bodies of answers, read whole and within a limit on their unpacked size, not on the announced one."""

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol

MOST_BYTES = 4_000_000
"""Of a reply, a page of a list, what is said of a batch, or an error."""
_PIECE = 1 << 16
_WINDOW = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class LongBodyError(ValueError):
    """A body that goes on behind its limit."""


class HttpAnswer(Protocol):
    """The answer of a server, as httpx has it, of which the body was not read."""

    request: Any
    headers: Mapping[str, str]
    _content: Any

    def aiter_raw(self, size: int, /) -> AsyncIterator[bytes]:
        """The body as it comes, in pieces of at most `size` bytes."""


def read_within(limit_of: Callable[[Any], int]) -> Callable[[HttpAnswer], Awaitable[None]]:
    """A hook of httpx that reads each response before anyone else does, within the limit of its request.

    Raises LongBodyError, and ValueError for bytes that do not unpack.
    """

    async def read(response: HttpAnswer) -> None:
        limit = limit_of(response.request)
        announced = response.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise _too_long(limit)
        coding = response.headers.get("content-encoding", "identity").strip().lower() or "identity"
        if coding != "identity" and coding not in _WINDOW:
            raise ValueError(f"a body must be plain, gzip or deflate; got {coding[:40]}")
        stream = zlib.decompressobj(_WINDOW[coding]) if coding in _WINDOW else None
        body = bytearray()
        async for piece in response.aiter_raw(_PIECE):
            body += piece if stream is None else _unpacked(stream, piece, limit - len(body) + 1)
            if len(body) > limit:
                raise _too_long(limit)
        response._content = body  # noqa: SLF001 - what httpx has read, it does not read again

    return read


def _unpacked(stream: "zlib._Decompress", piece: bytes, most: int) -> bytes:
    try:
        return stream.decompress(piece, most)
    except zlib.error as error:
        raise ValueError(f"a body must unpack; got {error}") from None


def _too_long(limit: int) -> LongBodyError:
    return LongBodyError(f"a body of more than {limit:,} bytes, unpacked; more is not read")
