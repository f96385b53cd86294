"""Facts of this machine: versions, room on the disk, a GPU, a clock; never the value of a key.

And processes by their parents: those of a worker.
"""

import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from evenly.storage.errors import StoreError
from evenly.storage.files.identities import default_cache
from evenly.storage.stores.connection import require_conditions
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.stores.writer_lock import store_time

PACKAGES = (
    *("evenly", "prefect", "pyarrow", "pylance", "numpy", "numba", "pandas", "pydantic", "torch", "open_clip_torch"),
    *("img2dataset", "obstore", "ray", "prefect-ray"),
)
LEAST_FREE_BYTES = 1 << 30
MOST_CLOCK_S = 60.0
_GPUS = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
_NOT_ANSWERING = "Free space, or correct its permissions."


def describe_machine(root: Path) -> dict[str, Any]:
    """Versions (None: not installed), processors, whether a GPU and a key are there, free bytes where it matters."""
    return {
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in PACKAGES},
        "processors": os.cpu_count(),
        "gpu": any(Path(place).exists() for place in _GPUS),
        "OPENAI_API_KEY": "set" if os.environ.get("OPENAI_API_KEY") else "not set",
        "PREFECT_API_URL": "set" if os.environ.get("PREFECT_API_URL") else "not set",
        "free_bytes": {str(place): shutil.disk_usage(place).free for place in _places(root)},
    }


def check_machine(root: Path, free_bytes: dict[str, int]) -> list[dict[str, str]]:
    """Findings about the place of a workspace: each with where, what and remedy."""
    findings = [
        finding_of(place, f"{free:,} bytes are free", "Free space, or choose another place.")
        for place, free in free_bytes.items()
        if free < LEAST_FREE_BYTES
    ]
    return findings + (check_store(root) if isinstance(root, ObjectPath) else _check_folder(root))


def check_store(root: ObjectPath) -> list[dict[str, str]]:
    """Whether a store answers, refuses to create what exists, and has about our time."""
    try:
        require_conditions(root.store, root.bucket, root.key)
        started = time.time()
        difference_s = store_time(root / "clock").timestamp() - started
    except StoreError as error:
        fault, _, remedy = str(error).partition(". ")
        return [finding_of(str(root), fault, remedy)]
    if abs(difference_s) > MOST_CLOCK_S:
        fault = f"the store's clock differs from this machine's by {difference_s:+.0f} s"
        return [finding_of(str(root), fault, "Set the clock of this machine: stores refuse requests of another time.")]
    return []


def _check_folder(root: Path) -> list[dict[str, str]]:
    """Whether everything in a folder may be read and written, and a file can be created where there is none."""
    if not root.exists():
        return []
    findings = [
        finding_of(str(folder), "this user may not read and write it", "Correct its owner or its permissions.")
        for folder in (root, *_folders(root))
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK)
    ]
    if findings:
        return findings
    try:
        descriptor, name = tempfile.mkstemp(dir=root, prefix=".probe-")
        os.close(descriptor)
        linked = Path(f"{name}.linked")
        try:
            linked.hardlink_to(name)
            difference_s = linked.stat().st_mtime - time.time()
        finally:
            linked.unlink(missing_ok=True)
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        return [finding_of(str(root), f"a file cannot be made and linked: {error.strerror}", _NOT_ANSWERING)]
    if abs(difference_s) > MOST_CLOCK_S:
        fault = f"its file system's clock differs from this machine's by {difference_s:+.0f} s"
        return [finding_of(str(root), fault, "Set the clock of the machine that is behind or ahead.")]
    return []


def _folders(root: Path) -> list[Path]:
    """The folders below `root`, as far as they may be looked into."""
    return [Path(folder, name) for folder, names, _ in os.walk(root) for name in names]


def _places(root: Path) -> list[Path]:
    """Where room is needed: the workspace, or the nearest folder above it; the cache; temporary files."""
    wanted = [default_cache(), Path(tempfile.gettempdir())]
    wanted = wanted if isinstance(root, ObjectPath) else [root, *wanted]
    return list(dict.fromkeys(next(place for place in (path, *path.parents) if place.exists()) for path in wanted))


def _version(name: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(name)
    return None


def finding_of(place: str, fault: str, remedy: str) -> dict[str, str]:
    """A finding: where, what, and what helps."""
    return {"where": place, "what": fault, "remedy": remedy}


def children_of(pid: int, processes: Path = Path("/proc")) -> list[int]:
    """Process ids of the children of a process; [] where /proc is not there."""
    children = []
    for folder in processes.glob("[0-9]*"):
        with suppress(OSError, ValueError):  # it ended meanwhile
            if _parent(folder) == pid:
                children.append(int(folder.name))
    return children


def _parent(folder: Path) -> int:
    return int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
