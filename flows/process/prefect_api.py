"""The Prefect API that a command's flows report to: the one of PREFECT_API_URL, else a temporary server's."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from sysconfig import get_path

import httpx
from prefect.events.worker import EventsWorker
from prefect.exceptions import PrefectException
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_LOGGING_LEVEL,
    PREFECT_LOGGING_TO_API_ENABLED,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)

from evenly.flows.cli.errors import PrefectServerError
from evenly.flows.process.environment import OF_A_COMMAND, command_settings
from evenly.flows.process.tether import tethered_process
from evenly.redaction import without_secrets
from evenly.tasks.server.logs import keep_prefect_secrets, off_terminal

_AS_PREFECT = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
"""What Prefect sets for the temporary servers that it starts itself."""
SERVER_LOGGING = {"PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
"""A server that is ended while it stores what it was told, and its database, log that as errors, with tracebacks."""
_STARTS = 3
_POLL_S = 0.1
_DELIVERY_S, _DELIVERY_AFTER_ERROR_S = 5.0, 1.0


@contextmanager
def prefect_api() -> Iterator[None]:
    """Have a Prefect API while the context lasts: every call of a flow by a command is made in one.

    Where PREFECT_API_URL names none, a temporary server is started, on Prefect's own database. Prefect's way to start
    one is not used: its server is in reach of Ctrl-C, outlives a killed command, and puts the installed packages before
    the standard library, so that a backport of one of its modules breaks it. Raises PrefectServerError where it does
    not start.
    """
    keep_prefect_secrets()
    with command_settings(), ExitStack() as stack:
        if PREFECT_LOGGING_LEVEL.value() == OF_A_COMMAND["PREFECT_LOGGING_LEVEL"]:  # not as the user wants to see more
            stack.enter_context(off_terminal())
        if url := PREFECT_API_URL.value():
            stack.enter_context(_needed(url))
        else:
            stack.enter_context(_temporary_server())
        yield


@contextmanager
def _temporary_server() -> Iterator[None]:
    limit_s = _STARTS * PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
    deadline = time.monotonic() + limit_s
    for _ in range(_STARTS):
        port = _free_port()
        with _start_server(port) as server:
            if not _answers(server, port, deadline):
                status = server.poll()
                if status is None:
                    break
                continue
            url = f"http://127.0.0.1:{port}/api"
            unseen = {PREFECT_API_URL: url, PREFECT_LOGGING_TO_API_ENABLED: False}  # see evenly.tasks.server
            with _needed(url), _started_again(server, port), temporary_settings(unseen):
                try:
                    yield
                except BaseException:
                    _deliver(_DELIVERY_AFTER_ERROR_S)
                    raise
                _deliver(_DELIVERY_S)
            return
    state = "did not" if status is None else f"ended with status {status}"
    raise PrefectServerError(
        f"the temporary Prefect server must answer within {limit_s:g} s; it {state}. Run again, or start one with "
        "`prefect server start` and set PREFECT_API_URL."
    )


@contextmanager
def _needed(url: str) -> Iterator[None]:
    """Say in one line that the server is gone, where a flow can no longer report to it."""
    try:
        yield
    except (httpx.HTTPError, PrefectException, RuntimeError) as error:
        if (reason := _server_trouble(error)) is None:
            raise
        raise PrefectServerError(
            f"the Prefect server at `{without_secrets(url)}` must answer until the end; {reason}. See that it runs and "
            "that PREFECT_API_URL is its address, then run again: what is finished is kept and reused."
        ) from None


def _server_trouble(error: BaseException) -> str | None:
    """What a server did wrong, by an error of Prefect's client or one that came of it; None for another error."""
    if type(error).__module__.startswith("evenly."):
        return None
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    for cause in causes:
        if isinstance(cause, httpx.HTTPStatusError):
            return f"it answered with status {cause.response.status_code}"
        if isinstance(cause, httpx.TransportError):
            return without_secrets(str(cause)) or type(cause).__name__
    text = str(error).partition("\n")[0]
    return without_secrets(text.rstrip(".")) if text.startswith(("Failed to reach API", "Found incompatible")) else None


@contextmanager
def _started_again(server: subprocess.Popen[bytes], port: int) -> Iterator[None]:
    """Start the temporary server again, on its port and database, whenever it ends while the context lasts.

    Prefect's clients ask again for a minute, so that a run goes on.
    """
    ended = threading.Event()
    with ExitStack() as servers:

        def watch(current: subprocess.Popen[bytes]) -> None:
            for _ in range(_STARTS):
                while current.poll() is None:
                    if ended.wait(_POLL_S):
                        return
                if ended.is_set():
                    return
                current = servers.enter_context(_start_server(port))

        thread = threading.Thread(target=watch, args=(server,), name="temporary Prefect server", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _start_server(port: int) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return tethered_process(*_server(port), environment=SERVER_LOGGING | os.environ | _AS_PREFECT)


def _server(port: int) -> list[str]:
    """The server as a module and its arguments. `--app-dir` comes first on its path: it is the standard library's."""
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--app-dir", get_path("stdlib")]
    return ["uvicorn", "--factory", "prefect.server.api.server:create_app", *arguments, "--log-level", "error"]


def _answers(server: subprocess.Popen[bytes], port: int, deadline: float) -> bool:
    """Whether the server came up; False where it ended, perhaps since another took its port, or it is too late.

    One that is only slow is waited for: a second would be as slow beside it.
    """
    with httpx.Client(trust_env=False) as client:
        while time.monotonic() < deadline and server.poll() is None:
            with suppress(httpx.TransportError):
                if client.get(f"http://127.0.0.1:{port}/api/health").status_code == httpx.codes.OK:
                    return True
            time.sleep(_POLL_S)
    return False


def _deliver(timeout_s: float) -> None:
    """Wait until the server has what Prefect's threads still hold for it: they would look for it when it is gone.

    In a thread, as Prefect would return a coroutine where an event loop runs, in a notebook for one.
    """
    with ThreadPoolExecutor(1) as thread:
        for worker in (APILogWorker, EventsWorker):
            thread.submit(worker.drain_all, timeout=timeout_s).result()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
