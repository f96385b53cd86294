"""Answers of an endpoint that are longer than they look: compressed, endless, errors, files of a batch."""

import asyncio
import gzip
import json
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from evenly.descriptions.batch.endpoint import BatchEndpoint
from evenly.descriptions.bodies import MOST_BYTES
from evenly.descriptions.chat import retries
from evenly.descriptions.chat.attempts import ChatEndpoint
from evenly.descriptions.chat.completion import Completion
from evenly.descriptions.chat.dialect import Dialect
from evenly.descriptions.chat.endpoint import Endpoint
from evenly.descriptions.chat.request import ChatRequest, Message
from evenly.descriptions.errors import EndpointError
from tests.chat_server import TinyServer

QUESTION = ChatRequest(messages=(Message(role="user", content="What?"),))
LONG = TinyServer.completion("tail " * MOST_BYTES).body.encode()  # 20 MB, and good JSON
SHORT = TinyServer.completion("a tail").body.encode()
ENDLESS = b'{"choices": [' + b" " * (1 << 20)


@dataclass
class Body:
    """What the server sends: `content` under a header, or `piece` in chunks until it is hung up on."""

    content: bytes = b""
    coding: str = ""
    piece: bytes = b""
    status: int = 200
    sent: int = 0


@contextmanager
def server_of(body: Body) -> Iterator[Endpoint]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(body.status)
            self.send_header("content-type", "application/json")
            if body.coding:
                self.send_header("content-encoding", body.coding)
            self.send_header(
                *(("transfer-encoding", "chunked") if body.piece else ("content-length", len(body.content)))
            )
            self.end_headers()
            self.wfile.write(body.content)
            while body.piece and body.sent < 1 << 28:
                try:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(body.piece), body.piece))
                except OSError:
                    return
                body.sent += len(body.piece)

        do_GET = do_POST = answer  # noqa: N815 - as http.server names them

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield Endpoint(base_url=f"http://127.0.0.1:{server.server_port}/v1", model="tiny")
        finally:
            server.shutdown()
            thread.join()


def reply_of(body):
    async def post(endpoint):
        async with ChatEndpoint(endpoint=endpoint) as chat:
            return await chat.post(QUESTION, Dialect())

    with server_of(body) as endpoint:
        return asyncio.run(post(endpoint))


@pytest.mark.parametrize(
    "body",
    [
        Body(content=gzip.compress(LONG), coding="gzip"),
        Body(content=zlib.compress(LONG), coding="deflate"),
        Body(content=LONG),
        Body(piece=ENDLESS),
        Body(piece=gzip.compress(bytes(1 << 24)), coding="gzip"),
        Body(content=gzip.compress(LONG), coding="gzip", status=500),
        Body(piece=ENDLESS, status=400),
    ],
    ids=["gzip", "deflate", "plain", "endless", "endless_gzip", "error", "endless_error"],
)
def test_a_body_above_the_limit_is_a_failure_that_says_so(body):
    failure = reply_of(body)
    assert (failure.reason, failure.remedy) == ("bad_body", "retry")
    assert "a body of more than 4,000,000 bytes" in failure.detail
    assert body.sent < 1 << 27


@pytest.mark.parametrize(
    ("content", "coding"),
    [(SHORT, ""), (SHORT, "identity"), (gzip.compress(SHORT), "gzip"), (zlib.compress(SHORT), "deflate")],
)
def test_a_body_within_the_limit_is_read_in_every_coding(content, coding):
    reply = reply_of(Body(content=content, coding=coding))
    assert isinstance(reply, Completion)
    assert reply.text == "a tail"


@pytest.mark.parametrize(("content", "coding"), [(b"no gzip", "gzip"), (SHORT, "br"), (b"", "gzip")])
def test_a_body_that_does_not_unpack_is_a_bad_body(content, coding):
    assert reply_of(Body(content=content, coding=coding)).reason == "bad_body"


def test_files_of_a_batch_may_be_longer_and_lists_may_not(monkeypatch):
    monkeypatch.setattr(retries, "FIRST_PAUSE_S", 0.001)
    lines = json.dumps({"custom_id": "1"}).encode() + b"\n"
    content = lines * (MOST_BYTES // len(lines) + 1)

    async def read(endpoint):
        async with BatchEndpoint(endpoint=endpoint, attempts=1) as batches:
            return await batches.content("file-1"), await batches.find("intent")

    with server_of(Body(content=content)) as endpoint, pytest.raises(EndpointError, match="more than 4,000,000 bytes"):
        asyncio.run(read(endpoint))


def test_a_file_of_a_batch_that_unpacks_without_end_is_refused(monkeypatch):
    monkeypatch.setattr("evenly.descriptions.batch.endpoint.MOST_FILE_BYTES", 10_000_000)

    async def read(endpoint):
        async with BatchEndpoint(endpoint=endpoint, attempts=1) as batches:
            return await batches.content("file-1")

    body = Body(piece=gzip.compress(bytes(1 << 24)), coding="gzip")
    with server_of(body) as endpoint, pytest.raises(EndpointError, match="more than 10,000,000 bytes"):
        asyncio.run(read(endpoint))
