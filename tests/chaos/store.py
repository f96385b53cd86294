"""An object store for `make chaos`: a real S3 server, a relay in front of it that disturbs, and a copy to look at."""

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tests.object_store_server import CREDENTIALS, environment_of, make_bucket, object_store

if TYPE_CHECKING:
    from obstore.store import S3Store

BUCKET = "chaos"
_ANSWER_WITHIN_S = 120
_ASKED_AGAIN, _PAUSE_S = 3, 0.1
_CONDITIONS = frozenset({"if-none-match", "if-match"})
_BUSY = b'<?xml version="1.0"?><Error><Code>%s</Code><Message>Please reduce your request rate.</Message></Error>'


@dataclass(frozen=True)
class Trouble:
    """What happens to one request: it waits, is answered with a status, or its connection is reset.

    late: the server does what was asked all the same, so that only its answer is lost.
    """

    delay_s: float = 0.0
    status: int = 0
    reset: bool = False
    late: bool = False


class StoreRelay:
    """Hands requests on to the server; `trouble` says what happens to the next one, in the order they come."""

    def __init__(self, upstream: str) -> None:
        self.upstream, self.port = upstream, 0
        self.trouble: Callable[[str, str], Trouble | None] = no_trouble
        self.ignores_conditions = False
        self.requests = 0
        self.troubled = 0
        self._lock = threading.Lock()
        self._server: _StoreServer | None = None

    @property
    def address(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self.port}"

    def come(self) -> None:
        """Listen, on the port of the time before."""
        if self._server is None:
            self._server = _StoreServer(("127.0.0.1", self.port), _Request)
            self._server.relay = self
            self.port = self._server.server_port
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def go(self) -> None:
        """Refuse connections and cut those that are open."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.cut()
            self._server = None

    def mend(self) -> None:
        """Be there, and hand on all that comes."""
        self.trouble, self.ignores_conditions = no_trouble, False
        self.come()

    def meet(self, method: str, path: str) -> Trouble:
        """What happens to a request that has come."""
        with self._lock:
            self.requests += 1
            trouble = self.trouble(method, path) or Trouble()
            self.troubled += trouble != Trouble()
        return trouble

    def hand_on(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, list, bytes]:
        """What the server answers: status, headers, content. A server that hangs up on who reads is asked again."""
        for _ in range(_ASKED_AGAIN if method in ("GET", "HEAD") else 0):
            with suppress(ConnectionError, http.client.HTTPException):
                return self._answer_of(method, path, headers, body)
            time.sleep(_PAUSE_S)
        return self._answer_of(method, path, headers, body)

    def _answer_of(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, list, bytes]:
        left_out = {"host", "connection", "expect", *(_CONDITIONS if self.ignores_conditions else ())}
        kept = {name: value for name, value in headers.items() if name.lower() not in left_out}
        upstream = http.client.HTTPConnection(self.upstream.removeprefix("http://"), timeout=_ANSWER_WITHIN_S)
        try:
            upstream.request(method, path, body, kept)
            answer = upstream.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            upstream.close()


def no_trouble(_method: str, _path: str) -> None:
    """Of a store that is well."""


@dataclass
class Store:
    """The server, reached by `relay`; each trial has a prefix of its own in its bucket."""

    address: str
    relay: StoreRelay
    environment: dict[str, str] = field(default_factory=dict)

    def url(self, name: str) -> str:
        """A workspace of its own."""
        return f"s3://{BUCKET}/{name}"

    def copy(self, name: str, folder: Path) -> None:
        """Copy a workspace into a folder as it is now, past the relay."""
        import obstore

        bucket = self._bucket()
        for found in obstore.list(bucket, f"{name}/", chunk_size=1000):
            for item in found:
                target = folder / item["path"].removeprefix(f"{name}/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(bytes(obstore.get(bucket, item["path"]).bytes()))
        folder.mkdir(parents=True, exist_ok=True)

    def remove(self, name: str) -> None:
        """Remove all objects of a workspace, past the relay."""
        import obstore

        bucket = self._bucket()
        for found in obstore.list(bucket, f"{name}/", chunk_size=1000):
            obstore.delete(bucket, [item["path"] for item in found])

    def _bucket(self) -> "S3Store":
        from obstore.store import S3Store

        key, secret = CREDENTIALS.values()
        return S3Store(
            BUCKET,
            endpoint=self.address,
            access_key_id=key,
            secret_access_key=secret,
            region="us-east-1",
            client_options={"allow_http": True},
        )


@contextmanager
def chaos_store(folder: Path) -> Iterator[Store]:
    """A store while the context lasts; its server's log lies in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with object_store(folder) as address:
        make_bucket(address, BUCKET)
        relay = StoreRelay(address)
        relay.come()
        try:
            yield Store(address, relay, environment_of(relay.address))
        finally:
            relay.go()


class _StoreServer(ThreadingHTTPServer):
    relay: StoreRelay
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, *arguments: object) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)  # type: ignore[arg-type]

    def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        self._open.add(request)
        try:
            super().finish_request(request, client_address)  # type: ignore[arg-type]
        except OSError:  # the other end is gone, or we cut it
            pass
        finally:
            self._open.discard(request)

    def cut(self) -> None:
        """Hang up on all who are connected."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Request(BaseHTTPRequestHandler):
    server: _StoreServer
    protocol_version: ClassVar[str] = "HTTP/1.1"

    def hand_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        relay = self.server.relay
        trouble = relay.meet(self.command, self.path)
        time.sleep(trouble.delay_s)
        is_lost = trouble.reset or trouble.status
        if trouble.late or not is_lost:
            status, headers, content = relay.hand_on(self.command, self.path, self.headers, body)
        if trouble.reset:
            self._reset()
        elif trouble.status:
            self._answer(trouble.status, [], _BUSY % (b"SlowDown" if trouble.status == 503 else b"AccessDenied"))
        else:
            self._answer(status, headers, content)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = hand_on  # noqa: N815 - as http.server names them

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        size = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length":
                size = value if self.command == "HEAD" else size
            elif name.lower() not in {"transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("content-length", size)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _reset(self) -> None:
        """Hang up as a machine does that was switched off and on: what was sent is not acknowledged."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, *_: object) -> None:
        pass
