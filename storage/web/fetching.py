"""Fetching one URL: guarded connection, opt-outs, size cap, redirects, and a second try where it is worth one."""

import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from email.utils import parsedate_to_datetime

from storage.web.addresses import WebAddress, follow, parse_address
from storage.web.decoding import PictureFacts
from storage.web.errors import FetchError
from storage.web.guard import Connect, Deadline, GuardedConnection, Resolver
from storage.web.optout import RobotsTxt, tdm_objection, x_robots_objection
from storage.web.rule import DownloadRule, user_agent

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 1 << 16
_ROBOTS_MAX_BYTES = 512 * 1024  # RFC 9309, section 2.5: at least 500 KiB are read
_ROBOTS_KEPT_S = {True: 86_400.0, False: 60.0}  # an answer counts for a day (section 2.4), trouble for a minute
_FIRST_WAIT_S = 0.5


@dataclass(kw_only=True)
class Fetched:
    """What one URL gave; `outcome` is `success` (then `body` holds the bytes) or the reason word.

    `facts` is filled by whoever decodes the body, which may change the outcome.
    """

    outcome: str = "success"
    attempt: int = 1
    evidence: str = ""
    http_status: int | None = None
    final_url: str | None = None
    content_type: str | None = None
    body: bytes | None = None
    facts: PictureFacts | None = None


@dataclass(kw_only=True)
class _Robots:
    """A site's robots.txt once it is known, and the lock under which one thread asks for it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    known_until: float = 0.0
    rules: RobotsTxt | None = None
    trouble: FetchError | None = None


class WebClient:
    """Fetches URLs by one rule, from many threads; look-ups and robots.txt are asked for once per process."""

    def __init__(self, rule: DownloadRule, connect: Connect) -> None:
        self._rule = rule
        self._resolver = Resolver(connect)
        self._robots: dict[str, _Robots] = {}
        self._headers = {
            "User-Agent": user_agent(rule),
            "Accept": "image/*,*/*;q=0.5",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }

    def fetch(self, url: str, *, first_attempt: int = 1) -> Fetched:
        """Fetch `url`; tries are counted from `first_attempt`. Whatever the web does is an outcome, never an error."""
        return self._patiently(
            lambda fetched: self._get(url, fetched, cap=self._rule.max_bytes, asks=True), first_attempt
        )

    def _patiently(self, attempt: Callable[[Fetched], bytes], first: int) -> Fetched:
        """Try until it works, cannot work, or the tries are used up."""
        for number in range(first, first + self._rule.retries + 1):
            fetched = Fetched(attempt=number)
            try:
                fetched.body = attempt(fetched)
            except FetchError as error:
                fetched.outcome, fetched.evidence = error.outcome, error.evidence
                wait_s = error.wait_s if error.wait_s is not None else _FIRST_WAIT_S * 2 ** (number - first)
                if not error.again or wait_s > self._rule.max_wait_s or number == first + self._rule.retries:
                    return fetched
                time.sleep(wait_s)
            else:
                return fetched
        raise AssertionError("the last try returns")

    def _get(self, url: str, fetched: Fetched, *, cap: int, asks: bool) -> bytes:
        """One try: follow redirects to a body of at most `cap` bytes, asking for permission if `asks`."""
        deadline = Deadline(self._rule.timeout_s)
        address = parse_address(url)
        for _ in range(MAX_REDIRECTS + 1):
            fetched.final_url, fetched.http_status, fetched.content_type = address.url, None, None
            if asks and "robots" in self._rule.respect:
                started = time.monotonic()
                self._ask_robots(address)
                deadline.extend(time.monotonic() - started)
            connection = GuardedConnection(
                address.host, address.port, tls=address.tls, resolver=self._resolver, deadline=deadline
            )
            try:
                answer = self._exchange(connection, address, fetched, cap=cap, asks=asks)
            finally:
                connection.close()
            if isinstance(answer, bytes):
                return answer
            address = answer
        raise FetchError("too_many_redirects", f"more than {MAX_REDIRECTS}, the last to {address.url}")

    def _exchange(
        self, connection: GuardedConnection, address: WebAddress, fetched: Fetched, *, cap: int, asks: bool
    ) -> bytes | WebAddress:
        """One request: the body, or where a redirect leads."""
        try:
            connection.request("GET", address.path, headers={"Host": address.authority, **self._headers})
            response = connection.getresponse()
            fetched.http_status = response.status
            fetched.content_type = response.headers.get("Content-Type")
            location = response.headers.get("Location")
            if response.status in _REDIRECTS and location:
                return follow(address, location)
            _require_success(response)
            if asks:
                self._ask_headers(response.headers)
            return _read_body(response, cap, whole=asks)
        except FetchError:
            raise
        except TimeoutError as error:
            raise FetchError("timeout", str(error), again=True) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise FetchError("connection", f"{type(error).__name__}: {error}", again=True) from None

    def _ask_headers(self, headers: Message) -> None:
        if "x-robots-tag" in self._rule.respect:
            objection = x_robots_objection(headers, self._rule.user_agent_token)
            if objection:
                raise FetchError("x_robots_tag", objection)
        if "tdmrep" in self._rule.respect:
            objection = tdm_objection(headers)
            if objection:
                raise FetchError("tdmrep", objection)

    def _ask_robots(self, address: WebAddress) -> None:
        """Raise FetchError `robots` where the site forbids the URL, or why its robots.txt could not be had."""
        robots = self._robots.setdefault(address.origin, _Robots())
        with robots.lock:
            if time.monotonic() >= robots.known_until:
                robots.rules, robots.trouble = self._load_robots(address.origin)
                robots.known_until = time.monotonic() + _ROBOTS_KEPT_S[robots.trouble is None]
        if robots.trouble is not None:
            raise FetchError(robots.trouble.outcome, robots.trouble.evidence)
        objection = robots.rules.objection(address.url, self._rule.user_agent_token) if robots.rules else None
        if objection:
            raise FetchError("robots", objection)

    def _load_robots(self, origin: str) -> tuple[RobotsTxt | None, FetchError | None]:
        """The rules, or the trouble that forbids the whole site for now; neither where there is no robots.txt.

        RFC 9309, section 2.3.1: an answer of 4xx allows everything (429 asks for patience instead), 5xx and a site
        that cannot be reached forbid everything.
        """
        url = f"{origin}/robots.txt"
        fetched = self._patiently(lambda trial: self._get(url, trial, cap=_ROBOTS_MAX_BYTES, asks=False), 1)
        if fetched.body is not None:
            return RobotsTxt(fetched.body.decode("utf-8-sig", errors="replace")), None
        unreachable = fetched.outcome in {"dns", "connection", "timeout", "blocked_address", "http_429"}
        if unreachable or fetched.outcome.startswith("http_5"):
            return None, FetchError(fetched.outcome, f"robots.txt: {fetched.evidence}")
        return None, None


def _require_success(response: http.client.HTTPResponse) -> None:
    if 200 <= response.status < 300:
        return
    evidence = f"{response.status} {response.reason}".strip()
    again = response.status in {408, 425, 429} or response.status >= 500
    raise FetchError(f"http_{response.status}", evidence, again=again, wait_s=_retry_after(response.headers))


def _retry_after(headers: Message) -> float | None:
    """Seconds that the server asks to wait (a number or a date), or None."""
    value = str(headers.get("Retry-After", "")).strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _read_body(response: http.client.HTTPResponse, cap: int, *, whole: bool) -> bytes:
    """The body; one above `cap` bytes is refused if `whole` is wanted, else cut there."""
    expected = response.length
    if whole and expected is not None and expected > cap:
        raise FetchError("too_many_bytes", f"Content-Length: {expected}, more than {cap}")
    parts, size = [], 0
    while size <= cap and (part := response.read(_CHUNK)):
        parts.append(part)
        size += len(part)
    if whole and size > cap:
        raise FetchError("too_many_bytes", f"more than {cap} bytes sent")
    if size <= cap and expected is not None and size < expected:
        outcome = "truncated_image" if whole else "connection"
        raise FetchError(outcome, f"the body ended after {size} of {expected} bytes", again=True)
    return b"".join(parts)[:cap]
