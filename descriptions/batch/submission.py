"""Submission of requests as batches, each once whatever happens: a crash, a lost answer, another process."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from evenly.descriptions.batch.endpoint import BatchEndpoint, RefusedError, RemoteBatch
from evenly.descriptions.batch.files import MOST_BYTES, MOST_REQUESTS, RequestFailure, input_line, split_requests
from evenly.descriptions.batch.intents import BatchState, BatchStore, create_intent, now, open_states
from evenly.descriptions.chat.budget import Budget
from evenly.descriptions.chat.client import RequestStore
from evenly.descriptions.chat.dialect import Dialect
from evenly.descriptions.chat.endpoint import Prices
from evenly.descriptions.chat.picture import ChatPicture
from evenly.descriptions.chat.request import ChatRequest
from evenly.descriptions.errors import BudgetExceededError

_LOCK_PAUSE_S = 0.1


@dataclass(frozen=True, kw_only=True)
class BatchPace:
    """The waiting times in seconds: between polls, at first and at most, and for the end of a batch.

    `listed_after_s` is how long after its making a batch may be missing from the endpoint's list.
    """

    first_s: float = 5.0
    longest_s: float = 300.0
    growth: float = 1.5
    patience_s: float = 26 * 3600.0
    listed_after_s: float = 10.0


@dataclass(kw_only=True)
class Submitted:
    """The batches that requests are in now, those sent just now, and those that the budget had no room for.

    pictures: of the requests, by name.
    """

    pictures: Mapping[str, ChatPicture] = field(default_factory=dict)
    states: list[BatchState] = field(default_factory=list)
    refused: dict[str, BudgetExceededError] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class BatchWork:
    """All that working on the batches of one endpoint needs; `say` is called with what happens, a line each.

    `prices`, or those of a `budget`, are per request in a batch, which at most hosts costs less than a request alone.
    `class_list` is who asks, for the list of batches. closing: nobody waits any more, and nothing is polled again.
    """

    api: BatchEndpoint
    replies: RequestStore
    batches: BatchStore
    class_list: str = ""
    prices: Prices = field(default_factory=Prices)
    budget: Budget | None = None
    pace: BatchPace = field(default_factory=BatchPace)
    most_requests: int = MOST_REQUESTS
    most_bytes: int = MOST_BYTES
    say: Callable[[str], None] = lambda _line: None
    closing: bool = False

    def __post_init__(self) -> None:
        self.dialect = Dialect(token_limit=self.api.endpoint.token_limit)
        if self.budget is not None:
            self.prices = self.budget.prices

    async def submit(self, requests: Mapping[str, ChatRequest]) -> Submitted:
        """See to it that each request without a reply is in exactly one open batch, and no more than that.

        Requests that an earlier run, or another process, has in a batch already stay there. Only one process at a time
        gets this far.
        """
        pictures = (picture for request in requests.values() for picture in request.pictures)
        submitted = Submitted(pictures={picture.name: picture for picture in pictures})
        async with self.alone():
            left = {
                request_id: request for request_id, request in requests.items() if self.replies.get(request_id) is None
            }
            for state in open_states(self.batches, self.api.endpoint):
                if mine := left.keys() & set(state.request_ids):
                    await self._resume(state, mine, submitted)
                    left = {request_id: request for request_id, request in left.items() if request_id not in mine}
            await self._submit_new(left, submitted)
        return submitted

    def learn(self, state: BatchState, failures: Iterable[RequestFailure]) -> bool:
        """Take a weaker dialect where requests of a batch were refused for theirs; whether there is one."""
        previous = self.dialect
        for failure in failures:
            self.dialect = self.dialect.without(failure.refused, used=state.dialect)
        return self.dialect != previous

    def note(self, state: BatchState, kind: str, **facts: Any) -> BatchState:  # noqa: ANN401 - any JSON value
        """Keep what has happened; the state after it."""
        event = {"kind": kind, "time": now(), **facts}
        self.batches.append(state.intent.id, event)
        return state.after(event)

    def settle(self, state: BatchState, usages: Mapping[str, Mapping[str, int] | None]) -> None:
        """Book what requests of a batch (id -> tokens; None: unknown, the most) have cost, at the intent's prices.

        Only what this account has set aside under the intent is touched.
        """
        if self.budget is not None:
            spending, aside = self.budget.spending, dict(self.budget.spending.lost())
            for request_id, usage in usages.items():
                if (most := aside.get(attempt_id(state, request_id))) is not None:
                    usd = most if usage is None else state.intent.prices.cost(**usage)
                    spending.settle(attempt_id(state, request_id), usd)

    def release(self, state: BatchState, request_ids: Iterable[str]) -> None:
        """Give back what this account set aside for requests that were never answered."""
        self.settle(state, {request_id: {"prompt_tokens": 0, "completion_tokens": 0} for request_id in request_ids})

    async def find(self, state: BatchState) -> RemoteBatch | None:
        """The batch of an intent without a known one, once it must be listed if there is one."""
        made_at = max((dt.datetime.fromisoformat(event["time"]) for event in state.events), default=None)
        if made_at is not None:
            age_s = (dt.datetime.now(dt.UTC) - made_at).total_seconds()
            await asyncio.sleep(min(max(self.pace.listed_after_s - age_s, 0.0), self.pace.listed_after_s))
        return await self.api.find(state.intent.id)

    async def _submit_new(self, requests: Mapping[str, ChatRequest], submitted: Submitted) -> None:
        endpoint = self.api.endpoint
        contents = {
            request_id: request.content(identity=endpoint.identity, model=endpoint.model)
            for request_id, request in requests.items()
        }
        limits = {"most_requests": self.most_requests, "most_bytes": self.most_bytes}
        for part in split_requests(contents, self.dialect, submitted.pictures, **limits):
            state = create_intent(self.batches, part, endpoint=endpoint, class_list=self.class_list, prices=self.prices)
            await self._send(state, part, submitted)

    async def _resume(self, state: BatchState, mine: Collection[str], submitted: Submitted) -> None:
        if state.batch_id is None:
            remote = await self.find(state)
            if remote is None:
                return await self._send(state, mine, submitted)
            state = self.note(state, "created", batch_id=remote.id)
        self.say(f"batch {state.batch_id} of an earlier run is taken up: {len(state.request_ids):,} requests")
        submitted.states.append(state)
        return None

    async def _send(self, state: BatchState, wanted: Collection[str], submitted: Submitted) -> None:
        """Make the batch of an intent, of those of its requests that are wanted and can be paid for."""
        contents = self.batches.requests(state.intent.id)
        sent = self._reserve(
            state,
            {request_id: contents[request_id] for request_id in state.request_ids if request_id in wanted},
            submitted,
        )
        if not sent:
            self.note(state, "dropped", reason="budget")
            return
        if left_out := [request_id for request_id in state.request_ids if request_id not in sent]:
            state = self.note(state, "narrowed", left_out=left_out)
            self.release(state, left_out)
        dialect = self.dialect
        lines = [input_line(request_id, contents[request_id], dialect, submitted.pictures) for request_id in sent]
        try:
            file_id = await self.api.upload(f"{state.intent.id}.jsonl", b"".join(lines))
            state = self.note(state, "uploaded", file_id=file_id, dialect=_facts(dialect))
            remote = await self.api.create(file_id, state.intent.id, listed_after_s=self.pace.listed_after_s)
        except RefusedError as error:
            state = self.note(state, "dropped", reason=str(error)[:300])
            self.release(state, sent)
            raise
        state = self.note(state, "created", batch_id=remote.id)
        self.say(f"batch {remote.id}: {len(sent):,} requests submitted")
        submitted.states.append(state)
        submitted.sent += sent

    def _reserve(self, state: BatchState, contents: Mapping[str, Mapping[str, Any]], submitted: Submitted) -> list[str]:
        """The requests, up to the first that the budget has no room for, with money set aside for each.

        What an earlier run set aside for the same intent is not set aside twice.
        """
        sent: list[str] = []
        refusal = next(iter(submitted.refused.values()), None)
        for request_id, content in contents.items():
            try:
                if refusal is None and self.budget is not None:
                    self.budget.reserve(ChatRequest.of_content(content), attempt_id(state, request_id))
            except BudgetExceededError as error:
                refusal = error
            if refusal is None:
                sent.append(request_id)
            else:
                submitted.refused[request_id] = refusal
        return sent

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Wait until no other process submits, and keep it so."""
        while True:
            with self.batches.try_lock() as mine:
                if mine:
                    yield
                    return
            await asyncio.sleep(_LOCK_PAUSE_S)


def attempt_id(state: BatchState, request_id: str) -> str:
    """The name of a request's attempt in a batch, for the budget."""
    return f"batch:{state.intent.id}:{request_id}"


def _facts(dialect: Dialect) -> dict[str, Any]:
    return vars(dialect) | {"left_out": sorted(dialect.left_out)}
