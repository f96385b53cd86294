"""Limits that people made at the Prefect server for web hosts and endpoints, which all runs together keep.

A global concurrency limit by the name `evenly-web:<host>` or `evenly-chat:<host>` says how many requests may be under
way there at a time; with a slot decay it says how many may leave in a second. Where there is none of the name, nothing
is asked of the server for a request.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

from evenly.storage.errors import LimitError
from evenly.tasks.progress import Progress
from evenly.tasks.server.artifacts import is_watched, server_client

LEASE_S = 300.0
"""A place that a killed process held is free again after so long."""
_PAGE = 200
_POLL_S = 0.25
_LOCKED = 423


class HostLimit(NamedTuple):
    """How many requests to a host may be under way at a time; with `rate`, how many may leave in a second."""

    name: str
    places: int
    rate: float


@dataclass(frozen=True, kw_only=True)
class SharedLimits:
    """The limits of one kind at a server, by host; processes that send requests get a copy of it each."""

    url: str
    hosts: Mapping[str, HostLimit]

    def ask(self, host: str) -> Callable[[], None] | float:
        """A place for one request to a host, as the function that gives it back; or seconds, after which to ask again.

        Raises LimitError where the server does not answer.
        """
        limit = self.hosts.get(host)
        if limit is None:
            return _nothing
        tally = _tally_of(self.url, limit.name)
        with tally.lock:
            wait_s = tally.closed_until - time.monotonic()
            if wait_s > 0 or (tally.taken >= max(1, limit.places) and not limit.rate):
                return max(wait_s, _POLL_S / 10)
            tally.taken += 1
        try:
            lease = _lease(self.url, limit)
        except BaseException:
            tally.free()
            raise
        if lease is None:
            tally.free(closed_s=_POLL_S)
            return _POLL_S
        return partial(_give_back, self.url, tally, lease)


def limits_of(kind: Literal["web", "chat"], progress: Progress) -> SharedLimits | None:
    """The limits for web hosts or endpoints at the server of the run that this is part of; None without any."""
    if not is_watched():
        return None
    from prefect.settings import PREFECT_API_URL

    prefix, hosts = f"evenly-{kind}:", dict[str, HostLimit]()
    with server_client() as client:
        offset = 0
        while page := client.read_global_concurrency_limits(limit=_PAGE, offset=offset):
            for each in page:
                if each.active and each.name.startswith(prefix):
                    host = each.name.removeprefix(prefix).lower()
                    hosts[host] = HostLimit(each.name, each.limit, each.slot_decay_per_second)
            offset += len(page)
    if not hosts:
        return None
    progress.say(f"{'limits':<24} {', '.join(f'{limit.name} {limit.places}' for limit in hosts.values())}")
    return SharedLimits(url=str(PREFECT_API_URL.value()), hosts=hosts)


@dataclass(kw_only=True)
class _Tally:
    """The places at a host that this process has, and until when it need not ask for another."""

    taken: int = 0
    closed_until: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def free(self, *, closed_s: float = 0.0) -> None:
        """Count a place less."""
        with self.lock:
            self.taken -= 1
            if closed_s:
                self.closed_until = time.monotonic() + closed_s


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


def _lease(url: str, limit: HostLimit) -> str | None:
    """The lease of a place, "" for one that is never given back; None where all are taken."""
    import httpx
    from prefect.exceptions import PrefectException

    client = _client(url)
    try:
        if limit.rate:
            client.increment_concurrency_slots([limit.name], 1, "rate_limit")
            return ""
        answer = client.increment_concurrency_slots_with_lease([limit.name], 1, "concurrency", LEASE_S).json()
    except httpx.HTTPStatusError as error:
        if error.response.status_code == _LOCKED:
            return None
        raise _trouble(url, limit.name, error) from None
    except (httpx.HTTPError, PrefectException) as error:
        raise _trouble(url, limit.name, error) from None
    return str(answer["lease_id"]) if answer["limits"] else ""


def _give_back(url: str, tally: _Tally, lease: str) -> None:
    """Give a place back; one of which the server does not learn is free when its lease ends."""
    from uuid import UUID

    import httpx
    from prefect.exceptions import PrefectException

    if lease:
        with suppress(httpx.HTTPError, PrefectException):
            _client(url).release_concurrency_slots_with_lease(UUID(lease))
    tally.free()


def _trouble(url: str, name: str, error: Exception) -> LimitError:
    return LimitError(
        f"the Prefect server at `{url}` must answer for its limit `{name}`; {type(error).__name__}. Run again: what is "
        "finished is kept."
    )


def _nothing() -> None:
    """Nothing to give back."""
