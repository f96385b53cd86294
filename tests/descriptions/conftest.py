"""A chat server that counts, a store for its replies and a client between them."""

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from evenly.curation.concepts.equal_entries import IRREGULAR_PLURALS
from evenly.descriptions.chat.client import ChatClient
from evenly.descriptions.chat.retries import RetryRule
from evenly.descriptions.texts.grounding import Grounding
from evenly.storage.files.wordnets import load_noun_synsets
from tests.chat_server import TinyServer, tiny_server


@pytest.fixture
def server() -> Iterator[TinyServer]:
    with tiny_server() as tiny:
        yield tiny


@dataclass
class Replies:
    """A RequestStore in memory."""

    records: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def get(self, request_id: str) -> Mapping[str, Any] | None:
        return self.records.get(request_id)

    def put(self, request_id: str, record: Mapping[str, Any]) -> None:
        json.dumps(record)
        self.records.setdefault(request_id, record)


@pytest.fixture
def replies() -> Replies:
    return Replies()


@dataclass
class Book:
    """A Spending in memory."""

    open: dict[str, float] = field(default_factory=dict)
    settled: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reserve(self, entry_id: str, usd: float, *, limit_usd: float | None = None) -> bool:
        with self.lock:
            assert entry_id not in self.settled
            if limit_usd is not None and self.total() + usd > limit_usd:
                return False
            self.open.setdefault(entry_id, usd)
            return True

    def settle(self, entry_id: str, usd: float) -> None:
        with self.lock:
            if entry_id not in self.settled:
                del self.open[entry_id]
                self.settled[entry_id] = usd

    def total(self) -> float:
        return sum(self.settled.values()) + sum(self.open.values())

    def lost(self) -> list[tuple[str, float]]:
        return list(self.open.items())


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def client(server, replies) -> ChatClient:
    return ChatClient(server.endpoint, store=replies, concurrency=4, retries=RetryRule(timeout_s=5.0, attempts=3))


@pytest.fixture(scope="session")
def grounding() -> Grounding:
    return Grounding(load_noun_synsets(), plurals=IRREGULAR_PLURALS)
