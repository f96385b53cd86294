"""The asks that wait for a batch: each ends with a stored record or an error."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evenly.descriptions.chat.request import ChatRequest

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
