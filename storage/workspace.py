"""The folder that holds everything evenly keeps, on this machine or in an object store."""

import os
from dataclasses import dataclass
from pathlib import Path

from evenly.storage.stores.object_path import path_at

ROOT_VARIABLE = "EVENLY_ROOT"
OBJECTS = "objects"


class _Folder:
    """The folder of a workspace that has the name of the attribute."""

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

    steps = _Folder()  # step records, one JSON file each
    ledger = _Folder()  # decisions and child tables, an Arrow file for each partition
    exchange = _Folder()  # rows on their way to another cut, while a step runs
    builds = _Folder()  # build manifests and the aliases that point at them
    downloads = _Folder()  # webdataset shards of the original bytes, and their records
    requests = _Folder()  # replies of language models, one JSON file each
    batches = _Folder()  # batches of requests to language models, one folder each
    spending = _Folder()  # costs of language models, one journal for each class list
    watched = _Folder()  # states of the class lists of watched folders, one JSON file per content
    features = _Folder()  # feature rows, one folder per encoder
    locks = _Folder()  # who writes which recipe just now, one file each
    forget = _Folder()  # the forget list: keyed hashes of what new builds must not hold, and the key
    samples = _Folder()  # the wide sample table, one Lance dataset per recipe
    objects = _Folder()  # the contents of adapters and refined encoders, by their SHA-256
    adapters = _Folder()  # the cards of fitted adapters, by build and class list
    refined = _Folder()  # the cards of refined encoders, and states of those in the making
    leaderboards = _Folder()  # finished runs of leaderboards, one folder each
    reports = _Folder()  # HTML reports
    exports = _Folder()  # datasets written for other tools
