"""Intents of batches, written down before and while a batch exists, so that a crash never makes a second one.

An intent names the requests of a batch. It is stored before anything is sent, and its id travels in the batch's
metadata. What happens to it later is a list of events, each appended durably once it has happened:

narrowed    the requests in `left_out` will not be in it: nobody asks for them any more, or the budget has no room
uploaded    the requests lie at the endpoint as a file, `file_id`, in a `dialect`
created     the endpoint made a batch of it, or was found to have made one: `batch_id`
polled      the endpoint told a new `status`, with `counts`
cancelled   a person asked to cancel it
collected   all that the batch brought is stored: `status`, `replies`, `lost`, `problems`, `missing`. The end
dropped     there is no batch and there will be none: `reason`. The end
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from evenly.descriptions.chat.dialect import Dialect
from evenly.descriptions.chat.endpoint import Endpoint, Prices
from evenly.descriptions.chat.request import content_address

METADATA_KEY = "evenly_intent"
Event = Mapping[str, Any]


class BatchStore(Protocol):
    """Where intents and their events are kept. All that is written is JSON-able, and durable when the call returns."""

    def create(self, intent_id: str, record: Mapping[str, Any], requests: Mapping[str, Mapping[str, Any]]) -> bool:
        """Keep an intent and the contents of its requests by id; False, and nothing changed, if it is there already."""

    def append(self, intent_id: str, event: Event) -> None:
        """Keep an event after those before it."""

    def records(self) -> Sequence[tuple[Mapping[str, Any], Sequence[Event]]]:
        """All intents with their events, the oldest first."""

    def requests(self, intent_id: str) -> Mapping[str, Mapping[str, Any]]:
        """The contents of an intent's requests."""

    def try_lock(self) -> AbstractContextManager[bool]:
        """Whether this caller alone may submit until the context ends; the lock of a process ends with it."""


@dataclass(frozen=True, kw_only=True)
class Intent:
    """The wish to have these requests answered by one batch; `prices` are those of the batch."""

    id: str
    class_list: str
    base_url: str
    endpoint: str
    model: str
    prices: Prices
    request_ids: tuple[str, ...]
    time: str

    def record(self) -> dict[str, Any]:
        """The intent as JSON-able values."""
        prices = {"prompt_usd": self.prices.prompt_usd, "completion_usd": self.prices.completion_usd}
        return {**vars(self), "prices": prices, "request_ids": list(self.request_ids)}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Intent":
        """The intent whose `record` this is."""
        fields = {name: record[name] for name in ("id", "class_list", "base_url", "endpoint", "model", "time")}
        return cls(prices=Prices(**record["prices"]), request_ids=tuple(record["request_ids"]), **fields)


@dataclass(frozen=True, kw_only=True)
class BatchState:
    """An intent and its history so far."""

    intent: Intent
    events: tuple[Event, ...] = ()

    @property
    def batch_id(self) -> str | None:
        """The batch at the endpoint; None before it is known."""
        value = self._last("created", "batch_id")
        return None if value is None else str(value)

    @property
    def request_ids(self) -> tuple[str, ...]:
        """The requests that are, or will be, in the batch."""
        left_out = {
            request_id for event in self.events if event["kind"] == "narrowed" for request_id in event["left_out"]
        }
        return tuple(request_id for request_id in self.intent.request_ids if request_id not in left_out)

    @property
    def dialect(self) -> Dialect:
        """The dialect of its requests."""
        facts = dict(self._last("uploaded", "dialect") or {})
        return Dialect(**facts | {"left_out": frozenset(facts.get("left_out", ()))})

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return any(event["kind"] in {"collected", "dropped"} for event in self.events)

    @property
    def status(self) -> str:
        """The status that the endpoint told last, or `collected`, `dropped`, or `not submitted`."""
        if self.ended:
            return str(self.events[-1]["kind"])
        return str(self._last("polled", "status") or ("submitted" if self.batch_id else "not submitted"))

    @property
    def counts(self) -> Mapping[str, int]:
        """The counts of requests (completed, failed, total) that the endpoint told last."""
        return self._last("polled", "counts") or {}

    @property
    def submitted_at(self) -> dt.datetime:
        """When the batch was made, as far as is known; else when it was intended."""
        return dt.datetime.fromisoformat(self._last("created", "time") or self.intent.time)

    def after(self, event: Event) -> "BatchState":
        """The state with one more event."""
        return BatchState(intent=self.intent, events=(*self.events, event))

    def _last(self, kind: str, name: str) -> Any:  # noqa: ANN401 - any JSON value
        return next((event[name] for event in reversed(self.events) if event["kind"] == kind), None)


def batch_states(store: BatchStore) -> Iterator[BatchState]:
    """All intents, the oldest first."""
    for record, events in store.records():
        yield BatchState(intent=Intent.of_record(record), events=tuple(events))


def open_states(store: BatchStore, endpoint: Endpoint) -> list[BatchState]:
    """The intents for one model at one endpoint that have not ended, the oldest first."""
    return [
        state
        for state in batch_states(store)
        if not state.ended and (state.intent.endpoint, state.intent.model) == (endpoint.identity, endpoint.model)
    ]


def create_intent(
    store: BatchStore,
    requests: Mapping[str, Mapping[str, Any]],
    *,
    endpoint: Endpoint,
    class_list: str,
    prices: Prices,
) -> BatchState:
    """A new intent for requests (id -> content), stored.

    Its id is the sha256 of the sorted request ids, the endpoint's identity and the model; where an earlier batch of
    just these requests has ended, of that and of how many there were.
    """
    earlier = 0
    while True:
        intent = Intent(
            id=intent_id(requests, endpoint=endpoint, earlier=earlier),
            class_list=class_list,
            base_url=endpoint.base_url,
            endpoint=endpoint.identity,
            model=endpoint.model,
            prices=prices,
            request_ids=tuple(requests),
            time=now(),
        )
        if store.create(intent.id, intent.record(), requests):
            return BatchState(intent=intent)
        earlier += 1


def intent_id(request_ids: Sequence[str] | Mapping[str, Any], *, endpoint: Endpoint, earlier: int = 0) -> str:
    """The address of an intent, 64 hex digits; `earlier` counts earlier batches of the same requests."""
    content = {"requests": sorted(request_ids), "endpoint": endpoint.identity, "model": endpoint.model}
    return content_address(content | ({"again": earlier} if earlier else {}))


def now() -> str:
    """The time, UTC, as records hold it."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
