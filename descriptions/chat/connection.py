"""What a chat client keeps while it is entered, and what it keeps of one attempt."""

import asyncio
import uuid
from dataclasses import dataclass, field

from evenly.descriptions.chat.attempts import ChatEndpoint
from evenly.descriptions.chat.dialect import Dialect
from evenly.descriptions.chat.pacing import Pacing
from evenly.descriptions.chat.request import ChatRequest
from evenly.descriptions.chat.retries import Failure


@dataclass(kw_only=True)
class Attempt:
    """One try of a request: when the first began, and how it is put, which is settled when it leaves.

    `nonce` tells it from others of the request.
    """

    request_id: str
    request: ChatRequest
    dialect: Dialect
    started: float
    nonce: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def id(self) -> str:
        """Its name in the book, and in the record of its reply: see Budget.settle_stored."""
        return f"{self.request_id}:{self.nonce}"


@dataclass(kw_only=True)
class Connection:
    """What belongs to one event loop. `in_flight` holds requests that are being asked, by id."""

    endpoint: ChatEndpoint
    pacing: Pacing
    dialect: Dialect
    in_flight: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    replied: bool = False
    failures_in_a_row: int = 0

    def learns(self, failure: Failure, attempt: Attempt) -> bool:
        """Whether the request can be put in another way after what the endpoint refused."""
        self.dialect = self.dialect.without(failure.refused, used=attempt.dialect)
        if not failure.refused:
            return False
        put, put_again = (one.arguments(attempt.request, model="") for one in (attempt.dialect, self.dialect))
        return put != put_again
