"""What a store says of a fault: whether it may pass, by the real library's words, against a server of all faults."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from evenly.storage.errors import StoreError
from evenly.storage.stores.connection import readable_errors

STATUSES = {429: True, 500: True, 501: False, 503: True, 504: True, 400: False, 401: False, 403: False}
AWAY = {"http://127.0.0.1:9": True, "http://no-such-host.invalid": False}
FAST: dict[str, Any] = {"max_retries": 1, "retry_timeout": timedelta(seconds=3)}
CLIENT: dict[str, Any] = {"allow_http": True, "timeout": "500ms"}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        what = self.path.rpartition("/")[2]
        if what == "reset":
            self.close_connection = True
        elif what == "silence":
            threading.Event().wait(2)
        else:
            self.send_response(int(what))
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def faulty() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def require_names() -> None:
    """Skip a test of a host without an address where nobody knows which hosts have one."""
    try:
        socket.getaddrinfo("no-such-host.invalid", 80)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            pytest.skip("no name server answers here")


def fault(address: str, key: str) -> StoreError:
    obstore = pytest.importorskip("obstore")
    from obstore.store import S3Store

    keys = {"access_key_id": "a", "secret_access_key": "b", "region": "us-east-1"}
    store = S3Store("bucket", endpoint=address, **keys, client_options=CLIENT, retry_config=FAST)
    with pytest.raises(StoreError) as caught, readable_errors("s3://bucket"), suppress(FileNotFoundError):
        obstore.get(store, key)
    return caught.value


@pytest.mark.parametrize(("status", "passing"), STATUSES.items())
def test_a_busy_store_may_pass_and_a_refusal_does_not(faulty, status, passing):
    assert fault(faulty, str(status)).passing == passing


@pytest.mark.parametrize("key", ["reset", "silence"])
def test_a_store_that_hangs_up_or_says_nothing_may_pass(faulty, key):
    assert fault(faulty, key).passing


@pytest.mark.parametrize(("address", "passing"), AWAY.items())
def test_a_store_that_is_away_may_come_back_but_a_host_that_is_not_there_does_not(address, passing):
    if address.endswith(".invalid"):
        require_names()
    assert fault(address, "key").passing == passing
