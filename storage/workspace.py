"""The folder that holds everything evenly keeps, on this machine or in an object store.

Downloads and replies are observed once: a workspace takes over those of another to replay its builds.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from evenly.storage.errors import NotFoundError
from evenly.storage.records import replacing
from evenly.storage.stores.object_path import ObjectPath, path_at

ROOT_VARIABLE = "EVENLY_ROOT"
OBJECTS = "objects"


class Folder:
    """The folder of a workspace that has the name of the attribute; kind: of what lies there, for people."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, workspace: "Workspace", _owner: type) -> Path:
        return workspace.root / self._name


@dataclass(frozen=True)
class Workspace:
    """Paths below one root folder, each of what stands beside its name."""

    root: Path

    @classmethod
    def at(cls, root: str | os.PathLike[str] | None = None) -> "Workspace":
        """Open `root`, else the environment's EVENLY_ROOT, else `.evenly` in the current folder.

        It may be a URL: s3://, gs:// or az:// with a bucket and a prefix, or file://. Raises InputError for another.
        """
        chosen = os.environ.get(ROOT_VARIABLE, ".evenly") if root is None else root
        return cls(path_at(chosen).absolute())

    builds = Folder("builds")  # build manifests and the aliases that point at them
    samples = Folder("sample tables")  # the wide sample table, one Lance dataset per recipe
    ledger = Folder("ledger tables")  # decisions and child tables, an Arrow file for each partition
    steps = Folder("step records")  # step records, one JSON file each
    downloads = Folder("downloads")  # webdataset shards of the original bytes, and their records
    features = Folder("features")  # feature rows, one folder per encoder
    requests = Folder("requests and journals")  # replies of language models, one JSON file each
    batches = Folder("requests and journals")  # batches of requests to language models, one folder each
    spending = Folder("requests and journals")  # costs of language models, one journal for each class list
    watched = Folder("class lists")  # states of the class lists of watched folders, one JSON file per content
    adapters = Folder("adapters")  # the cards of fitted adapters, by build and class list
    refined = Folder("refined encoders")  # the cards of refined encoders, and states of those in the making
    objects = Folder("contents of artifacts")  # the contents of adapters and refined encoders, by their SHA-256
    leaderboards = Folder("leaderboards")  # finished runs of leaderboards, one folder each
    reports = Folder("reports")  # HTML reports
    exports = Folder("exports")  # datasets written for other tools
    forget = Folder("forget list")  # the forget list: keyed hashes of what new builds must not hold, and the key
    locks = Folder("locks")  # who writes which recipe just now, one file each
    exchange = Folder("exchange")  # rows on their way to another cut, while a step runs


FOLDER_KINDS = {name: folder.kind for name, folder in vars(Workspace).items() if isinstance(folder, Folder)}
"""The kinds of what lies in a workspace, by the name of its folder."""


def adopt_observations(workspace: Workspace, origin: Workspace) -> int:
    """Take over the recorded downloads and replies of `origin`, as links where the file system allows; files taken.

    What this workspace has stays as it is. Raises NotFoundError where `origin` has none.
    """
    pairs = [(origin.downloads, workspace.downloads), (origin.requests, workspace.requests)]
    if not any(source.is_dir() for source, _ in pairs):
        raise NotFoundError(f"`replay_from` must hold recorded downloads or replies; `{origin.root}` holds none.")
    n_taken = 0
    for source, target in pairs:
        for path in sorted(source.rglob("*"), key=_arrival):
            place = target / path.relative_to(source)
            if path.is_file() and not path.name.startswith(".") and not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy(path, place)
                n_taken += 1
    return n_taken


def _arrival(path: Path) -> tuple[bool, Path]:
    """Tars first: what their records are to count for is there when these arrive."""
    return path.suffix != ".tar", path


def _link_or_copy(source: Path, target: Path) -> None:
    if not isinstance(source, ObjectPath) and not isinstance(target, ObjectPath):
        try:
            os.link(source, target)
        except OSError:
            temporary = target.with_name(f".{target.name}.tmp")
            shutil.copyfile(source, temporary)
            temporary.replace(target)
        return
    with source.open("rb") as content, replacing(target) as copy:
        shutil.copyfileobj(content, copy)
