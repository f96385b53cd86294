"""A PostgreSQL server of the tests' own, on a temporary folder. Not a test."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def postgres_binaries() -> Path | None:
    """The newest installed PostgreSQL's folder of programs, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found else None


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Start a server in `folder`; yields Prefect's connection URL. As root it runs as the user postgres."""
    binaries = postgres_binaries()
    if binaries is None:
        raise FileNotFoundError("PostgreSQL is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(mode=0o700)
    become: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        for parent in folder.parents:
            if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o001)
        become = ["runuser", "-u", "postgres", "--"]
    data, options = folder / "data", f"-h 127.0.0.1 -p {port} -k {folder}"
    run([*become, str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres"])
    run([*become, str(binaries / "pg_ctl"), "-D", str(data), "-w", "-o", options, "-l", str(folder / "log"), "start"])
    try:
        yield f"postgresql+asyncpg://postgres@127.0.0.1:{port}/postgres"
    finally:
        run([*become, str(binaries / "pg_ctl"), "-D", str(data), "-m", "fast", "stop"])


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
