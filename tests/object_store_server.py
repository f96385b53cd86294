"""An S3 server of the tests' own, and one in front of it that ignores conditions. Not a test."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIATESTSOFEVENLY", "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests/Zm9vYmFy"}

# moto looks whether an object is there and then writes it: of two conditional writes at once both would be the first
_ONE_PUT_AT_A_TIME = """
import sys
from threading import Lock
from moto.s3.responses import S3Response
from moto.server import main
lock, put_object = Lock(), S3Response.put_object
def put_alone(self):
    with lock:
        return put_object(self)
S3Response.put_object = put_alone
main(sys.argv[1:])
"""


@contextmanager
def object_store(folder: Path) -> Iterator[str]:
    """Start a server, whose log lies in `folder`; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", _ONE_PUT_AT_A_TIME, "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        wait_for(port, server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def make_bucket(address: str, name: str) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{address}/{name}", method="PUT"), timeout=60).close()  # noqa: S310


def environment_of(address: str) -> dict[str, str]:
    """What a process must find in its environment to reach the server."""
    return {**CREDENTIALS, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": address, "AWS_ALLOW_HTTP": "true"}


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """This process and those that it starts find the server at `address`, with no connection from before."""
    with reaching_by(environment_of(address)):
        yield


@contextmanager
def reaching_by(environment: Mapping[str, str]) -> Iterator[None]:
    """The same by what must be in the environment, which holds nothing else about stores."""
    from evenly.storage.stores import connection

    connection._connected.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if re.match("(AWS|AZURE|GOOGLE)_", name)]:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        yield
    connection._connected.cache_clear()
    connection._probed.clear()


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    """Return once the server answers at its port. Raises RuntimeError where it ends first, or after a minute."""
    for _ in range(1200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the server did not start: {server.args!r}")


@contextmanager
def without_conditions(address: str) -> Iterator[str]:
    """A server that hands all requests on to `address`, but for the headers that make them conditional."""

    class Careless(BaseHTTPRequestHandler):
        def hand_on(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            left_out = {"if-none-match", "if-match", "host", "connection"}
            headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
            body = self.rfile.read(length) if length else None
            request = urllib.request.Request(address + self.path, body, headers, method=self.command)  # noqa: S310
            try:
                answer = urllib.request.urlopen(request, timeout=10)  # noqa: S310
            except urllib.error.HTTPError as error:
                answer = error
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in {"transfer-encoding", "content-length", "connection"}:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = hand_on  # noqa: N815 - as http.server names them

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Careless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
