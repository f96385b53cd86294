"""A PostgreSQL server of the tests' own, on a temporary folder. Not a test."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


def postgres_binaries() -> Path | None:
    """The newest installed PostgreSQL's folder of programs, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found else None


@contextmanager
def postgres() -> Iterator[str]:
    """Start a server; yields Prefect's connection URL. As root it runs as the user postgres.

    Not in pytest's folder for root, which each other pytest closes to all others when it starts.
    """
    binaries = postgres_binaries()
    if binaries is None:
        raise FileNotFoundError("PostgreSQL is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with TemporaryDirectory(prefix="postgres-") as folder:
        become: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
            become = ["runuser", "-u", "postgres", "--"]
        control = [*become, str(binaries / "pg_ctl"), "-D", f"{folder}/data", "-m", "fast", "-l", f"{folder}/log"]
        run([*become, str(binaries / "initdb"), "-D", f"{folder}/data", "-A", "trust", "-U", "postgres"])
        run([*control, "-w", "-o", f"-h 127.0.0.1 -p {port} -k {folder}", "start"])
        try:
            yield f"postgresql+asyncpg://postgres@127.0.0.1:{port}/postgres"
        finally:
            run([*control, "stop"])


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
