"""Fetching one URL: guarded connection, opt-outs, size cap, redirects, and a second try where it is worth one."""

import errno
import http.client
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Protocol

from evenly.storage.web.addresses import WebAddress, follow, parse_address
from evenly.storage.web.decoding import PictureFacts
from evenly.storage.web.errors import DownloadError, FetchError
from evenly.storage.web.guard import Connect, Deadline, GuardedConnection, Resolver
from evenly.storage.web.rule import NO_RIGHTS, Rights, Stated, WebRule, user_agent
from evenly.storage.web.site_files import MAX_BYTES as SITE_FILE_BYTES
from evenly.storage.web.site_files import Content, SiteAnswer, SiteFile

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 1 << 16
_FIRST_WAIT_S = 0.5
_NO_HANDLES = frozenset({errno.EMFILE, errno.ENFILE})


@dataclass(kw_only=True)
class Fetched:
    """The answer of one URL; `outcome` is `success` (then `body` holds the bytes) or the reason word.

    `facts`, `measured` and `rights` are filled by whoever decodes the body, which may change the outcome.
    `reservations` are those of the site and of the headers, of each redirect too.
    """

    outcome: str = "success"
    attempt: int = 1
    evidence: str = ""
    http_status: int | None = None
    final_url: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    body: bytes | None = None
    facts: PictureFacts | None = None
    measured: bytes | None = None
    rights: Rights = NO_RIGHTS
    reservations: list[Stated] = field(default_factory=list)


class HostLimits(Protocol):
    """Limits of requests to a host that are under way at a time, which other runs keep as well."""

    def ask(self, host: str) -> Callable[[], None] | float:
        """A place for one request, as the function that gives it back; or seconds, after which to ask again."""


class WebClient:
    """Fetches URLs by one rule, from many threads; look-ups and the files of a site are asked for once per process."""

    def __init__(self, rule: WebRule, connect: Connect, limits: HostLimits | None = None) -> None:
        self.rule = self._rule = rule
        self._limits = limits
        self._resolver = Resolver(connect)
        self._robots = SiteFile("/robots.txt", rule.read_robots, self._get_site_file)
        self._tdm = SiteFile("/.well-known/tdmrep.json", rule.read_tdm, self._get_site_file)
        self._headers = {
            "User-Agent": user_agent(rule),
            "Accept": "image/*,*/*;q=0.5",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }

    def fetch(self, url: str, *, first_attempt: int = 1) -> Fetched:
        """Fetch `url`; tries are counted from `first_attempt`. Whatever the web does is an outcome, never an error.

        Raises DownloadError where this process may open no more files.
        """
        return self._patiently(
            lambda fetched: self._get(url, fetched, cap=self._rule.max_bytes, asks=True), first_attempt
        )

    def refuse(self, stated: Iterable[Stated]) -> None:
        """Raise FetchError for what is respected of what is said of a picture."""
        if refusal := self._rule.refusal(stated):
            raise FetchError(*refusal)

    def _patiently(self, attempt: Callable[[Fetched], bytes], first: int) -> Fetched:
        """Try until it works, cannot work, or the tries are used up."""
        for number in range(first, first + self._rule.retries + 1):
            fetched = Fetched(attempt=number)
            try:
                fetched.body = attempt(fetched)
            except FetchError as error:
                if error.outcome in {"dns", "connection"}:
                    _require_handles(error.__context__)
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
            tdm_objection_in_file = None
            if asks:
                started = time.monotonic()
                tdm_objection_in_file = self._ask_site(address, fetched)
                deadline.extend(time.monotonic() - started)
            give_back = self._place(address.host, deadline)
            connection = GuardedConnection(
                address.host, address.port, tls=address.tls, resolver=self._resolver, deadline=deadline
            )
            try:
                response = self._request(connection, address, fetched)
                if asks and response.status < 400:
                    self._note(fetched, self._rule.in_headers(response.headers, tdm_objection_in_file))
                answer = self._answer(response, address, cap=cap, complete=asks)
            except FetchError:
                raise
            except TimeoutError as error:
                raise FetchError("timeout", str(error), again=True) from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise FetchError("connection", f"{type(error).__name__}: {error}", again=True) from None
            finally:
                connection.close()
                give_back()
            if isinstance(answer, bytes):
                return answer
            address = answer
        raise FetchError("too_many_redirects", f"more than {MAX_REDIRECTS}, the last to {address.url}")

    def _place(self, host: str, deadline: Deadline) -> Callable[[], object]:
        """Wait for a place at a host; how to give it back. The wait is not of the time for a try."""
        if self._limits is None:
            return lambda: None
        started = time.monotonic()
        while not callable(answer := self._limits.ask(host.lower())):
            time.sleep(answer)
        deadline.extend(time.monotonic() - started)
        return answer

    def _request(
        self, connection: GuardedConnection, address: WebAddress, fetched: Fetched
    ) -> http.client.HTTPResponse:
        connection.request("GET", address.path, headers={"Host": address.authority, **self._headers})
        response = connection.getresponse()
        fetched.http_status = response.status
        fetched.content_type = response.headers.get("Content-Type")
        fetched.content_encoding = response.headers.get("Content-Encoding")
        return response

    def _answer(
        self, response: http.client.HTTPResponse, address: WebAddress, *, cap: int, complete: bool
    ) -> bytes | WebAddress:
        """The body, or where a redirect leads."""
        location = response.headers.get("Location")
        if response.status in _REDIRECTS and location:
            return follow(address, location)
        _require_success(response)
        return _read_body(response, cap, complete=complete)

    def _note(self, fetched: Fetched, reservations: Iterable[Stated]) -> None:
        """Keep what was said of the picture; raises FetchError for what is respected."""
        stated = [*reservations]
        fetched.reservations += stated
        self.refuse(stated)

    def _ask_site(self, address: WebAddress, fetched: Fetched) -> str | None:
        """The objection of the site's TDM file, which a header may supersede, or None.

        Raises FetchError where robots.txt reserves the URL and that is respected, or why a file could not be had.
        """
        rule = self._rule
        robots = self._site_file(self._robots, address, must=rule.respects_robots) if rule.reads_robots else None
        if robots is not None:
            self._note(fetched, robots.reservations(address.url, rule.user_agent_token))
        tdm = self._site_file(self._tdm, address, must=rule.respects_tdm) if rule.reads_tdm else None
        return tdm.objection(address.url) if tdm else None

    def _site_file(self, files: SiteFile[Content], address: WebAddress, *, must: bool) -> Content | None:
        """The site's file, or None; its trouble is raised where it `must` be had."""
        try:
            return files.of(address)
        except FetchError:
            if must:
                raise
            return None

    def _get_site_file(self, url: str) -> SiteAnswer:
        fetched = self._patiently(lambda trial: self._get(url, trial, cap=SITE_FILE_BYTES, asks=False), 1)
        return SiteAnswer(
            outcome=fetched.outcome,
            evidence=fetched.evidence,
            body=fetched.body,
            encoding=fetched.content_encoding,
        )


def _require_handles(cause: BaseException | None) -> None:
    """Raise DownloadError where a connection or look-up failed for want of file handles here, not by the site."""
    try:
        if isinstance(cause, OSError) and cause.errno in _NO_HANDLES:
            raise cause
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        raise DownloadError(
            f"a download worker must be allowed to open a file for each of its requests; got `{error.strerror}`. Raise "
            "the limit (`ulimit -n`) or close other programs, and run again: finished shards are kept."
        ) from None


def _require_success(response: http.client.HTTPResponse) -> None:
    if 200 <= response.status < 300:
        return
    evidence = f"{response.status} {response.reason}".strip()
    retriable = response.status in {408, 425, 429} or response.status >= 500
    raise FetchError(f"http_{response.status}", evidence, again=retriable, wait_s=_retry_after(response.headers))


def _retry_after(headers: Message) -> float | None:
    """Seconds that the server asks to wait (a number or a date), or None."""
    value = str(headers.get("Retry-After", "")).strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _read_body(response: http.client.HTTPResponse, cap: int, *, complete: bool) -> bytes:
    """The body; one above `cap` bytes is refused if it must be `complete`, else cut there."""
    expected = response.length
    if complete and expected is not None and expected > cap:
        raise FetchError("too_many_bytes", f"Content-Length: {expected}, more than {cap}")
    parts, size = [], 0
    while size <= cap and (part := response.read(_CHUNK)):
        parts.append(part)
        size += len(part)
    if complete and size > cap:
        raise FetchError("too_many_bytes", f"more than {cap} bytes sent")
    if size <= cap and expected is not None and size < expected:
        outcome = "truncated_image" if complete else "connection"
        raise FetchError(outcome, f"the body ended after {size} of {expected} bytes", again=True)
    return b"".join(parts)[:cap]
