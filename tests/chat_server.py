"""A tiny OpenAI-compatible server on loopback that answers as it is told and counts what it is asked."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from evenly.descriptions.chat.endpoint import Endpoint


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False  # close the connection without an answer
    sent: int | None = None  # close it after so many bytes of the body
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


@contextmanager
def tiny_server() -> Iterator[TinyServer]:
    with _Server(("127.0.0.1", 0), _Handler) as http:
        http.tiny = TinyServer(url=f"http://127.0.0.1:{http.server_port}/v1")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield http.tiny
        finally:
            http.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    request_queue_size = 256  # some systems reset connections that find no place


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
            length = str(len(answer.body.encode()))
            named = {"content-type": "application/json", "content-length": length, **answer.headers}
            for name, value in named.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body.encode()[: answer.sent])
            self.close_connection = (
                self.close_connection or answer.sent is not None or named["content-length"] != length
            )
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *_arguments: object):
        pass
