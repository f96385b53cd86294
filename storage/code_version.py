"""The version of the running code: recorded with every step, never part of a content hash."""

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


@cache
def code_version() -> dict[str, Any]:
    """Package version, git commit and whether the working tree differs from it; nulls outside a checkout."""
    try:
        package = version("evenly")
    except PackageNotFoundError:
        package = None
    folder = Path(__file__).parent
    sha = _git(folder, "rev-parse", "HEAD")
    dirty = None if sha is None else bool(_git(folder, "status", "--porcelain"))
    return {"version": package, "git_sha": sha, "dirty": dirty}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the git of the machine
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
