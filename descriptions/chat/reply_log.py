"""A chat that records its replies, so that it can be said of a class list how they were made."""

from collections import Counter
from types import TracebackType
from typing import Self

from evenly.descriptions.chat.chat import Chat
from evenly.descriptions.chat.client import ClientCounts, Reply
from evenly.descriptions.chat.request import ChatRequest
from evenly.descriptions.errors import RequestFailedError


class RecordingChat:
    """A Chat that passes everything on, and records each reply, and which requests may be answered another time."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._replies: dict[str, Reply] = {}
        self._unanswered: dict[str, str] = {}

    @property
    def counts(self) -> ClientCounts:
        """The counts of the chat so far."""
        return self._chat.counts

    async def __aenter__(self) -> Self:
        await self._chat.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._chat.__aexit__(kind, error, trace)

    def request_id(self, request: ChatRequest) -> str:
        """The address of a request."""
        return self._chat.request_id(request)

    async def ask(self, request: ChatRequest) -> Reply:
        """The chat's reply."""
        try:
            reply = await self._chat.ask(request)
        except RequestFailedError as error:
            if error.passing:
                self._unanswered[self.request_id(request)] = error.reason
            raise
        self._replies[reply.request_id] = reply
        return reply

    def facts(self) -> dict[str, dict[str, int]]:
        """Replies by the model that says it answered, by how they were held to their schema, by what is not promised.

        Stored replies count like new ones: `answered_by`, `structured`, `unpromised`, each name -> number of replies. A
        reply counts under each thing that keeps it from being drawn again just so (dialect.unpromised). `unanswered`,
        reason -> number of requests, are those without a reply that may get one another time.
        """
        replies = self._replies.values()
        counters = {
            "answered_by": Counter(reply.answered_by for reply in replies if reply.answered_by),
            "structured": Counter(reply.structured for reply in replies if reply.structured),
            "unpromised": Counter(name for reply in replies for name in reply.unpromised),
            "unanswered": Counter(self._unanswered.values()),
        }
        return {name: dict(sorted(counter.items())) for name, counter in counters.items()}
