"""Files of a site that are asked for once per origin: robots.txt (RFC 9309) and tdmrep.json of the TDM protocol.

What is said of a redirect counts as what is said of the picture. Each function returns the evidence, the line that
objects, or None where nothing does.
"""

import codecs
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import Any, Generic, TypeVar

from protego import Protego

from evenly.storage.web.addresses import WebAddress
from evenly.storage.web.errors import FetchError
from evenly.storage.web.reservations import Reservation
from evenly.storage.web.reservations.robots_lines import RobotsLines


class TdmFile:
    """One site's tdmrep.json (TDM Reservation Protocol, W3C Community Group): the first rule that matches decides.

    Patterns are those of robots.txt. A page or a picture instead of JSON is no such file. Raises ValueError for JSON
    that cannot be read: it is no consent.
    """

    def __init__(self, text: str) -> None:
        self._rules = [(rule, Protego.parse(_forbidding(rule["location"]))) for rule in _tdm_rules(text)]

    def objection(self, url: str) -> str | None:
        """The rule that reserves the rights in `url`, as JSON, or None."""
        for rule, pattern in self._rules:
            if not pattern.can_fetch(url, "*"):
                shown = {name: rule[name] for name in ("location", "tdm-reservation", "tdm-policy") if name in rule}
                return f"tdmrep.json: {json.dumps(shown)}" if str(rule["tdm-reservation"]).strip() == "1" else None
        return None


def _tdm_rules(text: str) -> list[dict[str, Any]]:
    if not text.lstrip().startswith(("[", "{")):
        return []
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON ({type(error).__name__})") from None
    rules = parsed if isinstance(parsed, list) else [parsed]
    return [
        rule
        for rule in rules
        if isinstance(rule, dict) and isinstance(rule.get("location"), str) and "tdm-reservation" in rule
    ]


def _forbidding(location: str) -> str:
    """A robots.txt that forbids what `location` matches and nothing else."""
    line = "".join(letter for letter in location if letter.isprintable()).strip().replace("#", "%23")
    return f"User-agent: *\nDisallow: {line}\n"


class RobotsTxt:
    """One site's robots.txt. Raises ValueError for what is no text: it is no consent."""

    def __init__(self, text: str) -> None:
        if "\0" in text:
            raise ValueError("it is no text")
        self._text = text
        self._rules = Protego.parse(text)
        self._read_at = datetime.now(UTC)

    def reservations(self, url: str, agent: str) -> Iterator[Reservation]:
        """What the file reserves of `url` for `agent`, by any of its lines; each names the file's hash and its time."""
        objection = self.objection(url, agent)
        objecting = [Reservation("robots", objection)] if objection else []
        for reservation in (*objecting, *self._lines.reservations(url, agent)):
            yield reservation._replace(file=self._identity)

    @cached_property
    def _lines(self) -> RobotsLines:
        return RobotsLines(self._text)

    @cached_property
    def _identity(self) -> str:
        digest = sha256(self._text.encode("utf-8", "surrogatepass")).hexdigest()
        return f"robots.txt (sha256 {digest}, read {self._read_at:%Y-%m-%dT%H:%M:%SZ})"

    def objection(self, url: str, agent: str) -> str | None:
        """The line that forbids `url` to `agent`, or None. The longest matching line decides; Allow wins a tie."""
        if self._rules.can_fetch(url, agent):
            return None
        matching = [
            (agent.lower() in agents, len(path), f"Disallow: {path} (User-agent: {', '.join(agents)})")
            for agents, path, line_rule in self._disallowed
            if agents and {agent.lower(), "*"}.intersection(agents) and not line_rule.can_fetch(url, "*")
        ]
        return max(matching)[2] if matching else "robots.txt forbids this path"

    @cached_property
    def _disallowed(self) -> list[tuple[list[str], str, Protego]]:
        """Each Disallow line with its group's agents and a parser of that line alone: to show which one decided."""
        disallowed: list[tuple[list[str], str, Protego]] = []
        agents: list[str] = []
        in_rules = False
        for line in self._text.splitlines():
            field, _, value = line.partition("#")[0].partition(":")
            field, value = field.strip().lower(), value.strip()
            if field == "user-agent":
                agents = [value.lower()] if in_rules else [*agents, value.lower()]
                in_rules = False
            elif field in {"allow", "disallow"}:
                in_rules = True
                if field == "disallow" and value:
                    disallowed.append((agents, value, Protego.parse(f"User-agent: *\nDisallow: {value}")))
        return disallowed


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
