"""Stored bytes: features, records of downloads and replies are those that were written."""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from evenly.audit.checks.findings import Finding
from evenly.audit.checks.guarded import guarded
from evenly.audit.published import PublishedBuild
from evenly.storage.feature_store import FeatureStore
from evenly.storage.records import read_record
from evenly.storage.tables.lance_rows import MADE_AGAIN, check_rows
from evenly.storage.web.measured import check_measured
from evenly.storage.web.shards import check_records, shard_names
from evenly.storage.workspace import Workspace


def check_stored(build: PublishedBuild) -> Iterator[Finding]:
    """Yield a finding for each piece that has changed: of features, of download records, of replies.

    All that the workspace holds of them is looked at, since builds share them.
    """
    workspace = build.workspace
    for dataset in sorted(workspace.features.glob("*/*.lance")):
        yield from _guarded("features", dataset, workspace, lambda path: check_rows(path, MADE_AGAIN))
    yield from guarded("features", build.name, partial(_check_digests, build))
    for name in shard_names(workspace.downloads):
        yield from _guarded("downloads", workspace.downloads / f"{name}.parquet", workspace, check_records)
    for path in sorted(workspace.downloads.glob("*.measured.parquet")):
        yield from _guarded("downloads", path, workspace, check_measured)
    for record in sorted(workspace.requests.glob("*/*.json")):
        yield from _guarded("replies", record, workspace, read_record)


def _guarded(check: str, path: Path, workspace: Workspace, look: Callable[[Path], object]) -> list[Finding]:
    def looked() -> list[Finding]:
        look(path)
        return []

    return guarded(check, str(path.relative_to(workspace.root)), looked)


def _check_digests(build: PublishedBuild) -> Iterator[Finding]:
    """The digests that the step kept of its vectors, against the vectors: for features from before checksums, too."""
    table = build.table("embed_images", "features", ["image_id", "digest"])
    if table is None:
        return
    ids = table["image_id"].to_pylist()
    vectors, _ = FeatureStore(build.workspace, str(build.manifest["encoder"]["identity"]), "images").read(ids)
    for image_id, digest, row in zip(ids, table["digest"].to_pylist(), vectors, strict=True):
        if hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest() != digest:
            yield Finding.of("features", image_id, "its vector is not the one that the steps used")
