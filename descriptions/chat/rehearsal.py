"""A chat that answers from the store alone, and notes the questions that it would have to ask."""

from dataclasses import replace
from types import TracebackType
from typing import Self

from evenly.descriptions.chat.client import ClientCounts, Reply, RequestStore, reply_of
from evenly.descriptions.chat.request import ChatRequest, content_address
from evenly.descriptions.errors import RequestFailedError

NOT_STORED = "not_stored"


class Rehearsal:
    """A Chat without an endpoint: a request without a stored reply fails for the reason not_stored.

    `requests` holds all that it was asked, by id; `completion_tokens` those of the stored replies among them.
    """

    def __init__(self, *, identity: str, model: str, store: RequestStore) -> None:
        self.identity, self.model, self.store = identity, model, store
        self.counts = ClientCounts()
        self.requests: dict[str, ChatRequest] = {}
        self.completion_tokens: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""

    def request_id(self, request: ChatRequest) -> str:
        """The address of a request at the endpoint."""
        return content_address(request.content(identity=self.identity, model=self.model))

    def question(self, request_id: str) -> str:
        """The address that samples of one question share: that of the first."""
        return self.request_id(replace(self.requests[request_id], sample=0))

    async def ask(self, request: ChatRequest) -> Reply:
        """The stored reply; raises RequestFailedError where there is none."""
        request_id = self.request_id(request)
        self.requests[request_id] = request
        record = self.store.get(request_id)
        if record is None:
            raise RequestFailedError(NOT_STORED, f"request {request_id} has no stored reply")
        self.completion_tokens[request_id] = int(record.get("usage", {}).get("completion_tokens", 0))
        return reply_of(request_id, record, cached=True)
