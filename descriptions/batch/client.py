"""A chat client that asks by the batch: what is asked at one time goes out together, once, and waits for its end."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Any, Self

from evenly.descriptions.batch.collection import follow, reconcile
from evenly.descriptions.batch.endpoint import BatchEndpoint
from evenly.descriptions.batch.files import MOST_BYTES, MOST_REQUESTS, RequestFailure
from evenly.descriptions.batch.intents import BatchState, BatchStore
from evenly.descriptions.batch.submission import BatchPace, BatchWork
from evenly.descriptions.chat.budget import Budget
from evenly.descriptions.chat.client import Counts, Reply, RequestStore, reply_of
from evenly.descriptions.chat.dialect import Dialect
from evenly.descriptions.chat.endpoint import Endpoint, Prices
from evenly.descriptions.chat.request import ChatRequest, content_address
from evenly.descriptions.chat.retries import pause_s
from evenly.descriptions.errors import BatchCancelledError, BudgetExceededError, EndpointError, RequestFailedError

# The asks that wait for a batch: each ends with a stored record or an error.

Record = Mapping[str, Any]


@dataclass(kw_only=True)
class Asks:
    """What has been asked in one event loop and is not answered yet, by request id."""

    newcomers: dict[str, ChatRequest] = field(default_factory=dict)
    waiting: dict[str, asyncio.Future[Record]] = field(default_factory=dict)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    came_at: float = 0.0

    async def wait_for(self, request_id: str, request: ChatRequest) -> Record:
        """The record of a request, once there is one. Whoever else waits for it is not disturbed by a cancelled ask."""
        if request_id not in self.waiting:
            loop = asyncio.get_running_loop()
            future: asyncio.Future[Record] = loop.create_future()
            future.add_done_callback(lambda done: self._forget(request_id, done))
            self.waiting[request_id] = future
            self.newcomers[request_id] = request
            self.came_at = loop.time()
            self.came.set()
        return await asyncio.shield(self.waiting[request_id])

    async def gather(self, quiet_s: float) -> dict[str, ChatRequest]:
        """All that has been asked since the last call, once there is something and nothing more comes for `quiet_s`."""
        await self.came.wait()
        loop = asyncio.get_running_loop()
        while (pause := self.came_at + quiet_s - loop.time()) > 0:  # noqa: ASYNC110 - it is moved on meanwhile
            await asyncio.sleep(pause)
        gathered, self.newcomers = self.newcomers, {}
        self.came.clear()
        return gathered

    def answer(self, request_id: str, record: Record) -> None:
        """End the asks for a request with its record."""
        if (future := self.waiting.get(request_id)) is not None and not future.done():
            future.set_result(record)

    def fail(self, request_ids: Iterable[str], error: BaseException) -> None:
        """End the asks for requests with an error."""
        for one in request_ids:
            if (future := self.waiting.get(one)) is not None and not future.done():
                future.set_exception(error)

    def close(self) -> None:
        """End all asks: nobody waits any more."""
        for future in list(self.waiting.values()):
            future.cancel()

    def _forget(self, request_id: str, done: "asyncio.Future[Record]") -> None:
        self.waiting.pop(request_id, None)
        if not done.cancelled():
            done.exception()  # marks it as seen: the asker may be gone


_NO_REPLY = RequestFailure(reason="no_reply", detail="no batch had a line about this request")


class BatchChatClient:
    """Asks one endpoint through its Batch API; use it like client.ChatClient, which it can stand in for.

    Requests are collected until none has come for `quiet_s` seconds and sent as one batch, or several where the limits
    ask for it. Those without a reply at its end are submitted again, alone, `submissions` times in all. Batches that an
    earlier run, or another process, has submitted for the same requests are taken up, never submitted twice.

    `prices`, or those of a `budget`, are for single requests: a batch costs `batch_price_factor` of them (0.5 at
    OpenAI, 2026). The budget sets the most that each request can cost aside before its batch is submitted. A wave of
    `give_up_after` requests and more of which none gets a reply gives the endpoint up. `class_list` is who asks, for
    the list of batches. `progress` is called with the counts after each change, `say` with a line for people.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        store: RequestStore,
        batches: BatchStore,
        class_list: str = "",
        quiet_s: float = 0.5,
        submissions: int = 3,
        give_up_after: int = 8,
        timeout_s: float = 60.0,
        attempts: int = 6,
        pace: BatchPace | None = None,
        prices: Prices | None = None,
        batch_price_factor: float = 0.5,
        budget: Budget | None = None,
        most_requests: int = MOST_REQUESTS,
        most_bytes: int = MOST_BYTES,
        progress: Callable[[Counts], None] | None = None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.endpoint = endpoint
        self.store = store
        self.quiet_s = quiet_s
        self.submissions = submissions
        self.give_up_after = give_up_after
        self.progress = progress
        self.counts = Counts()
        self._sent: set[str] = set()
        self._asks: Asks | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._followed: dict[str, BatchState] = {}
        single = budget.prices if budget is not None else prices or Prices()
        batch = Prices(
            prompt_usd=single.prompt_usd * batch_price_factor, completion_usd=single.completion_usd * batch_price_factor
        )
        self._work = BatchWork(
            api=BatchEndpoint(endpoint=endpoint, timeout_s=timeout_s, attempts=attempts),
            replies=store,
            batches=batches,
            class_list=class_list,
            prices=batch,
            budget=budget and Budget(budget.limit_usd, batch, budget.spending),
            dialect=Dialect(token_limit=endpoint.token_limit),
            pace=pace or BatchPace(),
            most_requests=most_requests,
            most_bytes=most_bytes,
            say=say,
        )

    async def __aenter__(self) -> Self:
        reconcile(self._work)
        await self._work.api.__aenter__()
        self._asks = Asks()
        self._work.closing = False
        self._tasks = {asyncio.create_task(self._collect(self._asks))}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._work.closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._asks is not None:
            self._asks.close()
        self._asks = None
        await self._work.api.__aexit__(kind, error, trace)
        for state in self._followed.values():
            self._work.say(
                f"batch {state.batch_id} goes on at the endpoint. Run the same command again to take it up, or give it "
                f"up: evenly batches cancel {state.intent.id[:12]}"
            )
        self._followed.clear()

    def request_id(self, request: ChatRequest) -> str:
        """The address of a request at this client's endpoint, 64 hex digits; the same as a ChatClient's."""
        return content_address(request.content(identity=self.endpoint.identity, model=self.endpoint.model))

    async def ask(self, request: ChatRequest) -> Reply:
        """The stored reply, or the one of a batch, which is stored before it is returned.

        Raises RequestFailedError where this request gets no reply; EndpointError, BatchCancelledError or
        BudgetExceededError where others will not get one either. Equal requests at the same time are sent once.
        """
        asks = self._asks
        if asks is None:
            raise RuntimeError("a BatchChatClient must be entered before it is asked. Write `async with client:`.")
        request_id = self.request_id(request)
        first = request_id not in asks.waiting
        record = self.store.get(request_id) if first else None
        cached = not first or record is not None
        record = record or await asks.wait_for(request_id, request)
        self._count(cache_hits=int(cached))
        return reply_of(request_id, record, cached=cached)

    async def _collect(self, asks: Asks) -> None:
        """Send off what has been asked, each time nothing more has come for a while."""
        while True:
            requests = await asks.gather(self.quiet_s)
            wave = asyncio.create_task(self._wave(asks, requests))
            self._tasks.add(wave)
            wave.add_done_callback(partial(self._end, asks, requests))

    def _end(self, asks: Asks, requests: Mapping[str, ChatRequest], wave: "asyncio.Task[None]") -> None:
        """Pass on what broke a wave to all that wait for it."""
        self._tasks.discard(wave)
        if not wave.cancelled() and (error := wave.exception()) is not None:
            asks.fail(requests, error)

    async def _wave(self, asks: Asks, requests: Mapping[str, ChatRequest]) -> None:
        """Answer all of `requests`, by a reply or an error."""
        left = dict(requests)
        failed: dict[str, RequestFailure] = {}
        refused: dict[str, BudgetExceededError] = {}
        failures: dict[str, RequestFailure] = {}
        number = 1
        while left and number <= self.submissions:
            submitted = await self._work.submit(left)
            self._count_sent(submitted.sent)
            refused |= submitted.refused
            failures, learnt = await self._follow(asks, submitted.states, number=number)
            left = {one: left[one] for one in self._unanswered(asks, left) if one not in refused}
            if learnt:
                continue
            failed |= {one: failures[one] for one in left if one in failures and not failures[one].again}
            left = {one: request for one, request in left.items() if one not in failed}
            if left and number < self.submissions:
                await asyncio.sleep(pause_s(attempt=number, request_id=min(left), retry_after_s=None))
            number += 1
        failed |= {one: failures.get(one, _NO_REPLY) for one in left}
        self._fail(asks, failed, answered=len(failed) + len(refused) < len(requests))
        for one, error in refused.items():
            asks.fail([one], error)

    async def _follow(
        self, asks: Asks, states: Iterable[BatchState], *, number: int
    ) -> tuple[dict[str, RequestFailure], bool]:
        """Wait for batches side by side, and answer the requests of each when it is collected.

        Why other requests have no reply, and whether they may get one in the dialect that was learnt from that.
        """
        missing: dict[str, RequestFailure] = {}
        learnt = False

        async def one(state: BatchState) -> None:
            nonlocal learnt
            self._followed[state.intent.id] = state
            collected = await follow(self._work, state, attempts=number)
            del self._followed[state.intent.id]
            for record in collected.new:
                self._count(**record["usage"], cost_usd=record["cost_usd"])
            self._count(lost_attempts=len(collected.lost), lost_usd=collected.lost_usd)
            missing.update(collected.missing)
            learnt = learnt or collected.learnt
            if self._unanswered(asks, state.request_ids) and collected.status == "cancelled":
                raise BatchCancelledError(
                    f"batch {state.batch_id} must run to its end; it was cancelled. The {len(collected.new):,} replies "
                    "it brought are stored. Run again to ask the rest."
                )

        try:
            async with asyncio.TaskGroup() as group:
                for state in states:
                    group.create_task(one(state))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return missing, learnt

    def _unanswered(self, asks: Asks, request_ids: Iterable[str]) -> list[str]:
        """Answer the requests whose reply is stored; the others."""
        left = []
        for one in request_ids:
            if (record := self.store.get(one)) is None:
                left.append(one)
            else:
                asks.answer(one, record)
        return left

    def _fail(self, asks: Asks, failed: Mapping[str, RequestFailure], *, answered: bool) -> None:
        self._count(failed=len(failed))
        for one, failure in failed.items():
            hopeless = failure.whole or (not answered and len(failed) >= self.give_up_after)
            alone = RequestFailedError(failure.reason, failure.detail, passing=failure.again)
            asks.fail([one], _given_up(failure, len(failed)) if hopeless else alone)

    def _count_sent(self, request_ids: Sequence[str]) -> None:
        self._count(attempts=len(request_ids), requests_sent=len(set(request_ids) - self._sent))
        self._sent.update(request_ids)

    def _count(self, **more: float) -> None:
        added = {name: getattr(self.counts, name) + value for name, value in more.items()}
        self.counts = replace(self.counts, **added)
        if self.progress is not None:
            self.progress(self.counts)


def _given_up(failure: RequestFailure, number: int) -> EndpointError:
    return EndpointError(
        f"the endpoint must answer batches; {number:,} requests got no reply, by the last batch for {failure.reason}: "
        f"{failure.detail}. Run again later, or without --batch: replies so far are stored."
    )
