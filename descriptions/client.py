"""A chat client that asks every question once: content-addressed, stored before it is used, retried with back-off."""

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Protocol, Self

from openai import AsyncOpenAI, DefaultAsyncHttpxClient, OpenAIError
from openai.types.chat import ChatCompletion

from descriptions.chat_request import ChatRequest, content_address
from descriptions.endpoint import Endpoint, Prices
from descriptions.errors import DescriptionsError, EndpointError, RequestFailedError
from descriptions.retries import Failure, judge_failure, pause_s


class RequestStore(Protocol):
    """Where replies are kept."""

    def get(self, request_id: str) -> Mapping[str, Any] | None:
        """The stored record of a request, JSON-able, or None."""

    def put(self, request_id: str, record: Mapping[str, Any]) -> None:
        """Keep a record; durable when it returns. Putting an existing id keeps the first."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The text, "" if there is none; `outcome` is reply, refusal or truncated; `cached` means not asked now."""

    request_id: str
    text: str
    outcome: str
    cached: bool


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a client has done so far. `requests_sent` counts requests, `attempts` counts tries of them at the endpoint.

    Tokens and cost are those of replies received now; cached ones cost nothing.
    """

    requests_sent: int = 0
    attempts: int = 0
    cache_hits: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0


class ChatClient:
    """Asks one endpoint, `concurrency` requests at a time. Use it in `async with`; it may be entered again afterwards.

    A request is tried `attempts` times. A pause that the server asks for holds back all requests, and is kept in full;
    one longer than `longest_wait_s` gives the request up. After `give_up_after` requests in a row without a reply the
    endpoint is given up. `progress` is called with the counts after each request.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        store: RequestStore,
        concurrency: int = 8,
        timeout_s: float = 60.0,
        attempts: int = 5,
        longest_wait_s: float = 120.0,
        give_up_after: int = 8,
        prices: Prices | None = None,
        progress: Callable[[Counts], None] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.store = store
        self.concurrency = concurrency
        self.timeout_s = timeout_s
        self.attempts = attempts
        self.longest_wait_s = longest_wait_s
        self.give_up_after = give_up_after
        self.prices = prices or Prices()
        self.progress = progress
        self.counts = Counts()
        self._open: _Connection | None = None

    async def __aenter__(self) -> Self:
        client = AsyncOpenAI(
            base_url=self.endpoint.base_url,
            api_key=self.endpoint.api_key,
            timeout=self.timeout_s,
            max_retries=0,
            http_client=DefaultAsyncHttpxClient(trust_env=not self.endpoint.loopback),
        )
        self._open = _Connection(client=client, slots=asyncio.Semaphore(self.concurrency), in_flight={})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            await self._open.client.close()
            self._open = None

    def request_id(self, request: ChatRequest) -> str:
        """The address of a request at this client's endpoint, 64 hex digits."""
        return content_address(request.content(identity=self.endpoint.identity, model=self.endpoint.model))

    async def ask(self, request: ChatRequest) -> Reply:
        """The stored reply, or a new one, which is stored before it is returned.

        Raises RequestFailedError where this request gets no reply, EndpointError where none will. Equal requests that
        are asked at the same time are sent once.
        """
        connection = self._open
        if connection is None:
            raise RuntimeError("a ChatClient must be entered before it is asked. Write `async with client:`.")
        request_id = self.request_id(request)
        while (stored := self.store.get(request_id)) is None and request_id in connection.in_flight:
            await asyncio.wait([connection.in_flight[request_id]])
        if stored is not None:
            self._count(cache_hits=1)
            return _reply_of(request_id, stored, cached=True)
        marker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection.in_flight[request_id] = marker
        try:
            async with connection.slots:
                record = await self._send(connection, request_id, request)
        finally:
            del connection.in_flight[request_id]
            marker.set_result(None)
        return _reply_of(request_id, record, cached=False)

    async def _send(self, connection: "_Connection", request_id: str, request: ChatRequest) -> Mapping[str, Any]:
        """The new record of a request: tried until there is a reply, or no reason to try again."""
        # A budget goes here: reserve the most this request can cost, settle it by the record, before the slot is free.
        self._count(requests_sent=1)
        started = time.monotonic()
        attempt = 0
        while True:
            await connection.wait_until_allowed()
            self._count(attempts=1)
            answer = await self._attempt(connection.client, request)
            attempt += 1
            if isinstance(answer, ChatCompletion):
                connection.failures_in_a_row = 0
                connection.replied = True
                return self._keep(request_id, request, answer, attempts=attempt, seconds=time.monotonic() - started)
            if answer.remedy == "give_up_endpoint" or (
                answer.reason == "refused_connection" and not connection.replied
            ):
                raise EndpointError(answer.detail)
            pause = pause_s(attempt=attempt, request_id=request_id, retry_after_s=answer.retry_after_s)
            if answer.remedy == "give_up_request" or attempt >= self.attempts or pause > self.longest_wait_s:
                raise self._failed(connection, answer)
            if answer.retry_after_s is not None:
                connection.hold_back(pause)
            else:
                await asyncio.sleep(pause)

    async def _attempt(self, client: AsyncOpenAI, request: ChatRequest) -> ChatCompletion | Failure:
        arguments = request.parameters() | {
            "model": self.endpoint.model,
            self.endpoint.token_limit: request.sampling.max_tokens,
        }
        try:
            async with asyncio.timeout(self.timeout_s):  # the client's own limit starts again with every byte
                completion = await client.chat.completions.create(**arguments)
        except (OpenAIError, TimeoutError, ValueError) as error:
            return judge_failure(error, base_url=self.endpoint.base_url, model=self.endpoint.model)
        if not isinstance(completion, ChatCompletion) or not completion.choices or not completion.choices[0].message:
            return judge_failure(ValueError(), base_url=self.endpoint.base_url, model=self.endpoint.model)
        return completion

    def _failed(self, connection: "_Connection", failure: Failure) -> DescriptionsError:
        self._count(failed=1)
        connection.failures_in_a_row += 1
        if connection.failures_in_a_row < self.give_up_after:
            return RequestFailedError(failure.reason, failure.detail)
        return EndpointError(
            f"the endpoint must answer; {connection.failures_in_a_row} requests in a row got no reply, the last: "
            f"{failure.detail}. Run again later: replies so far are stored."
        )

    def _keep(
        self, request_id: str, request: ChatRequest, completion: ChatCompletion, *, attempts: int, seconds: float
    ) -> Mapping[str, Any]:
        """The record of a reply, durably stored. Nothing is awaited between receipt and store: no reply gets lost."""
        choice, usage = completion.choices[0], completion.usage
        tokens = {
            "prompt_tokens": usage.prompt_tokens if usage else 0,
            "completion_tokens": usage.completion_tokens if usage else 0,
        }
        refused = bool(choice.message.refusal) or choice.finish_reason == "content_filter"
        cost = self.prices.cost(**tokens)
        record = {
            "request_id": request_id,
            "request": request.content(identity=self.endpoint.identity, model=self.endpoint.model),
            "reply": choice.message.content or choice.message.refusal or "",
            "outcome": "refusal" if refused else "truncated" if choice.finish_reason == "length" else "reply",
            "usage": tokens,
            "cost_usd": cost,
            "answered_by": {"model": completion.model, "fingerprint": completion.system_fingerprint},
            "attempts": attempts,
            "seconds": round(seconds, 3),
            "time": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
        }
        self.store.put(request_id, record)
        self._count(**tokens, cost_usd=cost)
        return record

    def _count(self, **more: float) -> None:
        added = {name: getattr(self.counts, name) + value for name, value in more.items()}
        self.counts = replace(self.counts, **added)
        if self.progress is not None:
            self.progress(self.counts)


@dataclass(kw_only=True)
class _Connection:
    """What belongs to one event loop."""

    client: AsyncOpenAI
    slots: asyncio.Semaphore
    in_flight: dict[str, asyncio.Future[None]]
    replied: bool = False
    failures_in_a_row: int = 0
    allowed_at: float = 0.0

    def hold_back(self, seconds: float) -> None:
        self.allowed_at = max(self.allowed_at, time.monotonic() + seconds)

    async def wait_until_allowed(self) -> None:
        while (wait := self.allowed_at - time.monotonic()) > 0:  # noqa: ASYNC110 - it may be moved on meanwhile
            await asyncio.sleep(wait)


def _reply_of(request_id: str, record: Mapping[str, Any], *, cached: bool) -> Reply:
    return Reply(request_id=request_id, text=str(record["reply"]), outcome=str(record["outcome"]), cached=cached)
