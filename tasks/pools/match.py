"""Match a pool of captions in stretches, without a rebuild: the concepts of each caption, and how often each occurs."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.concepts.matching import Matcher, Mode, check_mode, in_order
from evenly.curation.concepts.multilingual import MultilingualMatcher
from evenly.curation.errors import RuleError
from evenly.curation.uids import pair_uid
from evenly.storage.errors import InputError
from evenly.storage.matches.matches import (
    ENCODED,
    MatchFile,
    MatchParts,
    assemble,
    counts_path,
    entries_path,
    texts_hash,
)
from evenly.storage.pools.captions import (
    CaptionColumns,
    CaptionRows,
    check_columns,
    count_rows,
    pool_files,
    read_caption_rows,
    short_file_hash,
)
from evenly.storage.pools.csv_records import HOW_CSV_IS_READ
from evenly.storage.pools.rows import file_kind
from evenly.storage.records import content_hash
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.concepts import how_matched, identity_of_lists, read_language_lists, recipe_concepts

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class PoolMatching:
    """How a pool is matched.

    metadata: `wordnet`, or a concept list. With a column of languages it must say which language each entry is of, and
    a caption is matched against the list of its language only (MetaCLIP 2).
    """

    metadata: str
    mode: Mode = "faithful"
    plurals: bool = False
    columns: CaptionColumns = field(default_factory=CaptionColumns)

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        check_mode(self.mode)
        if self.plurals and self.columns.language is not None:
            raise RuleError("`plurals` must be off with a column of languages; got on. Leave one out.")


@dataclass(frozen=True, eq=False, kw_only=True)
class _List:
    """A concept list, its identity, and what matches against it."""

    texts: pa.Array
    identity: str
    matcher: Matcher | MultilingualMatcher

    @property
    def facts(self) -> dict[str, Any]:
        """What a file of matches says of its list."""
        return {"identity": self.identity, "entries": len(self.texts), "texts": texts_hash(self.texts)}


def match_pool(
    pool: str, matching: PoolMatching, out: Path, *, workers: int, progress: Progress, overwrite: bool = False
) -> dict[str, Any]:
    """Match each caption of `pool` and write `out`; return what it holds.

    A finished file of the same pool, list and mode is kept as it is; an interrupted run goes on after the files that
    are done: each is kept as a part until the whole is there. Memory is bounded by the stretches that are held,
    `workers` + 1, and a row group.
    """
    if out.suffix != ".parquet":
        raise InputError(f"`out` must end in .parquet; got `{out}`. Rename it.")
    files = pool_files(pool)
    check_columns(files, matching.columns)
    concepts = _read_list(matching)
    hashes = [short_file_hash(file) for file in files]
    if matching.columns.uid is None and matching.columns.url is None:
        _check_differ(files, hashes)
    facts = {
        "version": VERSION,
        "mode": matching.mode,
        "plurals": matching.plurals,
        "columns": asdict(matching.columns),
        "list": concepts.facts,
        **how_matched(matching.mode),
        **(HOW_CSV_IS_READ if any(file_kind(file) == "csv" for file in files) else {}),
    }
    wanted = {**facts, "pool": content_hash(hashes)}
    if out.exists() and (finished := _finished(out, wanted)) is not None:
        return {"out": str(out), "reused": True, "texts_per_second": None, **finished}
    if out.exists() and not overwrite:
        raise InputError(f"`out` must not exist; got `{out}`. Choose another name, or overwrite it with --force.")
    out.parent.mkdir(parents=True, exist_ok=True)
    parts, started = MatchParts(out, content_hash(facts)), perf_counter()
    matched = 0

    def tables(number: int) -> Iterator[pa.Table]:
        nonlocal matched
        its_hash = hashes[number]
        is_done, is_last = parts.path(its_hash).exists(), number == len(files) - 1
        tables_of_file = (
            parts.read(its_hash) if is_done else _matched(files[number], its_hash, concepts, matching, workers)
        )
        for table in tables_of_file if is_done or is_last else parts.keep(its_hash, tables_of_file):
            yield table
            matched += 0 if is_done else table.num_rows
            advance(table.num_rows)

    with progress.bar("matching", count_rows(files)) as advance:
        named = (
            (file.name, its_hash, tables(number))
            for number, (file, its_hash) in enumerate(zip(files, hashes, strict=True))
        )
        assemble(out, parts.folder, named, entries=concepts.texts, facts=wanted)
    speed = round(matched / (perf_counter() - started)) if matched else None
    return {"out": str(out), "reused": False, "texts_per_second": speed, **MatchFile.at(out).facts}


def _matched(file: Path, its_hash: str, concepts: _List, matching: PoolMatching, workers: int) -> Iterator[pa.Table]:
    """The table HELD of one file, stretch by stretch."""
    tables: Iterator[pa.Table] = in_order(
        lambda rows: _match_rows(rows, its_hash, concepts.matcher),
        read_caption_rows(file, matching.columns),
        workers,
    )
    return tables


def _match_rows(rows: CaptionRows, its_hash: str, matcher: Matcher | MultilingualMatcher) -> pa.Table:
    n = len(rows.caption)
    numbers = pa.array(np.arange(rows.first_row, rows.first_row + n))
    is_right = pc.equal(rows.reject, "")
    captions = rows.caption if pc.all(is_right).as_py() else pc.if_else(is_right, rows.caption, None)
    if isinstance(matcher, MultilingualMatcher):
        languages = rows.language
        entries = matcher.match(captions, languages)
        unmatched = pc.if_else(matcher.knows(languages), "no_concept", "no_list_of_language")
    else:
        languages, entries, unmatched = pa.nulls(n, pa.string()), matcher.match(captions), "no_concept"
    is_empty = pc.and_(is_right, pc.equal(pc.list_value_length(entries), 0))
    columns = [
        _uids(rows, its_hash, numbers, is_right),
        pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, dtype=np.int32)), pa.array([its_hash])),
        numbers,
        languages,
        entries,
        pc.if_else(is_empty, unmatched, rows.reject).dictionary_encode(),
    ]
    return pa.table(columns, schema=ENCODED)


def _uids(rows: CaptionRows, its_hash: str, numbers: pa.Array, is_right: pa.Array) -> pa.Array:
    """The pool's own, or a rebuild's of URL and caption; for other rows the file's hash and the row's number."""
    if rows.uid is not None:
        names = rows.uid
        is_right = pc.not_equal(pc.fill_null(names, ""), "")
    elif rows.url is not None:
        pairs = zip(is_right.to_pylist(), rows.url.to_pylist(), rows.caption.to_pylist(), strict=True)
        names = pa.array([pair_uid(url, caption) if right else None for right, url, caption in pairs], pa.string())
    else:
        names, is_right = None, pa.scalar(False)
    if names is not None and pc.all(is_right).as_py() is not False:
        return names
    places = pc.binary_join_element_wise(its_hash, numbers.cast(pa.string()), ":")
    return places if names is None else pc.if_else(is_right, names, places)


def _read_list(matching: PoolMatching) -> _List:
    if matching.columns.language is None:
        concepts = recipe_concepts(matching.metadata)
        matcher: Matcher | MultilingualMatcher = Matcher(concepts.entries, matching.mode, plurals=matching.plurals)
        return _List(texts=concepts.table["entry"].combine_chunks(), identity=concepts.identity, matcher=matcher)
    lists = read_language_lists(matching.metadata)
    matcher = MultilingualMatcher(lists, matching.mode)
    return _List(texts=pa.array(matcher.entries, pa.string()), identity=identity_of_lists(lists), matcher=matcher)


def _check_differ(files: list[Path], hashes: list[str]) -> None:
    first: dict[str, Path] = {}
    for file, its_hash in zip(files, hashes, strict=True):
        if its_hash in first:
            raise InputError(
                f"files must differ where rows are named by file and number; got `{first[its_hash]}` and `{file}`, "
                "which are equal. Leave one out, or name a column with --uid or --url."
            )
        first[its_hash] = file


def _finished(out: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """The facts of the file at `out` where it is that of the same pool, list and mode."""
    try:
        facts = dict(MatchFile.at(out).facts)
    except InputError:
        return None
    if not (counts_path(out).is_file() and entries_path(out).is_file()):
        return None
    return facts if all(facts.get(name) == value for name, value in wanted.items()) else None
