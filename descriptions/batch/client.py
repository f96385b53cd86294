"""A chat client that asks by the batch: requests of one moment are sent together, once, and wait for its end."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self

from evenly.descriptions.batch.collection import follow, reconcile
from evenly.descriptions.batch.files import RequestFailure
from evenly.descriptions.batch.intents import BatchState
from evenly.descriptions.batch.submission import BatchWork
from evenly.descriptions.chat.client import ClientCounts, Reply, reply_of
from evenly.descriptions.chat.request import ChatRequest, content_address
from evenly.descriptions.chat.retries import pause_s
from evenly.descriptions.errors import BatchCancelledError, BudgetExceededError, EndpointError, RequestFailedError

Record = Mapping[str, Any]


@dataclass(kw_only=True)
class RequestQueue:
    """The requests of one event loop that wait for a batch, by id: each ends with a stored record or an error."""

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
        """Hand its record to all who wait for a request."""
        if (future := self.waiting.get(request_id)) is not None and not future.done():
            future.set_result(record)

    def fail(self, request_ids: Iterable[str], error: BaseException) -> None:
        """Raise an error for all who wait for these requests."""
        for request_id in request_ids:
            if (future := self.waiting.get(request_id)) is not None and not future.done():
                future.set_exception(error)

    def close(self) -> None:
        """Cancel all that waits: nobody asks any more."""
        for future in list(self.waiting.values()):
            future.cancel()

    def _forget(self, request_id: str, done: "asyncio.Future[Record]") -> None:
        self.waiting.pop(request_id, None)
        if not done.cancelled():
            done.exception()  # marks it as seen: the asker may be gone


_NO_REPLY = RequestFailure(reason="no_reply", detail="no batch had a line about this request")


class BatchChatClient:
    """Asks one endpoint through its Batch API; use it like ChatClient, which it can stand in for.

    Requests are collected until none has come for `quiet_s` seconds and sent as one batch, or several where the limits
    ask for it. Those without a reply at its end are submitted again, alone, `submissions` times in all. Batches that an
    earlier run, or another process, has submitted for the same requests are taken up, never submitted twice.

    A wave of `give_up_after` requests and more of which none gets a reply gives the endpoint up. `progress` is called
    with the counts after each change.
    """

    def __init__(
        self,
        work: BatchWork,
        *,
        quiet_s: float = 0.5,
        submissions: int = 3,
        give_up_after: int = 8,
        progress: Callable[[ClientCounts], None] | None = None,
    ) -> None:
        self.endpoint = work.api.endpoint
        self.store = work.replies
        self.quiet_s = quiet_s
        self.submissions = submissions
        self.give_up_after = give_up_after
        self.progress = progress
        self.counts = ClientCounts()
        self._sent: set[str] = set()
        self._queue: RequestQueue | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._followed: dict[str, BatchState] = {}
        self._work = work

    async def __aenter__(self) -> Self:
        reconcile(self._work)
        await self._work.api.__aenter__()
        self._queue = RequestQueue()
        self._work.closing = False
        self._tasks = {asyncio.create_task(self._collect(self._queue))}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._work.closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._queue is not None:
            self._queue.close()
        self._queue = None
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
        queue = self._queue
        if queue is None:
            raise RuntimeError("a BatchChatClient must be entered before it is asked. Write `async with client:`.")
        request_id = self.request_id(request)
        first = request_id not in queue.waiting
        record = self.store.get(request_id) if first else None
        cached = not first or record is not None
        record = record or await queue.wait_for(request_id, request)
        self._count(cache_hits=int(cached))
        return reply_of(request_id, record, cached=cached)

    async def _collect(self, queue: RequestQueue) -> None:
        """Send off the questions, each time no more have come for a while."""
        while True:
            requests = await queue.gather(self.quiet_s)
            wave = asyncio.create_task(self._wave(queue, requests))
            self._tasks.add(wave)
            wave.add_done_callback(partial(self._end, queue, requests))

    def _end(self, queue: RequestQueue, requests: Mapping[str, ChatRequest], wave: "asyncio.Task[None]") -> None:
        """Pass on the error that broke a wave to all that wait for it."""
        self._tasks.discard(wave)
        if not wave.cancelled() and (error := wave.exception()) is not None:
            queue.fail(requests, error)

    async def _wave(self, queue: RequestQueue, requests: Mapping[str, ChatRequest]) -> None:
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
            failures, learnt = await self._follow(queue, submitted.states, number=number)
            left = {
                request_id: left[request_id]
                for request_id in self._unanswered(queue, left)
                if request_id not in refused
            }
            if learnt:
                continue
            failed |= {
                request_id: failures[request_id]
                for request_id in left
                if request_id in failures and not failures[request_id].retriable
            }
            left = {request_id: request for request_id, request in left.items() if request_id not in failed}
            if left and number < self.submissions:
                await asyncio.sleep(pause_s(attempt=number, request_id=min(left), retry_after_s=None))
            number += 1
        failed |= {request_id: failures.get(request_id, _NO_REPLY) for request_id in left}
        self._fail(queue, failed, answered=len(failed) + len(refused) < len(requests))
        for request_id, error in refused.items():
            queue.fail([request_id], error)

    async def _follow(
        self, queue: RequestQueue, states: Iterable[BatchState], *, number: int
    ) -> tuple[dict[str, RequestFailure], bool]:
        """Wait for batches side by side, and answer the requests of each when it is collected.

        Why other requests have no reply, and whether they may get one in the dialect that was learnt from that.
        """
        missing: dict[str, RequestFailure] = {}
        learnt = False

        async def follow_one(state: BatchState) -> None:
            nonlocal learnt
            self._followed[state.intent.id] = state
            collected = await follow(self._work, state, attempts=number)
            del self._followed[state.intent.id]
            for record in collected.new:
                self._count(**record["usage"], cost_usd=record["cost_usd"])
            self._count(lost_attempts=len(collected.lost), lost_usd=collected.lost_usd)
            missing.update(collected.missing)
            learnt = learnt or collected.learnt
            if self._unanswered(queue, state.request_ids) and collected.status == "cancelled":
                raise BatchCancelledError(
                    f"batch {state.batch_id} must run to its end; it was cancelled. The {len(collected.new):,} replies "
                    "it brought are stored. Run again to ask the rest."
                )

        try:
            async with asyncio.TaskGroup() as group:
                for state in states:
                    group.create_task(follow_one(state))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return missing, learnt

    def _unanswered(self, queue: RequestQueue, request_ids: Iterable[str]) -> list[str]:
        """Answer the requests whose reply is stored; the others."""
        left = []
        for request_id in request_ids:
            if (record := self.store.get(request_id)) is None:
                left.append(request_id)
            else:
                queue.answer(request_id, record)
        return left

    def _fail(self, queue: RequestQueue, failed: Mapping[str, RequestFailure], *, answered: bool) -> None:
        self._count(failed=len(failed))
        for request_id, failure in failed.items():
            hopeless = failure.whole_batch or (not answered and len(failed) >= self.give_up_after)
            error = RequestFailedError(failure.reason, failure.detail, passing=failure.retriable)
            queue.fail([request_id], _given_up(failure, len(failed)) if hopeless else error)

    def _count_sent(self, request_ids: Sequence[str]) -> None:
        self._count(attempts=len(request_ids), requests_sent=len(set(request_ids) - self._sent))
        self._sent.update(request_ids)

    def _count(self, **increments: float) -> None:
        self.counts = self.counts.plus(**increments)
        if self.progress is not None:
            self.progress(self.counts)


def _given_up(failure: RequestFailure, number: int) -> EndpointError:
    return EndpointError(
        f"the endpoint must answer batches; {number:,} requests got no reply, by the last batch for {failure.reason}: "
        f"{failure.detail}. Run again later, or without --batch: replies so far are stored.",
        passing=failure.retriable,
    )
