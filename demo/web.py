"""A threaded HTTP server on one loopback port that answers as every host of the demo's web, by the Host header."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet as pq

from evenly.demo.answers import CLOSED_HOST, ROBOTS, Answer, read_answers
from evenly.demo.errors import FolderError

ANSWERS_FILE = "web.parquet"
_BLOCK = bytes(2**18)


@contextlib.contextmanager
def loopback_web(folder: Path) -> Iterator[dict[str, str]]:
    """Serve the web that `make_demo` made in `folder` while the context lasts.

    Yields the connect map, host name -> "127.0.0.1:PORT", of all hosts that resolve. The closed host's port is held but
    refuses connections. Nothing is written, and each context starts anew (so a busy host is busy once again).
    """
    server = _Server(folder, _load(folder))
    serving = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="demo web", daemon=True
    )
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        serving.start()
        try:
            hosts = dict.fromkeys(server.hosts, f"127.0.0.1:{server.server_address[1]}")
            yield {**hosts, CLOSED_HOST: f"127.0.0.1:{refusing.getsockname()[1]}"}
        finally:
            server.shutdown()
            server.server_close()
            serving.join()


def _load(folder: Path) -> dict[str, Answer]:
    path = folder / ANSWERS_FILE
    if not path.is_file():
        raise FolderError(
            f"`folder` must hold a demo's web; got {str(folder)!r} without {ANSWERS_FILE}. Call make_demo."
        )
    return read_answers(pq.read_table(path))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, folder: Path, answers: dict[str, Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.answers = answers
        for host, text in ROBOTS.items():
            answers[f"http://{host}/robots.txt"] = Answer(media_type="text/plain; charset=utf-8", text=text)
        self.hosts = sorted({urlsplit(url).netloc for url in answers} - {CLOSED_HOST})
        self._asked: set[str] = set()
        self._asking = threading.Lock()

    def is_first_request(self, url: str) -> bool:
        """Whether `url` has not been asked for in this server's life."""
        with self._asking:
            first = url not in self._asked
            self._asked.add(url)
        return first

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up, as those do which have read enough."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        """Send the answer for the URL made of Host header and path."""
        host = self.headers.get("Host", "").rsplit(":", 1)[0].lower()
        url = f"http://{host}{self.path}"
        answer = self.server.answers.get(url)
        if answer is None:
            answer = Answer(status=404, media_type="text/plain", text="not found\n")
        elif answer.busy and self.server.is_first_request(url):
            answer = Answer(status=429, media_type="text/plain", headers=(("Retry-After", "1"),), text="busy\n")
        self._send(answer)

    def do_HEAD(self) -> None:
        """Send the same without its body."""
        self.do_GET()

    def _send(self, answer: Answer) -> None:
        body = self._body(answer)
        length = max(len(body), answer.padded_to)
        head = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", f"Content-Type: {answer.media_type}"]
        head += [f"{name}: {value}" for name, value in answer.headers]
        head += [f"Content-Length: {length}"] if answer.sized else []
        self.close_connection = True
        head_bytes = "\r\n".join([*head, "Connection: close", "", ""]).encode("latin-1")
        if self.command == "HEAD":
            self.wfile.write(head_bytes)
        elif answer.delay_s:
            self.wfile.write(head_bytes)
            self._send_slowly(body, answer.delay_s)
        else:
            self.wfile.write(head_bytes + body)
            self._send_zeros(length - len(body))

    def _body(self, answer: Answer) -> bytes:
        if not answer.file:
            return answer.text.encode()
        body = (self.server.folder / answer.file).read_bytes()
        return body[: int(len(body) * answer.kept)]

    def _send_slowly(self, body: bytes, delay_s: float) -> None:
        quarter = max(len(body) // 4, 1)
        for start in range(0, len(body), quarter):
            time.sleep(delay_s)
            self.wfile.write(body[start : start + quarter])
            self.wfile.flush()

    def _send_zeros(self, count: int) -> None:
        for start in range(0, count, len(_BLOCK)):
            self.wfile.write(_BLOCK[: count - start])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class names it so)
        """Keep quiet."""
