"""Pacing of requests: how many at a time, after which pause, and none once the endpoint is given up."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NoReturn, Protocol, TypeVar

from evenly.descriptions.errors import BudgetExceededError, DescriptionsError

Result = TypeVar("Result")
Purse = tuple[Callable[[], object], Callable[[], object]]
"""What sets money aside for an attempt, and what gives it back."""


class EndpointLimits(Protocol):
    """Limits of requests to an endpoint that are under way at a time, which other runs keep as well."""

    def ask(self, host: str) -> Callable[[], None] | float:
        """A place for one request, as the function that gives it back; or seconds, after which to ask again."""


@dataclass(kw_only=True)
class Pacing:
    """The order of attempts of one client in one event loop.

    An attempt is open from the moment money is set aside for it until its reply is stored. At most `concurrency` of
    them are at the endpoint or about to leave for it; three times as many are being stored meanwhile, in threads, since
    a disk takes its time to say that something is there to stay.
    """

    concurrency: int
    _open: int = 0
    _ended: int = 0
    _allowed_at: float = 0.0
    _stopped: DescriptionsError | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.slots = asyncio.Semaphore(self.concurrency)
        self.places = asyncio.Semaphore(4 * self.concurrency)
        self._threads = ThreadPoolExecutor(min(32, 4 * self.concurrency), thread_name_prefix="descriptions")

    def close(self) -> None:
        """Return when everything handed to the threads is done."""
        self._threads.shutdown(wait=True)

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """The result of `work`, which is done to its end even where the one who waits for it is cancelled."""
        return await _shielded(asyncio.get_running_loop().run_in_executor(self._threads, work))

    @contextlib.asynccontextmanager
    async def attempt(self, purse: Purse | None) -> AsyncIterator[None]:
        """An open attempt, for which money of `purse` is set aside, and given back if this is cancelled first.

        Where it does not fit, it waits: most attempts cost less than was set aside, and make room when they end.
        Where it does not fit and no other is open, the budget is spent: raises BudgetExceededError, now and for all.
        """
        await self._opened(purse)
        try:
            yield
        finally:
            self._end()

    async def stop(self, error: DescriptionsError) -> NoReturn:
        """Let no attempt start any more, wait until the open ones have ended, and raise the error.

        What is at the endpoint is paid for: it is received and stored before anybody learns that this is the end.
        """
        self._stopped = self._stopped or error
        self._tell()
        while self._open:
            await self._changed.wait()
        raise self._stopped

    @contextlib.asynccontextmanager
    async def place(self, limits: EndpointLimits | None, host: str) -> AsyncIterator[None]:
        """A place that others have to leave free, as soon as there is one or no attempt may start any more."""
        give_back: Callable[[], None] | float = 0.0
        while limits is not None and not callable(give_back) and not self.stopped:
            asking = self._threads.submit(limits.ask, host)
            try:
                give_back = await _shielded(asyncio.wrap_future(asking))
            except asyncio.CancelledError:
                asking.add_done_callback(_give_back)
                raise
            if not callable(give_back):
                await self.pause(give_back)
        try:
            yield
        finally:
            if callable(give_back):
                await self.in_thread(give_back)

    def hold_back(self, seconds: float) -> None:
        """Let no attempt start for this long."""
        self._allowed_at = max(self._allowed_at, time.monotonic() + seconds)

    async def until_allowed(self) -> None:
        """Return when an attempt may start, or none may any more."""
        while (wait := self._allowed_at - time.monotonic()) > 0 and self._stopped is None:
            await self.pause(wait)

    async def pause(self, seconds: float) -> None:
        """Sleep, at most until no attempt may start any more."""
        deadline = time.monotonic() + seconds
        while (wait := deadline - time.monotonic()) > 0 and self._stopped is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    @property
    def stopped(self) -> bool:
        """Whether no attempt may start any more."""
        return self._stopped is not None

    async def _opened(self, purse: Purse | None) -> None:
        while True:
            await self.until_allowed()
            if self._stopped is not None:
                await self.stop(self._stopped)
            ended = self._ended
            self._open += 1
            if purse is None:
                return
            setting_aside = self._threads.submit(purse[0])
            try:
                await _shielded(asyncio.wrap_future(setting_aside))
            except BudgetExceededError as error:
                self._open -= 1
                if self._ended == ended:
                    if not self._open:
                        await self.stop(error)
                    await self._changed.wait()
            except asyncio.CancelledError:
                setting_aside.add_done_callback(lambda done: None if done.exception() else purse[1]())
                self._end()
                raise
            except BaseException:
                self._end()
                raise
            else:
                return

    def _end(self) -> None:
        self._open -= 1
        self._ended += 1
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _give_back(future: Future[Callable[[], None] | float]) -> None:
    """Give a place back that nobody waits for any more."""
    if not future.cancelled() and future.exception() is None and callable(give_back := future.result()):
        give_back()


def _shielded(work: asyncio.Future[Result]) -> asyncio.Future[Result]:
    """`asyncio.shield(work)`, without asyncio's traceback where `work` fails after its waiter was cancelled.

    A waiter is cancelled because something else ended the run, which is what the user is told.
    """
    work.add_done_callback(lambda done: done.cancelled() or done.exception())
    return asyncio.shield(work)
