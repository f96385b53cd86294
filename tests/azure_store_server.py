"""An Azure Blob server for tests: Azurite, Microsoft's own, which is an npm package. Not a test."""

import base64
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

from tests.object_store_server import wait_for

ACCOUNT, ACCOUNT_KEY = "evenlytests", base64.b64encode(b"the key of an account of the tests").decode()
_VERSION = "2021-08-06"


def azurite() -> str | None:
    """The program: on PATH, or where tests/install_services.sh puts it; None where it is not installed."""
    beside = Path(sys.prefix) / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    return shutil.which("azurite-blob") or (str(beside) if beside.exists() else None)


@contextmanager
def azure_store(folder: Path) -> Iterator[str]:
    """Start a server, whose log lies in `folder`; yields the address of its account."""
    program = azurite()
    if program is None:
        raise RuntimeError("azurite must be installed; tests/install_services.sh installs it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--disableTelemetry")
    environment = os.environ | {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{ACCOUNT_KEY}"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([program, *options], stdout=log, stderr=log, cwd=folder, env=environment)
    try:
        wait_for(port, server)
        yield f"http://127.0.0.1:{port}/{ACCOUNT}"
    finally:
        server.kill()
        server.wait()


def azure_environment(address: str) -> dict[str, str]:
    """What a process must find in its environment to reach the server."""
    credentials = {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY}
    return {**credentials, "AZURE_STORAGE_ENDPOINT": address, "AZURE_ALLOW_HTTP": "true"}


def make_container(address: str, name: str) -> None:
    date = formatdate(usegmt=True)
    headers = {"x-ms-date": date, "x-ms-version": _VERSION}
    signed = [f"{key}:{value}" for key, value in headers.items()]
    text = "\n".join(["PUT", *[""] * 11, *signed, f"/{ACCOUNT}/{ACCOUNT}/{name}", "restype:container"])
    signature = base64.b64encode(hmac.digest(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256)).decode()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
    request = urllib.request.Request(f"{address}/{name}?restype=container", method="PUT", headers=headers)  # noqa: S310
    urllib.request.urlopen(request, timeout=60).close()  # noqa: S310
