"""A Prefect server of the tests, on a database of its own; processes and settings name it while it runs."""

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from sysconfig import get_path

import httpx

from evenly.flows.process.tether import tethered_process

IDLE_SERVICES = ("SCHEDULER", "LATE_RUNS", "FOREMAN", "CANCELLATION_CLEANUP", "PAUSE_EXPIRATIONS", "REPOSSESSOR")
"""Loops of a server that look for what no test leaves there, every few seconds."""
QUIET = {"PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
"""A server that is ended at work, and its database, log that as errors, with tracebacks."""
_START_S = 240.0


@contextmanager
def started_server(environment: Mapping[str, str]) -> Iterator[str]:
    """The address of a server's API.

    Not by Prefect's own test harness: that puts the installed packages before the standard library, and img2dataset
    brings a backport of `dataclasses` that breaks a server which finds it there. `--app-dir` comes first on its path:
    it is the standard library's.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    place = ["--host", "127.0.0.1", "--port", str(port), "--app-dir", get_path("stdlib"), "--log-level", "error"]
    command = ["uvicorn", "--factory", "prefect.server.api.server:create_app", *place]
    settings = {"PREFECT_UI_ENABLED": "0", **QUIET, **os.environ, **environment}
    with tethered_process(*command, environment=settings) as server, httpx.Client(trust_env=False) as client:
        deadline = time.monotonic() + _START_S
        while True:
            with suppress(httpx.TransportError):
                if client.get(f"http://127.0.0.1:{port}/api/health").status_code == httpx.codes.OK:
                    break
            assert server.poll() is None, "the Prefect server must start"
            assert time.monotonic() < deadline, "the Prefect server must answer"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/api"


@contextmanager
def unseen(url: str) -> Iterator[None]:
    """Let jobs of this process run at a server that is not to be told of them: `is_watched` is False."""
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

    with temporary_settings({PREFECT_API_URL: url, PREFECT_LOGGING_TO_API_ENABLED: False}):
        yield
