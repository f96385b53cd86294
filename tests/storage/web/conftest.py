"""A small web of the tests' own: a real HTTP server on a loopback port that does what the web does."""

import io
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from PIL import Image

HOST = "pictures.test"


def picture(seed: int = 0, kind: str = "PNG", size: tuple[int, int] = (24, 16)) -> bytes:
    """The bytes of a small picture; another seed gives other bytes."""
    stream = io.BytesIO()
    image = Image.new("RGB", size, (seed % 256, seed // 256 % 256, 77))
    image.putpixel((1, 1), (200, seed % 251, 3))
    image.save(stream, kind)
    return stream.getvalue()


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "image/png"),)
    drip_s: float = 0.0
    claimed_length: int | None = None


@dataclass
class Web:
    """Answers by path, or by host and path; either may have several, given in turn, the last for good."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    fallback: Callable[[str], Answer | None] = lambda _: None
    asked: Counter[str] = field(default_factory=Counter)
    agents: set[str] = field(default_factory=set)
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, path: str, *answers: Answer) -> str:
        self.answers[path] = list(answers)
        return f"http://{HOST}{path}"

    @property
    def connect(self) -> dict[str, str]:
        return {HOST: f"127.0.0.1:{self.port}", "other.test": f"127.0.0.1:{self.port}"}

    def answer(self, path: str, agent: str, host: str = "") -> Answer:
        with self.lock:
            self.asked[path] += 1
            self.agents.add(agent)
            queue = self.answers.get(host + path) or self.answers.get(path)
            if queue:
                return queue.pop(0) if len(queue) > 1 else queue[0]
        return self.fallback(path) or Answer(404, b"nothing here", (("Content-Type", "text/plain"),))


class _Handler(BaseHTTPRequestHandler):
    web: Web

    def do_GET(self) -> None:
        answer = self.web.answer(
            urlsplit(self.path).path, self.headers.get("User-Agent", ""), self.headers.get("Host", "")
        )
        try:
            self._send(answer)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        length = len(answer.body) if answer.claimed_length is None else answer.claimed_length
        if length >= 0:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        step = 1 if answer.drip_s else max(1, len(answer.body))
        for start in range(0, len(answer.body), step):
            self.wfile.write(answer.body[start : start + step])
            self.wfile.flush()
            time.sleep(answer.drip_s)

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        """A client that goes away is no news here."""


@contextmanager
def serve() -> Iterator[Web]:
    served = Web()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": served}))
    served.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as served:
        yield served
