"""Files of Lance datasets that no version needs which a build names: of killed writers, and of versions in between.

A version counts once its manifest has checksums, so these are removed first: a removal that is broken off leaves what a
killed writer leaves, which the next one undoes.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenly.storage.errors import StorageError
from evenly.storage.removal.leftovers import IsOld, Leftover
from evenly.storage.removal.stored_files import StoredFile
from evenly.storage.tables.block_sums import SUMS
from evenly.storage.tables.lance_rows import INDEX_FILES, MADE_AGAIN, newest_version, readable_rows, version_of

_PARTS = ("_versions", "data", "_indices", "_transactions")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A Lance dataset: where it lies, its files by their names within it, and the versions that builds name.

    named: None for features, of which only the newest version is read.
    """

    path: Path
    kind: str
    files: Mapping[str, StoredFile]
    named: Collection[int] | None

    @property
    def versions(self) -> dict[int, str]:
        """The versions that have a manifest, finished or not, and its name."""
        names = [name for name in self.files if name.startswith("_versions/") and name.endswith(".manifest")]
        numbers = [(name.rpartition("/")[2].removesuffix(".manifest"), name) for name in names]
        return {version_of(number): name for number, name in numbers if number.isdigit()}


def datasets(files: Sequence[StoredFile], named: Mapping[str, Collection[int]]) -> Iterator[Dataset]:
    """The sample tables and the features; `named`: the versions of each recipe that builds name."""
    groups: dict[Path, dict[str, StoredFile]] = defaultdict(dict)
    for file in files:
        if file.kind in ("sample tables", "features"):
            for depth, folder in enumerate(file.path.parents):
                if folder.suffix == ".lance":
                    name = "/".join(file.path.parts[-depth - 1 :])
                    groups[folder][name] = file
    for path, members in groups.items():
        kind = next(iter(members.values())).kind
        versions = named.get(path.stem, ()) if kind == "sample tables" else None
        yield Dataset(path=path, kind=kind, files=members, named=versions)


def unneeded_files(dataset: Dataset, is_old: IsOld) -> Iterator[Leftover]:
    """The files that may go; none of a dataset that is damaged."""
    versions, needed_versions = dataset.versions, dataset.named
    if needed_versions is None:
        newest = newest_version(dataset.path)
        needed_versions = () if newest is None else (newest,)
    if not set(needed_versions) <= set(versions):
        return  # it is damaged: nothing more is to go
    old = {name for name, file in dataset.files.items() if is_old(file)}
    kept = [number for number, name in versions.items() if number in needed_versions or name not in old]
    try:
        needed = _files_of(dataset, kept)
    except StorageError:
        return
    free = {name for name in old - needed if _is_of_a_version(name) or not kept}
    covered = {f"{SUMS}/{name}.json": name for name in dataset.files}
    free |= {name for name in old if name.startswith(f"{SUMS}/") and (name not in covered or covered[name] in free)}
    if free:
        has_rows = any(name.startswith("data/") for name in free)
        yield Leftover(
            kind=dataset.kind,
            why="versions that no build names" if has_rows else "steps between versions that builds name",
            files=[dataset.files[name] for name in sorted(free, key=_removal_order)],
            lock=dataset.path.with_name(f".{dataset.path.name}.lock"),
            is_wrong=has_rows,
        )


def _is_of_a_version(name: str) -> bool:
    """Whether a file is part of what Lance writes for versions; what it writes beside them stays."""
    return name.partition("/")[0] in _PARTS and name.endswith((*INDEX_FILES, ".manifest", ".txn"))


def _removal_order(name: str) -> tuple[int, str]:
    """Sums of manifests first, then manifests; other sums last, when what they are of is gone."""
    if name.startswith(f"{SUMS}/_versions/"):
        return 0, name
    if name.startswith("_versions/"):
        return 1, name
    return (3 if name.startswith(f"{SUMS}/") else 2), name


def _files_of(dataset: Dataset, versions: Collection[int]) -> set[str]:
    """The names of the files that versions consist of."""
    names, indices = set[str](), set[str]()
    manifests = [dataset.files[dataset.versions[number]] for number in versions]
    for number, manifest in zip(versions, manifests, strict=True):
        content = manifest.path.read_bytes()
        names.add(dataset.versions[number])
        names |= {
            name for name in dataset.files if name.startswith("_transactions/") and Path(name).name.encode() in content
        }
        with readable_rows(dataset.path, MADE_AGAIN):
            opened = _opened(dataset.path, number)
            names |= {f"data/{file.path}" for part in opened.get_fragments() for file in part.data_files()}
            indices |= {str(segment.uuid) for index in opened.describe_indices() for segment in index.segments}
    names |= {name for name in dataset.files if name.startswith("_indices/") and name.split("/")[1] in indices}
    return names


def _opened(path: Path, version: int) -> Any:  # noqa: ANN401 - Lance's
    import lance

    return lance.dataset(str(path), version=version)
