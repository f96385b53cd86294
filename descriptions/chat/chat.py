"""The protocol of a chat: requests sent one by one (ChatClient), or many at a time (BatchChatClient)."""

from types import TracebackType
from typing import Protocol, Self

from evenly.descriptions.chat.client import ClientCounts, Reply
from evenly.descriptions.chat.request import ChatRequest


class Chat(Protocol):
    """Answers requests to one model, each once. It is entered before it is asked, and may be entered again."""

    @property
    def counts(self) -> ClientCounts:
        """The counts so far."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def request_id(self, request: ChatRequest) -> str:
        """The address of a request, 64 hex digits."""

    async def ask(self, request: ChatRequest) -> Reply:
        """The stored reply, or a new one; raises RequestFailedError or EndpointError."""
