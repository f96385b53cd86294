"""Files of a site that are asked for once per origin: robots.txt (RFC 9309) and tdmrep.json of the TDM protocol."""

import codecs
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from evenly.storage.web.addresses import WebAddress
from evenly.storage.web.errors import FetchError

MAX_BYTES = 512 * 1024  # RFC 9309, section 2.5: at least 500 KiB are read
_ANSWER_KEPT_S, _TROUBLE_KEPT_S = 86_400.0, 60.0  # an answer counts for a day (section 2.4), trouble for a minute
_UNREACHABLE = frozenset({"dns", "connection", "timeout", "blocked_address", "http_429"})
_BYTE_ORDER_MARKS = (  # the longer ones first: UTF-32 begins like UTF-16
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip

Content = TypeVar("Content")


@dataclass(frozen=True, kw_only=True)
class SiteAnswer:
    """The answer to a request for a file: `outcome` and `evidence` as of a picture, and the body with its encoding."""

    outcome: str
    evidence: str
    body: bytes | None
    encoding: str | None


@dataclass(kw_only=True)
class _Kept(Generic[Content]):
    """A site's file once it is known, and the lock under which one thread asks for it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    known_until: float = 0.0
    content: Content | None = None
    trouble: FetchError | None = None


class SiteFile(Generic[Content]):
    """One kind of file of all sites: `read` makes something of its text, and says ValueError where it is not readable.

    RFC 9309, section 2.3.1: an answer of 4xx says that there is no such file (429 asks for patience instead). A site
    that cannot be reached or answers 5xx, and a file whose bytes or text cannot be read, forbid the whole site for
    now: what cannot be read is no consent.
    """

    def __init__(self, path: str, read: Callable[[str], Content], get: Callable[[str], SiteAnswer]) -> None:
        self._path, self._read, self._get = path, read, get
        self._name = path.rpartition("/")[2]
        self._sites: dict[str, _Kept[Content]] = {}

    def of(self, address: WebAddress) -> Content | None:
        """The file of the address's origin, or None; raises FetchError for the trouble that forbids the site."""
        kept = self._sites.setdefault(address.origin, _Kept())
        with kept.lock:
            if time.monotonic() >= kept.known_until:
                kept.content, kept.trouble = self._load(address.origin)
                kept.known_until = time.monotonic() + (_TROUBLE_KEPT_S if kept.trouble else _ANSWER_KEPT_S)
        if kept.trouble is not None:
            raise FetchError(kept.trouble.outcome, kept.trouble.evidence)
        return kept.content

    def _load(self, origin: str) -> tuple[Content | None, FetchError | None]:
        answer = self._get(origin + self._path)
        if answer.body is None:
            forbids = answer.outcome in _UNREACHABLE or answer.outcome.startswith("http_5")
            return None, FetchError(answer.outcome, f"{self._name}: {answer.evidence}") if forbids else None
        try:
            return self._read(decoded_text(answer.body, answer.encoding)), None
        except ValueError as error:
            return None, FetchError(f"{self._name.partition('.')[0]}_unreadable", f"{self._name}: {error}")


def decoded_text(body: bytes, encoding: str | None) -> str:
    """The text of a body, at most MAX_BYTES of it: unpacked as `encoding` or its first bytes say, in any UTF.

    Raises ValueError for what cannot be read. Bytes that are no UTF-8 are replaced: RFC 9309 has parsers skip lines.
    """
    data = _unpacked(body, [name.strip().lower() for name in (encoding or "").split(",") if name.strip()])[:MAX_BYTES]
    codec = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), None) or _by_zeros(data)
    return data.decode(codec, errors="replace").removeprefix("\ufeff")


def _unpacked(data: bytes, encodings: list[str]) -> bytes:
    for name in reversed(encodings):
        if name in {"gzip", "x-gzip", "deflate"}:
            data = _inflated(data, raw=name == "deflate" and data[:1] != b"\x78")
        elif name != "identity":
            raise ValueError(f"its Content-Encoding {name[:40]!r} is not known")
    return _inflated(data, raw=False) if data.startswith(b"\x1f\x8b") else data


def _inflated(data: bytes, *, raw: bool) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS if raw else 32 + zlib.MAX_WBITS).decompress(data, MAX_BYTES)
    except zlib.error as error:
        raise ValueError(f"it cannot be unpacked ({error})") from None


def _by_zeros(data: bytes) -> str:
    """UTF-16 without a mark shows by zeros in every second byte: paths and words of these files are ASCII."""
    start = data[:64]
    if len(start) >= 4 and not any(start[1::2]) and all(start[::2]):
        return "utf-16-le"
    return "utf-16-be" if len(start) >= 4 and not any(start[::2]) and all(start[1::2]) else "utf-8"
