"""A chat client that asks each question once: content-addressed, stored before it is used, retried with back-off."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self

from evenly.descriptions.chat.attempts import Attempt, ChatEndpoint, Connection
from evenly.descriptions.chat.budget import Budget, most_usd
from evenly.descriptions.chat.completion import Completion, reply_record
from evenly.descriptions.chat.dialect import Dialect, unpromised
from evenly.descriptions.chat.endpoint import Endpoint, Prices
from evenly.descriptions.chat.pacing import EndpointLimits, Pacing, Purse
from evenly.descriptions.chat.picture import UnreadablePictureError
from evenly.descriptions.chat.request import ChatRequest, content_address
from evenly.descriptions.chat.retries import Failure, RetryRule, pause_s
from evenly.descriptions.errors import EndpointError, RequestFailedError
from evenly.descriptions.texts.replies import only_object


class RequestStore(Protocol):
    """Where replies are kept."""

    def get(self, request_id: str) -> Mapping[str, Any] | None:
        """The stored record of a request, JSON-able, or None."""

    def put(self, request_id: str, record: Mapping[str, Any]) -> None:
        """Keep a record; durable when it returns. Putting an existing id keeps the first."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The text, "" if there is none; `outcome` is reply, refusal or truncated; `cached` means not asked now.

    `structured` says how it was held to a schema, `unpromised` what keeps it from being drawn again just so,
    `answered_by` which model the endpoint says it was. "" and nothing where the record does not tell.
    """

    request_id: str
    text: str
    outcome: str
    cached: bool
    structured: str = ""
    unpromised: tuple[str, ...] = ()
    answered_by: str = ""


@dataclass(frozen=True, kw_only=True)
class ClientCounts:
    """Counts of a client's work so far: `requests_sent` of requests, `attempts` of tries of them at the endpoint.

    Tokens and cost are those of replies received now; cached ones cost nothing. `lost_attempts` may have been answered
    and billed, but no reply came: they count as spent at the most they can have cost, `lost_usd`, beside `cost_usd`.
    """

    requests_sent: int = 0
    attempts: int = 0
    cache_hits: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    lost_attempts: int = 0
    lost_usd: float = 0.0

    def plus(self, **increments: float) -> Self:
        """The counts with these added, by name."""
        return replace(self, **{name: getattr(self, name) + value for name, value in increments.items()})


class ChatClient:
    """Asks one endpoint, `concurrency` requests at a time. Use it in `async with`; it may be entered again afterwards.

    A pause that the server asks for holds back all requests; of `limits`, which other runs keep as well, a place is
    waited for. `progress` is called with the counts after each request. `budget` sets aside what an attempt can cost at
    most before it is sent; its prices are then the client's. Parameters that the endpoint refuses are left out, and a
    refused schema goes out as words; the record of each reply says so.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        store: RequestStore,
        concurrency: int = 8,
        retries: RetryRule | None = None,
        prices: Prices | None = None,
        budget: Budget | None = None,
        limits: EndpointLimits | None = None,
        progress: Callable[[ClientCounts], None] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.store = store
        self.concurrency = concurrency
        self.retries = retries or RetryRule()
        self.prices = budget.prices if budget is not None else prices or Prices()
        self.budget = budget
        self.limits = limits
        self.progress = progress
        self.counts = ClientCounts()
        self._open: Connection | None = None

    async def __aenter__(self) -> Self:
        if self.budget is not None:
            self.budget.settle_stored(self.store.get)
        endpoint = await ChatEndpoint(endpoint=self.endpoint, timeout_s=self.retries.timeout_s).__aenter__()
        dialect = Dialect(token_limit=self.endpoint.token_limit)
        self._open = Connection(endpoint=endpoint, pacing=Pacing(concurrency=self.concurrency), dialect=dialect)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            self._open.pacing.close()
            await self._open.endpoint.__aexit__(kind, error, trace)
            self._open = None

    def request_id(self, request: ChatRequest) -> str:
        """The address of a request at this client's endpoint, 64 hex digits."""
        return content_address(request.content(identity=self.endpoint.identity, model=self.endpoint.model))

    async def ask(self, request: ChatRequest) -> Reply:
        """The stored reply, or a new one, which is stored before it is returned.

        Raises RequestFailedError where this request gets no reply; EndpointError where none will, and
        BudgetExceededError where the next one may cost too much, both once all that is under way is stored. Equal
        requests that are asked at the same time are sent once.
        """
        connection = self._open
        if connection is None:
            raise RuntimeError("a ChatClient must be entered before it is asked. Write `async with client:`.")
        request_id = self.request_id(request)
        while (stored := self.store.get(request_id)) is None and request_id in connection.in_flight:
            await asyncio.wait([connection.in_flight[request_id]])
        if stored is not None:
            self._count(cache_hits=1)
            return reply_of(request_id, stored, cached=True)
        marker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection.in_flight[request_id] = marker
        try:
            async with connection.pacing.places:
                record = await self._send(connection, request_id, request)
        finally:
            del connection.in_flight[request_id]
            marker.set_result(None)
        return reply_of(request_id, record, cached=False)

    async def _send(self, connection: Connection, request_id: str, request: ChatRequest) -> Mapping[str, Any]:
        """The new record of a request: tried until there is a reply, or no reason to try again."""
        pacing, started, failures, sent = connection.pacing, time.monotonic(), 0, False
        while True:
            attempt = Attempt(request_id=request_id, request=request, dialect=connection.dialect, started=started)
            answer = await self._attempt(connection, attempt, number=failures + 1, first=not sent)
            if isinstance(answer, Mapping):
                return answer
            sent = sent or answer is not None
            if answer is None or connection.learns(answer, attempt):
                continue
            failures += 1
            if answer.remedy == "give_up_endpoint" or (
                answer.reason == "refused_connection" and not connection.replied
            ):
                await pacing.stop(EndpointError(answer.detail, passing=answer.passing))
            pause = pause_s(attempt=failures, request_id=request_id, retry_after_s=answer.retry_after_s)
            exhausted = failures >= self.retries.attempts or pause > self.retries.longest_wait_s
            if answer.remedy == "give_up_request" or exhausted:
                await self._give_up(connection, answer)
            if answer.retry_after_s is not None:
                pacing.hold_back(pause)
            else:
                await pacing.pause(pause)

    async def _attempt(
        self, connection: Connection, attempt: Attempt, *, number: int, first: bool
    ) -> Mapping[str, Any] | Failure | None:
        """The stored record of the reply, or why there is none; None where the attempt was not made after all.

        Money is set aside at the endpoint's door and not while others are waited for, so a process that dies has little
        more booked than what had left.
        """
        async with AsyncExitStack() as until_stored:
            async with connection.pacing.slots, connection.pacing.place(self.limits, self.endpoint.host):
                await until_stored.enter_async_context(connection.pacing.attempt(self._purse(attempt)))
                answer = await self._post(connection, attempt, first=first)
            if isinstance(answer, Completion):
                connection.failures_in_a_row, connection.replied = 0, True
                return await self._keep(connection, attempt, answer, number=number)
            return answer

    def _purse(self, attempt: Attempt) -> Purse | None:
        """The budget that sets money aside for an attempt and takes it back; None where nothing is paid."""
        if self.budget is None:
            return None
        return partial(self.budget.reserve, attempt.request, attempt.id), partial(self.budget.release, attempt.id)

    async def _post(self, connection: Connection, attempt: Attempt, *, first: bool) -> Completion | Failure | None:
        """The endpoint's answer; without a reply, the attempt is booked as lost or, if that is sure, as free."""
        answer: Completion | Failure | None = None
        left = False
        try:
            await connection.pacing.until_allowed()  # a pause may have been asked for while money was set aside
            if not connection.pacing.stopped:
                attempt.dialect = connection.dialect  # what others learnt while this one waited counts as well
                self._count(attempts=1, requests_sent=first)
                left = True
                answer = await connection.endpoint.post(attempt.request, attempt.dialect)
        except UnreadablePictureError:
            left = False
            raise
        finally:
            if not left or (isinstance(answer, Failure) and answer.costs_nothing):
                self._cost_nothing(attempt)
            elif not isinstance(answer, Completion):
                self._lose(attempt)  # None: cancelled while the answer was on its way
        return answer

    async def _give_up(self, connection: Connection, failure: Failure) -> NoReturn:
        """Raise for a request that gets no reply, or for the endpoint where it was one too many in a row."""
        self._count(failed=1)
        connection.failures_in_a_row += 1
        if connection.failures_in_a_row < self.retries.give_up_after:
            raise RequestFailedError(failure.reason, failure.detail, passing=failure.remedy == "retry")
        await connection.pacing.stop(
            EndpointError(
                f"the endpoint must answer; {connection.failures_in_a_row} requests in a row got no reply, the last: "
                f"{failure.detail}. Run again later: replies so far are stored.",
                passing=failure.passing,
            )
        )

    async def _keep(
        self, connection: Connection, attempt: Attempt, completion: Completion, *, number: int
    ) -> Mapping[str, Any]:
        """The record of a reply, durably stored by a thread that nothing stops: no reply gets lost."""
        usage = completion.usage if completion.tokens_told else None
        cost = most_usd(attempt.request, self.prices) if usage is None else self.prices.cost(**usage)
        content = attempt.request.content(identity=self.endpoint.identity, model=self.endpoint.model)
        seconds = time.monotonic() - attempt.started
        record = reply_record(attempt.request_id, content, completion, cost_usd=cost, attempts=number, seconds=seconds)
        record |= attempt.dialect.facts(attempt.request) | {"attempt": attempt.id}
        record["unpromised"] = unpromised(attempt.request, record["left_out"], fingerprint=completion.fingerprint)

        def keep() -> None:
            self.store.put(attempt.request_id, record)
            if self.budget is not None:
                self.budget.settle(attempt.id, usage)

        self._count(**completion.usage, cost_usd=cost)
        await connection.pacing.in_thread(keep)
        return record

    def _lose(self, attempt: Attempt) -> None:
        """The request may have been answered and billed: it counts as spent at its maximum."""
        lost = most_usd(attempt.request, self.prices)
        if self.budget is not None:
            lost = self.budget.lose(attempt.id)
        self._count(lost_attempts=1, lost_usd=lost)

    def _cost_nothing(self, attempt: Attempt) -> None:
        """The attempt was never made, or turned away."""
        if self.budget is not None:
            self.budget.release(attempt.id)

    def _count(self, **increments: float) -> None:
        self.counts = self.counts.plus(**increments)
        if self.progress is not None:
            self.progress(self.counts)


def reply_of(request_id: str, record: Mapping[str, Any], *, cached: bool) -> Reply:
    """The reply that a record holds. Where no schema was enforced, the one JSON object in it stands for the text."""
    text, structured = str(record["reply"]), str(record.get("structured") or "")
    return Reply(
        request_id=request_id,
        text=only_object(text) if structured in {"json_object", "text"} else text,
        outcome=str(record["outcome"]),
        cached=cached,
        structured=structured,
        unpromised=tuple(map(str, record.get("unpromised", ()))),
        answered_by=str(record.get("answered_by", {}).get("model", "")),
    )
