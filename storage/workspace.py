"""The folder that holds everything evenly keeps, on this machine or in an object store."""

import os
from dataclasses import dataclass
from pathlib import Path

from evenly.storage.stores.object_path import path_at

ROOT_VARIABLE = "EVENLY_ROOT"
OBJECTS = "objects"


@dataclass(frozen=True)
class Workspace:
    """Paths below one root folder; each property names what lies there."""

    root: Path

    @classmethod
    def at(cls, root: str | os.PathLike[str] | None = None) -> "Workspace":
        """Open `root`, else the environment's EVENLY_ROOT, else `.evenly` in the current folder.

        It may be a URL: s3://, gs:// or az:// with a bucket and a prefix, or file://. Raises InputError for another.
        """
        chosen = os.environ.get(ROOT_VARIABLE, ".evenly") if root is None else root
        return cls(path_at(chosen).absolute())

    @property
    def steps(self) -> Path:
        """Step records, one JSON file each."""
        return self.root / "steps"

    @property
    def ledger(self) -> Path:
        """Decisions and child tables, one Lance dataset each."""
        return self.root / "ledger"

    @property
    def exchange(self) -> Path:
        """Rows on their way to another cut, while a step runs."""
        return self.root / "exchange"

    @property
    def builds(self) -> Path:
        """Build manifests and the aliases that point at them."""
        return self.root / "builds"

    @property
    def downloads(self) -> Path:
        """Webdataset shards of the original bytes, and their records."""
        return self.root / "downloads"

    @property
    def requests(self) -> Path:
        """Replies of language models, one JSON file each."""
        return self.root / "requests"

    @property
    def batches(self) -> Path:
        """Batches of requests to language models, one folder each."""
        return self.root / "batches"

    @property
    def spending(self) -> Path:
        """Costs of language models, one journal for each class list."""
        return self.root / "spending"

    @property
    def watched(self) -> Path:
        """States of the class lists of watched folders, one JSON file per content."""
        return self.root / "watched"

    @property
    def features(self) -> Path:
        """Feature rows, one folder per encoder."""
        return self.root / "features"

    @property
    def locks(self) -> Path:
        """Who writes which recipe just now, one file each."""
        return self.root / "locks"

    @property
    def forget(self) -> Path:
        """The forget list: keyed hashes of what new builds must not hold, and the key."""
        return self.root / "forget"

    @property
    def samples(self) -> Path:
        """The wide sample table, one Lance dataset per recipe."""
        return self.root / "samples"

    @property
    def objects(self) -> Path:
        """The contents of adapters and refined encoders, by their SHA-256."""
        return self.root / OBJECTS

    @property
    def adapters(self) -> Path:
        """The cards of fitted adapters, by build and class list."""
        return self.root / "adapters"

    @property
    def refined(self) -> Path:
        """The cards of refined encoders, and states of those in the making."""
        return self.root / "refined"

    @property
    def leaderboards(self) -> Path:
        """Finished runs of leaderboards, one folder each."""
        return self.root / "leaderboards"

    @property
    def reports(self) -> Path:
        """HTML reports."""
        return self.root / "reports"

    @property
    def exports(self) -> Path:
        """Datasets written for other tools."""
        return self.root / "exports"
