"""A tiny OpenAI-compatible server on loopback that answers as it is told and counts what it is asked."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from descriptions.client import ChatClient
from descriptions.endpoint import Endpoint
from descriptions.grounding import Grounding
from storage.wordnet import load_noun_synsets


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False  # close the connection without an answer
    delay_s: float = 0.0


@dataclass(kw_only=True)
class TinyServer:
    """`answer` gets the request's JSON and how often the same body came before, and gives the Answer."""

    url: str
    answer: Callable[[Mapping[str, Any], int], Answer] = field(default=lambda _request, _before: TinyServer.good())
    requests: list[Mapping[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    running: int = 0
    most_running: int = 0

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(base_url=self.url, model="tiny")

    @staticmethod
    def good() -> Answer:
        phrases = ("has a long striped tail", "has four short legs", "has thick orange fur", "has round green eyes")
        return TinyServer.features(*phrases)

    @staticmethod
    def completion(content: str | None, *, finish_reason: str = "stop", refusal: str | None = None) -> Answer:
        message = {"role": "assistant", "content": content, "refusal": refusal}
        return Answer(
            body=json.dumps(
                {
                    "id": "1",
                    "object": "chat.completion",
                    "created": 1,
                    "model": "tiny-2026",
                    "system_fingerprint": "f1",
                    "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
                    "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30},
                }
            )
        )

    @staticmethod
    def features(*phrases: str) -> Answer:
        return TinyServer.completion(json.dumps({"features": phrases}))

    @staticmethod
    def failure(status: int, message: str = "no", *, code: str | None = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = json.dumps({"error": {"message": message, "type": "x", "code": code}})
        return Answer(status=status, body=body, headers=named)


@pytest.fixture
def server() -> Iterator[TinyServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as http:
        http.tiny = TinyServer(url=f"http://127.0.0.1:{http.server_port}/v1")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield http.tiny
        http.shutdown()
        thread.join()


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
    return ChatClient(server.endpoint, store=replies, concurrency=4, timeout_s=5.0, attempts=3)


@pytest.fixture(scope="session")
def grounding() -> Grounding:
    return Grounding(load_noun_synsets())


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        tiny = self.server.tiny
        body = self.rfile.read(int(self.headers["content-length"]))
        request = json.loads(body)
        with tiny.lock:
            before = tiny.seen[body.decode()]
            tiny.seen[body.decode()] += 1
            tiny.requests.append(request)
            tiny.headers.append(dict(self.headers))
            tiny.running += 1
            tiny.most_running = max(tiny.most_running, tiny.running)
        answer = tiny.answer(request, before)
        threading.Event().wait(answer.delay_s)
        with tiny.lock:
            tiny.running -= 1
        if answer.cut:
            self.connection.close()
            return
        try:
            self.send_response(answer.status)
            for name, value in {"content-type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body.encode())))
            self.end_headers()
            self.wfile.write(answer.body.encode())
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *_arguments: object):
        pass
