"""What lies in a workspace, seen from outside: names of files, locks that are held, Lance files that nothing refers to.

The harness knows no more of the product's layout than `held_urls` and `held_replies` say.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_SLOT = re.compile(r"\.writer-\d+\.json")
# What differs from run to run in the name of a file: UUIDs, what tempfile draws, hashes, numbers.
_VOLATILE = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=^tmp)[a-z0-9_]{8}|(?<=\.)[a-z0-9_]{8}(?=\.tmp$)|[0-9a-f]{8,}|^[0-9a-f]{2}$|\d+"
)


@dataclass(frozen=True)
class Names:
    """Paths of all files below a folder; `stable` are the folders whose names are the same in each run."""

    paths: frozenset[str]
    stable: frozenset[str] = frozenset()

    @classmethod
    def of(cls, root: Path) -> "Names":
        """The files, and the empty folders with a slash at the end; places of writers are one, however many wrote."""
        found = set()
        for folder, folders, files in os.walk(root):
            place = Path(folder).relative_to(root).as_posix()
            found |= {f"{place}/{_SLOT.sub('.writer-0.json', name)}" for name in files}
            if not folders and not files and place != ".":
                found.add(f"{place}/")
        return cls(frozenset(found))

    @property
    def shapes(self) -> frozenset[str]:
        """The paths without numbers and hashes."""
        return frozenset("/".join(_VOLATILE.sub("#", part) for part in path.split("/")) for path in self.paths)

    def with_stable(self, other: "Names") -> "Names":
        """With the folders in which another run made files of the same names."""
        mine, others = _by_folder(self.paths), _by_folder(other.paths)
        return replace(self, stable=frozenset(folder for folder, names in mine.items() if others.get(folder) == names))

    def differences(self, disturbed: "Names") -> Iterator[str]:
        """What a disturbed run left that this one did not, and what it did not make."""
        expected, found = _by_folder(self.paths), _by_folder(disturbed.paths)
        for folder in sorted(self.stable):
            for name in sorted(found.get(folder, set()) ^ expected[folder]):
                word = "left behind" if name in found.get(folder, set()) else "missing"
                yield f"{word}: {folder}/{name}"
        for shape in sorted(disturbed.shapes - self.shapes):
            yield f"left behind: {shape}"


def _by_folder(paths: frozenset[str]) -> dict[str, set[str]]:
    folders: dict[str, set[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, set()).add(name)
    return folders


def held_locks(root: Path) -> list[str]:
    """Files with `lock` in their names that a process holds."""
    held = []
    for path in root.rglob("*lock*"):
        if path.is_file():
            with path.open("rb") as stream:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    held.append(str(path.relative_to(root)))
    return held


def unreferenced(root: Path) -> list[str]:
    """Data files of Lance datasets that no version of theirs refers to."""
    import lance

    loose = []
    for versions in root.rglob("*.lance/_versions"):
        folder = versions.parent
        if "_sums" in folder.parts:
            continue
        dataset = lance.dataset(str(folder))
        known = set()
        for version in dataset.versions():
            for fragment in dataset.checkout_version(version["version"]).get_fragments():
                known |= {Path(file.path).name for file in fragment.data_files()}
        there = {path.name for path in (folder / "data").glob("*.lance")}
        loose += [f"{folder.relative_to(root)}/data/{name}" for name in sorted(there - known)]
    return loose


def held_urls(root: Path) -> set[str]:
    """URLs whose answers are recorded: none of these may be asked for again."""
    urls: set[str] = set()
    for path in root.glob("downloads/**/*.parquet"):
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            continue  # work in progress, which does not count
        try:
            schema = pq.read_schema(path)
            if {"url", "outcome"} <= set(schema.names):
                urls |= set(pq.read_table(path, columns=["url"])["url"].to_pylist())
        except (OSError, pa.ArrowException):  # damaged on purpose, or half written
            continue
    return urls


def held_replies(root: Path) -> int:
    """Number of replies of language models that are recorded."""
    return sum(1 for path in root.glob("requests/**/*.json") if not path.name.startswith("."))
