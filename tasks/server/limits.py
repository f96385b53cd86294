"""Limits that people made at the Prefect server for web hosts and endpoints, which all runs together keep.

A global concurrency limit by the name `evenly-web:<host>` or `evenly-chat:<host>` says how many requests may be under
way there at a time; with a slot decay it says how many may leave in a second. Where there is none of the name, nothing
is asked of the server for a request.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

from evenly.storage.errors import LimitError
from evenly.tasks.progress import Progress
from evenly.tasks.server.api import is_watched
from evenly.tasks.server.artifacts import server_client

_SHORTEST_LEASE_S = 60.0  # of Prefect's
_KEPT_S = 2.0
"""A place goes on to the next request of its process for so long, if one waits, without asking the server."""
_PATIENCE_S = 600.0
"""A busy server is asked again for so long: one with SQLite answers 503 now and then."""
_PAGE = 200
_POLL_S, _TROUBLED_POLL_S = 0.25, 5.0
_TURN_S = 1.2 * _POLL_S  # another process, which polls, comes before this one does again
_LOCKED = 423


class HostLimit(NamedTuple):
    """The number of requests to a host that may be under way at a time; with `rate`, that may leave in a second."""

    name: str
    places: int
    rate: float


@dataclass(frozen=True, kw_only=True)
class SharedLimits:
    """The limits of one kind at a server, by host; processes that send requests get a copy of it each.

    A place that a killed process held is free again after `lease_s`.
    """

    url: str
    hosts: Mapping[str, HostLimit]
    lease_s: float = _SHORTEST_LEASE_S

    def ask(self, host: str) -> Callable[[], None] | float:
        """A place for one request to a host, as the function that gives it back; or seconds, after which to ask again.

        Raises LimitError where the server does not answer for ten minutes, or refuses.
        """
        limit = self.hosts.get(host)
        if limit is None:
            return _nothing
        tally = _tally_of(self.url, limit.name)
        if (lease := tally.idle_lease()) is not None:
            return partial(_give_back, self.url, tally, lease)
        if wait_s := tally.wait_s(limit):
            return wait_s
        lease, closed_s = None, _POLL_S
        try:
            lease = _new_lease(self.url, limit, self.lease_s)
            tally.troubled_since = None
        except _BusyError as error:
            closed_s = _TROUBLED_POLL_S
            if tally.trouble_s() > _PATIENCE_S:
                tally.free()
                raise _trouble(self.url, limit.name, error) from None
        except BaseException:
            tally.free()
            raise
        if lease is None:
            tally.free(closed_s=closed_s)
            return closed_s
        return partial(_give_back, self.url, tally, lease)


def limits_of(kind: Literal["web", "chat"], progress: Progress, *, longest_s: float = 0.0) -> SharedLimits | None:
    """The limits for web hosts or endpoints at the server of the run that this is part of; None without any.

    longest_s: what a request takes at most.
    """
    if not is_watched():
        return None
    from prefect.settings import PREFECT_API_URL

    url, prefix = str(PREFECT_API_URL.value()), f"evenly-{kind}:"
    hosts = {limit.name.removeprefix(prefix).lower(): limit for limit in _read_limits(url, prefix)}
    if not hosts:
        return None
    progress.say(f"{'limits':<24} {', '.join(f'{limit.name} {limit.places}' for limit in hosts.values())}")
    return SharedLimits(url=url, hosts=hosts, lease_s=max(_SHORTEST_LEASE_S, 2 * longest_s))


def _read_limits(url: str, prefix: str) -> Iterator[HostLimit]:
    """The limits that are switched on and whose names begin so."""
    import httpx
    from prefect.exceptions import PrefectException

    offset = 0
    try:
        with server_client() as client:
            while page := client.read_global_concurrency_limits(limit=_PAGE, offset=offset):
                for entry in page:
                    if entry.active and entry.name.startswith(prefix):
                        yield HostLimit(entry.name, entry.limit, entry.slot_decay_per_second)
                offset += len(page)
    except (httpx.HTTPError, PrefectException) as error:
        raise _trouble(url, f"{prefix}...", type(error).__name__) from None


class _Lease(NamedTuple):
    """A place that the server has given, "" where it need not get it back, and until when it may be used again."""

    id: str
    until: float


class _BusyError(RuntimeError):
    """The server has no answer now."""


@dataclass(kw_only=True)
class _Tally:
    """The places at a host that this process has, and until when it need not ask for another."""

    taken: int = 0
    idle: list[_Lease] = field(default_factory=list)
    closed_until: float = 0.0
    wanted_at: float = -_POLL_S
    troubled_since: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def idle_lease(self) -> _Lease | None:
        """A place that this process has and does not use. Those that nobody wanted for long end by themselves."""
        with self.lock:
            while self.idle:
                lease = self.idle.pop()
                if time.monotonic() - lease.until < _KEPT_S:
                    self.wanted_at = -_POLL_S
                    return lease
                self.taken -= 1
        return None

    def wait_s(self, limit: HostLimit) -> float:
        """0 where another place may be asked for, which is then counted; else seconds until that may be so."""
        with self.lock:
            now = time.monotonic()
            wait_s = self.closed_until - now
            if wait_s > 0 or (self.taken >= max(1, limit.places) and not limit.rate):
                self.wanted_at = now
                return max(wait_s, _POLL_S / 10)
            self.taken, self.wanted_at = self.taken + 1, -_POLL_S
            return 0.0

    def keeps(self, lease: _Lease) -> bool:
        """Whether a place goes on to another request, since one waits."""
        with self.lock:
            now = time.monotonic()
            is_wanted = lease.id != "" and now < lease.until and now - self.wanted_at < _POLL_S
            if is_wanted:  # by one request: others say so when they ask again
                self.wanted_at = -_POLL_S
                self.idle.append(lease)
            return is_wanted

    def free(self, *, closed_s: float = 0.0) -> None:
        """Count a place less."""
        with self.lock:
            self.taken -= 1
            if closed_s:
                self.closed_until = time.monotonic() + closed_s

    def trouble_s(self) -> float:
        """Seconds since the server stopped to answer, counted from now where it did before."""
        now = time.monotonic()
        self.troubled_since = self.troubled_since or now
        return now - self.troubled_since


_tallies: dict[tuple[str, str], _Tally] = {}
_clients: dict[str, Any] = {}
_making = threading.Lock()


def _tally_of(url: str, name: str) -> _Tally:
    with _making:
        return _tallies.setdefault((url, name), _Tally())


def _client(url: str) -> Any:  # noqa: ANN401 - Prefect's
    """A client that stays open as long as the process lives."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with _making:
        if url not in _clients:
            with temporary_settings({PREFECT_API_URL: url}):
                _clients[url] = ExitStack().enter_context(get_client(sync_client=True))
        return _clients[url]


def _new_lease(url: str, limit: HostLimit, lease_s: float) -> _Lease | None:
    """Another place; None where all are taken. Raises LimitError where the server refuses to answer."""
    import httpx
    from prefect.exceptions import PrefectException

    client = _client(url)
    try:
        if limit.rate:
            client.increment_concurrency_slots([limit.name], 1, "rate_limit")
            return _Lease("", 0.0)
        answer = client.increment_concurrency_slots_with_lease([limit.name], 1, "concurrency", lease_s).json()
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status == _LOCKED:
            return None
        if status in {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.REQUEST_TIMEOUT} or status >= 500:
            raise _BusyError(f"it answers with status {status}") from None
        raise _trouble(url, limit.name, f"it answers with status {status}") from None
    except (httpx.HTTPError, PrefectException) as error:
        raise _BusyError(type(error).__name__) from None
    return _Lease(str(answer["lease_id"]) if answer["limits"] else "", time.monotonic() + _KEPT_S)


def _give_back(url: str, tally: _Tally, lease: _Lease) -> None:
    """Give a place back, or keep it for a request that waits. If the server does not learn of it, its lease ends."""
    from uuid import UUID

    import httpx
    from prefect.exceptions import PrefectException

    if tally.keeps(lease):
        return
    if lease.id:
        with suppress(httpx.HTTPError, PrefectException):
            _client(url).release_concurrency_slots_with_lease(UUID(lease.id))
    tally.free(closed_s=_TURN_S if lease.id and time.monotonic() >= lease.until else 0.0)


def _trouble(url: str, name: str, error: object) -> LimitError:
    return LimitError(
        f"the Prefect server at `{url}` must answer for its limit `{name}`; {error}. Run again: what is "
        "finished is kept."
    )


def _nothing() -> None:
    """Nothing to give back."""
