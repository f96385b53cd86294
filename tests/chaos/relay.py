"""A relay on loopback in front of a server: it counts what is asked for, and can go away and come back on its port."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_BLOCK = 2**16
_HEAD_END = b"\r\n\r\n"


@dataclass
class Relay:
    """`urls` are those asked for since they were last cleared; `delay_s` passes before each request is handed on."""

    upstream: tuple[str, int]
    delay_s: float = 0.0
    urls: list[str] = field(default_factory=list)
    port: int = 0
    _server: "_Server | None" = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: set[socket.socket] = field(default_factory=set)

    def come(self) -> None:
        """Listen, on the port of the time before."""
        if self._server is None:
            self._server = _Server(("127.0.0.1", self.port), _Handler)
            self._server.relay = self
            self.port = self._server.server_address[1]
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def go(self) -> None:
        """Refuse connections and cut those that are open."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def hand_on(self, client: socket.socket) -> None:
        """Send one request to the server and what it answers back, until either hangs up."""
        with self._lock:
            self._open.add(client)
        try:
            head = _read_head(client)
            if head:
                with self._lock:
                    self.urls.append(_url(head))
                time.sleep(self.delay_s)
                with socket.create_connection(self.upstream) as server:
                    server.sendall(head)
                    threading.Thread(target=_copy, args=(client, server), daemon=True).start()
                    _copy(server, client)
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(client)


@contextmanager
def relay(upstream: str) -> Iterator[Relay]:
    """A relay to "address:port" while the context lasts."""
    address, _, port = upstream.rpartition(":")
    made = Relay((address, int(port)))
    made.come()
    try:
        yield made
    finally:
        made.go()


class _Server(socketserver.ThreadingTCPServer):
    relay: Relay
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.server.relay.hand_on(self.request)


def _read_head(client: socket.socket) -> bytes:
    read = b""
    while _HEAD_END not in read:
        block = client.recv(_BLOCK)
        if not block:
            return b""
        read += block
    return read


def _url(head: bytes) -> str:
    lines = head.partition(_HEAD_END)[0].decode("latin-1").split("\r\n")
    host = next((line.split(":", 1)[1].strip() for line in lines[1:] if line.lower().startswith("host:")), "")
    target = lines[0].split(" ")[1]
    return target if urlsplit(target).netloc else f"http://{host.rsplit(':', 1)[0].lower()}{target}"


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(_BLOCK):
            sink.sendall(block)
        sink.shutdown(socket.SHUT_WR)
