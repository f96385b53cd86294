"""Downloads and features of pictures that no build shows: freed only where that was asked for.

URLs and image ids of all builds are held as 64-bit hashes, 8 bytes each; two that are alike by chance keep what belongs
to either.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.errors import StorageError
from evenly.storage.removal.dataset_files import Dataset
from evenly.storage.removal.leftovers import IsOld, Leftover
from evenly.storage.removal.stored_files import StoredFile
from evenly.storage.samples import BuildSamples
from evenly.storage.tables.lance_commits import commit_fragments, write_fragments
from evenly.storage.tables.lance_rows import MADE_AGAIN, each_fragment, newest_version
from evenly.storage.web.shards import read_urls, shard_names
from evenly.storage.workspace import Workspace

Hashes = npt.NDArray[np.uint64]
_OF_PICTURES = ("images", "codes-", "scores")  # the beginnings of the names of features by image id


@dataclass(frozen=True, kw_only=True)
class IdleRows:
    """Rows of a feature table by pictures that no build shows; size: bytes, by their share of the rows."""

    path: Path
    rows: int
    size: int


def values_shown(workspace: Workspace, manifests: Iterable[Mapping[str, Any]], column: str) -> Hashes:
    """The hashes of all values in a column of the sample tables of builds, sorted, each once."""
    hashes = [np.zeros(0, np.uint64)]
    for manifest in manifests:
        samples = BuildSamples(workspace, manifest)
        if column in samples.columns:
            hashes += [_hashes(table[column]) for table in samples.batches([column])]
    return np.unique(np.concatenate(hashes))


def idle_downloads(
    workspace: Workspace, files: Sequence[StoredFile], urls: Hashes, is_old: IsOld
) -> Iterator[Leftover]:
    """Shards of which no URL is one of a pair of a build, whole; their records go first, so that they do not count."""
    beside: dict[str, list[StoredFile]] = {}
    for file in files:
        if file.name.startswith("downloads/") and file.name.count("/") == 1:
            beside.setdefault(file.path.name.partition(".")[0], []).append(file)
    for name in shard_names(workspace.downloads):
        members = sorted(beside.get(name, []), key=lambda file: file.path.name != f"{name}.parquet")
        records = workspace.downloads / f"{name}.parquet"
        if members and all(map(is_old, members)) and not np.isin(_hashes(read_urls(records)), urls).any():
            yield Leftover(kind="downloads", why="pictures that no build shows", files=members)


def idle_rows(datasets: Iterable[Dataset], images: Hashes) -> Iterator[IdleRows]:
    """Feature tables with rows of pictures that no build shows; tables of texts have none."""
    for dataset in datasets:
        if dataset.kind != "features" or not dataset.path.name.startswith(_OF_PICTURES):
            continue
        if (newest := newest_version(dataset.path)) is None:
            continue
        total = idle = 0
        for table in each_fragment(dataset.path, MADE_AGAIN, version=newest, columns=["id"]):
            total += table.num_rows
            idle += table.num_rows - int(np.isin(_hashes(_pictures(table["id"])), images).sum())
        if idle:
            size = sum(file.size for name, file in dataset.files.items() if name.startswith("data/"))
            yield IdleRows(path=dataset.path, rows=idle, size=size * idle // total)


def drop_rows(idle: IdleRows, images: Hashes) -> None:
    """Make a version of a feature table without these rows; what holds them is then a file of an older version.

    Raises StorageError, with nothing changed, where rows were added meanwhile.
    """
    newest, schema = newest_version(idle.path), None
    fragments: list[str] = []
    for table in each_fragment(idle.path, MADE_AGAIN, version=newest or 0):
        schema = table.schema
        kept = table.filter(pa.array(np.isin(_hashes(_pictures(table["id"])), images)))
        if kept.num_rows:
            fragments += write_fragments(idle.path, kept)
    if newest_version(idle.path) != newest:
        raise StorageError(f"features `{idle.path}` must not grow while they are cleaned; they did. Run it again.")
    commit_fragments(idle.path, schema, fragments)


def _pictures(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """The pictures that rows are of: their names, or what precedes the colon in those of views."""
    return pc.list_element(pc.split_pattern(ids, ":", max_splits=1), 0)


def _hashes(texts: pa.ChunkedArray) -> Hashes:
    """64-bit hashes of texts (n,), nulls left out."""
    digests = b"".join(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for text in texts.drop_null().to_pylist()
    )
    return np.frombuffer(digests, np.uint64)
