"""The removal of traces of pairs from a workspace, kind by kind, while nobody else writes there.

Each removal is one that can be broken off and done again: a file is removed, or replaced in one step by what it holds
without the traces. Bytes of a picture in a tar become zeros, so that all others stay where records say that they lie.
"""

import io
import json
import os
import tarfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evenly.storage.artifacts.store import digests_in
from evenly.storage.builds import Builds
from evenly.storage.exports.export import MANIFEST
from evenly.storage.ledger import Ledger
from evenly.storage.records import read_record, replacing
from evenly.storage.removal.decoded import holding, search
from evenly.storage.removal.leftovers import StoredFile, datasets, list_files, unneeded_files
from evenly.storage.removal.references import ARTIFACTS, RUNNING, Recorded, read_recorded
from evenly.storage.removal.traces import Traces
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.tables.block_sums import PARQUET_MARK, append_sums, open_checked
from evenly.storage.tables.lance_commits import commit_fragments, write_fragments
from evenly.storage.tables.lance_rows import MADE_AGAIN, each_fragment, newest_version
from evenly.storage.web.shards import REMEDY
from evenly.storage.web.working_folder import hold_folder
from evenly.storage.workspace import Workspace

_BLOCK = tarfile.BLOCKSIZE
_PIECE = 1 << 20


def searched_files(workspace: Workspace, exchange: Path) -> list[StoredFile]:
    """The files of a workspace that may hold pairs: all but the forget list, with its unfinished take-downs."""
    files = list_files(workspace.root)
    files += [] if exchange == workspace.exchange else list_files(exchange, "exchange/")
    return [file for file in files if not file.name.startswith("forget/")]


def purge(
    workspace: Workspace,
    exchange: Path,
    traces: Traces,
    buried: Mapping[str, str],
    *,
    of_classes: Collection[str] = (),
) -> None:
    """Remove all traces, and what was made of builds that were taken down; `buried`: their content hashes.

    of_classes: steps of which others are made that hold texts about classes alone: these go only where they hold a
    trace.
    """
    files = searched_files(workspace, exchange)
    hits = holding(search(files, traces))
    by_kind: dict[str, list[StoredFile]] = defaultdict(list)
    for file in files:
        if file.name in hits:
            by_kind[file.kind].append(file)
    _purge_steps(workspace, files, hits, buried, of_classes)
    _purge_samples(workspace)
    _purge_features(workspace, files, by_kind["features"], traces)
    _purge_downloads(workspace, by_kind["downloads"], traces)
    _purge_artifacts(workspace, files, hits, buried)
    _purge_exports(files, hits, buried.keys())
    for file in files:
        of_buried = file.kind == "reports" and file.path.name.startswith(tuple(buried))
        is_whole = file.kind in _WHOLE and not file.name.startswith(("batches/", "spending/"))
        if of_buried or (file.name in hits and is_whole):
            file.path.unlink(missing_ok=True)
    for folder in {file.path.parent for file in by_kind["requests and journals"] if file.name.startswith("batches/")}:
        for path in sorted(folder.iterdir(), key=lambda path: path.name != "intent.json"):
            path.unlink(missing_ok=True)
    _remove_empty(workspace.root)


def _remove_empty(root: Path) -> None:
    """Remove the folders of this machine that are empty now, but for those of the workspace's own."""
    for folder, _, _ in () if isinstance(root, ObjectPath) else os.walk(root, topdown=False):
        if len(Path(folder).relative_to(root).parts) > 1:
            with suppress(OSError):  # it is not empty
                Path(folder).rmdir()


_WHOLE = ("requests and journals", "reports", "journal of runs", "leaderboards", "exchange", "temporary files")
"""Kinds of files that go whole where one holds a trace."""


def _purge_steps(
    workspace: Workspace,
    files: Sequence[StoredFile],
    hits: set[str],
    buried: Mapping[str, str],
    of_classes: Collection[str],
) -> None:
    """Remove step records with a trace or of buried builds, all that was made of these, and tables that none needs."""
    recorded, ledger = read_recorded(workspace, files), Ledger(workspace)
    names = {
        key: {path.relative_to(workspace.root).as_posix() for path in ledger.files(record)}
        for key, (record, _) in recorded.records.items()
    }
    gone, hashes = {key for key, tables in names.items() if tables & hits}, set(buried.values())
    gone |= {
        key
        for key, (record, file) in recorded.records.items()
        if file.name in hits or record.inputs.get("build") in hashes
    }
    stale = _stale(recorded, gone, of_classes)
    stays = {name for key, tables in names.items() if key not in stale for name in tables}
    for key in sorted(stale, key=lambda key: recorded.records[key][0].ended, reverse=True):
        recorded.records[key][1].path.unlink(missing_ok=True)
    removed_names = {name for key in stale for name in names[key] if name not in stays} | {
        file.name for file in files if file.kind == "ledger tables" and file.name in hits and file.name not in stays
    }
    digests = {name.rpartition("-")[2].removesuffix(".arrow") for name in removed_names}
    for part, file in recorded.parts:
        if not digests.isdisjoint(digest[:32] for _, digest in part.files) or file.name in hits:
            file.path.unlink(missing_ok=True)
    for name in removed_names:
        workspace.root.joinpath(*name.split("/")).unlink(missing_ok=True)


def _stale(recorded: Recorded, gone: set[str], of_classes: Collection[str]) -> set[str]:
    """The keys of records that go: those with a trace or about buried builds, and those made of what goes."""
    live, stale, waiting = recorded.keys, set[str](), list(gone)
    by_input: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key, (record, _) in recorded.records.items():
        for name_and_output in record.inputs.items():
            by_input[name_and_output].append(key)
    while waiting:
        key = waiting.pop()
        if key not in stale and key not in live:
            stale.add(key)
            step = recorded.records[key][0]
            if step.name not in of_classes:
                waiting += by_input[step.name, step.output_hash]
    return stale


def _purge_samples(workspace: Workspace) -> None:
    """Remove the versions of sample tables that no build names any more."""
    manifests, named = Builds(workspace).manifests(), defaultdict[str, set[int]](set)
    for manifest in manifests:
        named[str(manifest["recipe_name"])].add(int(manifest["samples"]["version"]))
    _remove_unneeded(workspace, "sample tables", named)


def _remove_unneeded(workspace: Workspace, kind: str, named: Mapping[str, Collection[int]]) -> None:
    files = [file for file in list_files(workspace.root) if file.kind == kind]
    for dataset in datasets(files, named):
        if kind == "features" and newest_version(dataset.path) is None:
            continue
        for leftover in unneeded_files(dataset, lambda _: True):
            for file in leftover.files:
                file.path.unlink(missing_ok=True)


def _purge_features(
    workspace: Workspace, files: Sequence[StoredFile], stored: Sequence[StoredFile], traces: Traces
) -> None:
    """Write features anew without the rows of traces; an index of them goes, and is made again by its command."""
    paths = {folder for file in stored for folder in file.path.parents if folder.suffix == ".lance"}
    for path in sorted(paths):
        indexes = [file for file in files if file.path.parent == path.parent and file.path.suffix == ".json"]
        codes = path.with_name("images-codes.lance")
        for file in (*indexes, *(file for file in files if codes in file.path.parents)):
            file.path.unlink(missing_ok=True)
        if path != codes:
            _without_rows(path, traces)
    _remove_unneeded(workspace, "features", {})
    left = holding(search(stored, traces))
    for file in stored:
        of_version = any(folder.suffix == ".lance" and newest_version(folder) for folder in file.path.parents)
        if file.name in left and not of_version:  # a card, or of a writer that was killed
            file.path.unlink(missing_ok=True)


def _without_rows(path: Path, traces: Traces) -> None:
    """A version of a feature table without rows of traces; the table goes where no row is left."""
    newest = newest_version(path)
    tables = partial(each_fragment, path, MADE_AGAIN, version=newest or 0)
    if newest is None or not any(traces.in_table(table)[1].any() for table in tables()):
        return
    fragments, schema = list[str](), None
    for table in tables():
        schema = table.schema
        kept = table.filter(pa.array(~traces.in_table(table)[1]))
        fragments += write_fragments(path, kept) if kept.num_rows else []
    if fragments:
        commit_fragments(path, schema, fragments)
        return
    for file in sorted((file.path for file in list_files(path)), key=lambda file: "_versions" not in file.parts):
        file.unlink(missing_ok=True)


def _purge_downloads(workspace: Workspace, stored: Sequence[StoredFile], traces: Traces) -> None:
    """Take pictures out of the tars that hold them, and their rows out of records and measurements."""
    if not stored:
        return
    with hold_folder(workspace.downloads):
        recorded = set[str]()
        for shard in sorted({file.path.name.partition(".")[0] for file in stored}):
            records = workspace.downloads / f"{shard}.parquet"
            if records.exists():
                recorded |= {records.name, f"{shard}.measured.parquet", *_purge_shard(records, traces)}
        for file in stored:
            if file.path.name not in recorded:  # of a writer that was killed, or slower than another
                file.path.unlink(missing_ok=True)


def _purge_shard(records: Path, traces: Traces) -> list[str]:
    """Take traces out of a shard; the names of its tars."""
    table = _read_parquet(records)
    listed = table.filter(pa.array(traces.in_table(table)[1]))
    for name in listed["tar"].drop_null().unique().to_pylist():
        rows = listed.filter(pc.fill_null(pc.equal(listed["tar"], name), False))
        _blank(records.with_name(name), zip(rows["offset"].to_pylist(), rows["size"].to_pylist(), strict=True))
    measured = records.with_name(f"{records.stem}.measured.parquet")
    if measured.exists():
        _write_without(measured, _read_parquet(measured), traces)
    _write_without(records, table, traces)
    tars: list[str] = table["tar"].drop_null().unique().to_pylist()
    return tars


def _read_parquet(path: Path) -> pa.Table:
    with open_checked(path, REMEDY) as source:
        return pq.ParquetFile(source).read()


def _write_without(path: Path, table: pa.Table, traces: Traces) -> None:
    """Write a table anew without its rows of traces; nothing where it has none."""
    is_one = traces.in_table(table)[1]
    if is_one.any():
        buffer = io.BytesIO()
        kept = table.filter(pa.array(~is_one)).replace_schema_metadata(PARQUET_MARK)
        pq.write_table(kept, buffer, compression="zstd")
        with replacing(path) as stream:
            stream.write(buffer.getvalue())
            append_sums(stream)


def _blank(tar: Path, spans: Iterable[tuple[int, int]]) -> None:
    """Put zeros, under a name that says nothing, in the place of the members of a tar whose bytes lie in `spans`."""
    pieces: dict[int, tuple[int, Callable[[int], bytes]]] = {}
    for offset, size in spans:
        header = tarfile.TarInfo(f"forgotten-{offset}.bin")
        header.size = size
        text = header.tobuf(tarfile.USTAR_FORMAT)
        pieces[offset - _BLOCK] = (_BLOCK, lambda _n, text=text: text)  # type: ignore[misc]  # the header of this one
        pieces[offset] = (size, bytes)
    with tar.open("rb") as source, replacing(tar) as stream:
        place = 0
        for begin in sorted(pieces):
            length, content = pieces[begin]
            _copy(source, stream, begin - place)
            stream.write(content(length))
            source.seek(begin + length)
            place = begin + length
        _copy(source, stream, None)


def _copy(source: BinaryIO, target: BinaryIO, length: int | None) -> None:
    """Copy so many bytes, or all that are left."""
    left = length
    while left is None or left > 0:
        piece = source.read(_PIECE if left is None else min(left, _PIECE))
        if not piece:
            return
        target.write(piece)
        left = None if left is None else left - len(piece)


def artifacts_of(
    files: Sequence[StoredFile], hits: Collection[str], builds: Mapping[str, str]
) -> Iterator[tuple[StoredFile, Collection[str]]]:
    """The files of adapters and refined encoders of builds, by their ids and content hashes, and objects these name."""
    for file in files:
        if file.kind in ARTIFACTS:
            text = file.path.read_text(errors="replace") if file.path.suffix == ".json" else ""
            is_named = any(f'"{name}"' in text for item in builds.items() for name in item)
            if is_named or file.name in hits or not builds.keys().isdisjoint(file.name.split("/")):
                yield file, digests_in(text)


def _purge_artifacts(
    workspace: Workspace, files: Sequence[StoredFile], hits: Collection[str], buried: Mapping[str, str]
) -> None:
    """Remove adapters and refined encoders that were fitted on buried builds, and contents that no other card names.

    States of trainings name no build: all of them go.
    """
    removed = {file.name: digests for file, digests in artifacts_of(files, hits, buried)}
    texts = list[str]()
    for file in (file for file in files if file.kind in ARTIFACTS):
        if file.name in removed or file.name.startswith(RUNNING):
            file.path.unlink(missing_ok=True)
            file.path.with_suffix(".safetensors").unlink(missing_ok=True)
        elif file.path.suffix == ".json":
            texts.append(file.path.read_text(errors="replace"))
    recorded = read_recorded(workspace, files)
    texts += [json.dumps(record, default=str) for record in (*map(asdict, recorded.steps), *recorded.manifests)]
    named = {digest for text in texts for digest in digests_in(text)}
    for digest in {digest for digests in removed.values() for digest in digests} - named:
        (workspace.objects / f"{digest}.safetensors").unlink(missing_ok=True)


def _purge_exports(files: Sequence[StoredFile], hits: Collection[str], builds: Collection[str]) -> None:
    """Remove the exports in the workspace that hold a trace or are of buried builds, their manifests last."""
    stored = [file for file in files if file.kind == "exports"]
    manifests = [file for file in stored if file.path.name == MANIFEST]
    for manifest in manifests:
        members = [file for file in stored if manifest.path.parent in file.path.parents]
        if read_record(manifest.path).get("build") in builds or any(file.name in hits for file in members):
            for file in sorted(members, key=lambda file: file == manifest):
                file.path.unlink(missing_ok=True)
    finished = [manifest.path.parent for manifest in manifests]
    for file in stored:  # of exports that were broken off
        if file.name in hits and not any(folder in file.path.parents for folder in finished):
            file.path.unlink(missing_ok=True)
