"""An OpenAI-compatible server of files and batches on loopback, with scripted faults; it counts all it is asked.

Nothing happens in it by itself: a batch comes one step nearer to its end each time it is looked at.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from evenly.descriptions.batch.client import BatchChatClient
from evenly.descriptions.batch.endpoint import BatchEndpoint
from evenly.descriptions.batch.intents import BatchStore
from evenly.descriptions.batch.submission import BatchWork
from evenly.descriptions.chat.client import ClientCounts, RequestStore
from evenly.descriptions.chat.endpoint import Endpoint

Call = Literal["upload", "create", "retrieve", "list", "cancel", "content"]
PHRASES = ["has a long striped tail", "has four short legs", "has thick orange fur", "has round green eyes"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong with one call of a kind: `done` says whether the server does its work all the same.

    status 0 cuts the connection, after the first `sent` bytes of the body where it is given. `hang` waits for
    `BatchServer.go_on` first and sets `BatchServer.reached`.
    """

    at: Call
    status: int = 0
    done: bool = False
    hang: bool = False
    sent: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    error: Mapping[str, Any] = field(default_factory=lambda: {"message": "no", "code": None})


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a batch ends: after `polls` looks at it, with the first `done` of its requests answered (None: all)."""

    status: str = "completed"
    polls: int = 1
    done: int | None = None
    failures: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)  # place in the file -> response or error
    edit: Callable[[list[bytes]], bytes] = b"".join  # lines -> output file
    errors: list[Mapping[str, Any]] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)  # fields of the batch that are told otherwise


@dataclass(kw_only=True)
class BatchServer:
    url: str
    answer: Callable[[Mapping[str, Any]], Mapping[str, Any]] = field(default=lambda _body: completion())
    faults: list[Fault] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    page: int = 100
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    ends: dict[str, Ending] = field(default_factory=dict)
    ran: Counter[str] = field(default_factory=Counter)
    calls: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    reached: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(base_url=self.url, model="tiny")

    @property
    def made(self) -> Counter[str]:
        """How many batches there are for each intent."""
        return Counter(batch["metadata"]["evenly_intent"] for batch in self.batches.values())

    def requests_of(self, batch_id: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.files[self.batches[batch_id]["input_file_id"]].splitlines()]

    def fault(self, call: Call) -> Fault | None:
        with self.lock:
            self.calls.append(call)
            found = next((fault for fault in self.faults if fault.at == call), None)
            if found is not None:
                self.faults.remove(found)
            return found

    def upload(self, content: bytes) -> dict[str, Any]:
        with self.lock:
            file_id = self.keep(content)
            return {"id": file_id, "object": "file", "bytes": len(content), "purpose": "batch", "status": "processed"}

    def keep(self, content: bytes) -> str:
        file_id = f"file-{len(self.files)}"
        self.files[file_id] = content
        return file_id

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        with self.lock:
            batch_id = f"batch_{len(self.batches)}"
            ending = self.endings.pop(0) if self.endings else Ending()
            self.ends[batch_id] = ending
            self.batches[batch_id] = {
                "id": batch_id,
                "object": "batch",
                "status": "validating",
                "created_at": 1,
                "polls": 0,
                "request_counts": {"completed": 0, "failed": 0, "total": 0},
                **body,
            }
            return self.batches[batch_id]

    def retrieve(self, batch_id: str) -> dict[str, Any]:
        with self.lock:
            batch, ending = self.batches[batch_id], self.ends[batch_id]
            batch["polls"] += 1
            if batch["status"] == "cancelling":
                self.end(batch, "cancelled", ending)
            elif batch["status"] in {"validating", "in_progress"}:
                batch["status"] = "in_progress"
                if batch["polls"] > ending.polls:
                    self.end(batch, ending.status, ending)
            return batch | ending.more

    def end(self, batch: dict[str, Any], status: str, ending: Ending) -> None:
        requests = self.requests_of(batch["id"])
        done = len(requests) if ending.done is None else ending.done
        if status == "failed":
            batch |= {"status": status, "errors": {"data": ending.errors}}
            return
        output, errors = [], []
        for place, request in enumerate(requests):
            if place in ending.failures:
                errors.append(line(request["custom_id"], **ending.failures[place]))
            elif place < done:
                self.ran[request["custom_id"]] += 1
                response = {"status_code": 200, "request_id": "r", "body": self.answer(request["body"])}
                output.append(line(request["custom_id"], response=response))
            elif status == "expired":
                errors.append(line(request["custom_id"], error={"code": "batch_expired", "message": "too late"}))
        counts = {"completed": len(output), "failed": len(errors), "total": len(requests)}
        batch |= {"status": status, "request_counts": counts}
        batch |= {"output_file_id": self.keep(ending.edit(output))} if output else {}
        batch |= {"error_file_id": self.keep(b"".join(errors))} if errors else {}

    def content(self, file_id: str) -> bytes:
        return self.files[file_id]

    def cancel(self, batch_id: str) -> dict[str, Any]:
        with self.lock:
            if self.batches[batch_id]["status"] in {"validating", "in_progress"}:
                self.batches[batch_id]["status"] = "cancelling"
            return self.batches[batch_id]

    def list(self, after: str | None) -> dict[str, Any]:
        with self.lock:
            newest = list(reversed(self.batches.values()))
            start = 0 if after is None else 1 + [batch["id"] for batch in newest].index(after)
            data = newest[start : start + self.page]
            return {"object": "list", "data": data, "has_more": start + self.page < len(newest)}


def completion(content: str | None = None, *, finish_reason: str = "stop", **more: object) -> dict[str, Any]:
    """The body of a reply: four good phrases, or `content`."""
    text = json.dumps({"features": PHRASES}) if content is None else content
    return {
        "object": "chat.completion",
        "model": "tiny-2026",
        "system_fingerprint": "f1",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason},
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30},
    } | more


def line(custom_id: str, **more: object) -> bytes:
    """A line of an output or error file."""
    return json.dumps({"id": "x", "custom_id": custom_id, "response": None, "error": None} | more).encode() + b"\n"


@contextmanager
def serving() -> Iterator[BatchServer]:
    """A server while the context lasts."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as http:
        http.daemon_threads = True
        server = http.batches = BatchServer(url=f"http://127.0.0.1:{http.server_port}/v1")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.go_on.set()
            http.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server, parts = self.server.batches, urlsplit(self.path).path.split("/")[2:]
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if parts == ["files"]:
            self.do("upload", lambda: server.upload(self.file(body)))
        elif parts == ["batches"]:
            self.do("create", lambda: server.create(json.loads(body)))
        else:
            self.do("cancel", lambda: server.cancel(parts[1]))

    def do_GET(self):
        server, url = self.server.batches, urlsplit(self.path)
        parts, query = url.path.split("/")[2:], parse_qs(url.query)
        if parts == ["batches"]:
            self.do("list", lambda: server.list(query.get("after", [None])[0]))
        elif parts[0] == "batches":
            ending = server.ends.get(parts[1])
            self.do("retrieve", lambda: server.retrieve(parts[1]), headers={} if ending is None else ending.headers)
        else:
            self.do("content", lambda: server.content(parts[1]))

    def file(self, body: bytes) -> bytes:
        """The content of the file in a multipart form."""
        form = b"Content-Type: " + self.headers["content-type"].encode() + b"\r\n\r\n" + body
        message = BytesParser().parsebytes(form)
        parts = {part.get_param("name", header="content-disposition"): part for part in message.get_payload()}
        assert parts["purpose"].get_payload() == "batch"
        return parts["file"].get_payload(decode=True)

    def do(self, call: Call, work: Callable[[], Any], headers: Mapping[str, str] | None = None) -> None:
        server = self.server.batches
        server.keys.add(self.headers.get("authorization", ""))
        fault = server.fault(call)
        result: Any = None
        status = 200
        try:
            if fault is None or fault.done or fault.sent is not None:
                result = work()
        except KeyError:
            status, result = 404, {"error": {"message": "not found", "code": None}}
        if fault is not None:
            if fault.hang:
                server.reached.set()
                server.go_on.wait(30)
            if not fault.status and fault.sent is None:
                self.close_connection = True
                self.connection.close()
                return
            if fault.sent is None:
                status, result, headers = fault.status, {"error": fault.error}, fault.headers
        body = result if isinstance(result, bytes) else json.dumps(result).encode()
        try:
            self.send_response(status)
            for name, value in {"content-type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if fault is None else body[: fault.sent])
            self.close_connection = self.close_connection or (fault is not None and fault.sent is not None)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def finish(self):
        try:
            super().finish()
        except (OSError, ValueError):
            self.close_connection = True

    def log_message(self, *_arguments: object):
        pass


def batch_client(
    endpoint: Endpoint,
    replies: RequestStore,
    batches: BatchStore,
    *,
    quiet_s: float = 0.5,
    submissions: int = 3,
    give_up_after: int = 8,
    timeout_s: float = 60.0,
    attempts: int = 6,
    progress: Callable[[ClientCounts], None] | None = None,
    **work: Any,  # noqa: ANN401 - the fields of a class
) -> BatchChatClient:
    """A client of these stores; `work` are further fields of BatchWork."""
    api = BatchEndpoint(endpoint=endpoint, timeout_s=timeout_s, attempts=attempts)
    all_work = BatchWork(api=api, replies=replies, batches=batches, **work)
    return BatchChatClient(
        all_work, quiet_s=quiet_s, submissions=submissions, give_up_after=give_up_after, progress=progress
    )
