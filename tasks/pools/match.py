"""Match a pool of captions in stretches, without a rebuild: the concepts of each caption, and how often each occurs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.collecting import pair_uids
from evenly.curation.concepts.matching import BUNDLED, Matcher, Mode, check_mode, in_order
from evenly.curation.concepts.multilingual import MultilingualMatcher
from evenly.curation.errors import RuleError
from evenly.storage.errors import InputError
from evenly.storage.matches.matches import ENCODED, MatchFile, assemble, counts_path, entries_path, texts_hash
from evenly.storage.matches.parts import PoolParts, parts_beside, regrouped, with_last, writing_alone
from evenly.storage.matches.stamped import finished_facts
from evenly.storage.pools.captions import (
    CaptionColumns,
    CaptionRows,
    check_columns,
    count_rows,
    file_pieces,
    pool_files,
    read_caption_rows,
)
from evenly.storage.pools.csv_records import HOW_CSV_IS_READ
from evenly.storage.pools.rows import PoolPiece, file_kind
from evenly.storage.records import content_hash
from evenly.storage.step_records import StoredPart
from evenly.storage.tables.hashing import file_hash
from evenly.tasks.pools.work import PoolWork
from evenly.tasks.rebuild.concepts import (
    concept_version,
    how_matched,
    identity_of_lists,
    read_language_lists,
    recipe_concepts,
)
from evenly.tasks.run import Run

STEP = "match_pool"
VERSION = 1
STORED = pa.schema([ENCODED.field(name) for name in ("uid", "language", "entries", "reason")])
"""Of a part: where its rows lie is known by the stretch."""


@dataclass(frozen=True, kw_only=True)
class PoolMatching:
    """Matching of a pool.

    metadata: `wordnet`, `wordnet_all`, or a concept list. With a column of languages it must say which language each
    entry is of, and a caption is matched against the list of its language only (MetaCLIP 2).
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
class MatchList:
    """A concept list, its identity, and what matches against it."""

    texts: pa.Array
    identity: str
    matching: PoolMatching

    @cached_property
    def matcher(self) -> Matcher | MultilingualMatcher:
        """Made when the first caption is matched."""
        mode, metadata = self.matching.mode, self.matching.metadata
        if self.matching.columns.language is not None:
            return MultilingualMatcher(read_language_lists(metadata), mode)
        return Matcher(recipe_concepts(metadata).entries, mode, plurals=self.matching.plurals)

    @property
    def facts(self) -> dict[str, Any]:
        """The facts of its list in a file of matches."""
        return {"identity": self.identity, "entries": len(self.texts), "texts": texts_hash(self.texts)}


@dataclass(frozen=True, kw_only=True)
class MatchStretch:
    """Rows of a pool that are matched as one: a file, or row groups of one; hash: that of the file."""

    piece: PoolPiece
    hash: str

    @property
    def identity(self) -> dict[str, Any]:
        """The inputs of its rows."""
        groups = self.piece.groups
        return {"file": self.hash, "groups": None if groups is None else [groups.start, groups.stop]}


@dataclass(frozen=True, kw_only=True)
class MatchOfPool:
    """A pool and how it is matched, looked at before work begins; nothing is written.

    files, with their hashes in `hashes`; facts: what its matches depend on besides these.
    """

    files: Sequence[Path]
    hashes: Sequence[str]
    matching: PoolMatching
    facts: Mapping[str, Any]

    @classmethod
    def at(cls, pool: str, matching: PoolMatching) -> "MatchOfPool":
        """Raises InputError for a pool or a list that cannot be read, or whose rows would have equal names."""
        if matching.metadata not in BUNDLED:  # workers may be in other folders
            matching = replace(matching, metadata=str(Path(matching.metadata).expanduser().absolute()))
        files = [file.absolute() for file in pool_files(pool)]
        check_columns(files, matching.columns)
        concepts = read_match_list(matching)
        hashes = [file_hash(file)[:32] for file in files]
        if matching.columns.uid is None and matching.columns.url is None:
            _check_differ(files, hashes)
        facts = {
            "version": VERSION,
            "mode": matching.mode,
            "plurals": matching.plurals,
            "columns": asdict(matching.columns),
            "list": concepts.facts,
            **how_matched(matching.mode, plurals=matching.plurals),
            **(HOW_CSV_IS_READ if any(file_kind(file) == "csv" for file in files) else {}),
        }
        return cls(files=files, hashes=hashes, matching=matching, facts=facts)

    @cached_property
    def stretches(self) -> list[MatchStretch]:
        """The stretches of all files, in order."""
        return [
            MatchStretch(piece=piece, hash=its_hash)
            for file, its_hash in zip(self.files, self.hashes, strict=True)
            for piece in file_pieces(file)
        ]

    def fitted(self, work: PoolWork) -> PoolWork:
        """The work, with as many processes and threads as there is memory and work for."""
        return work.fitting(self.facts["list"]["entries"], len(self.stretches))


def match_pool(match: MatchOfPool, out: Path, *, work: PoolWork, overwrite: bool = False) -> dict[str, Any]:
    """Match each caption of a pool and write `out`; return what it holds.

    A finished file of the same pool, list and mode is kept as it is; an interrupted run goes on after the stretches
    that are done. Memory is bounded by the rows that are held: some stretches for each thread, and a row group. Raises
    WriterError while another process writes `out`.
    """
    with writing_alone(out):
        return _match_alone(match, out, work, overwrite=overwrite)


def _match_alone(match: MatchOfPool, out: Path, work: PoolWork, *, overwrite: bool) -> dict[str, Any]:
    wanted = {**match.facts, "pool": content_hash(list(match.hashes))}
    if (facts := finished_facts(out, wanted, _facts_at, overwrite=overwrite)) is not None:
        return {"out": str(out), "reused": True, "texts_per_second": None, **facts}
    work = match.fitted(work)
    started, matched = perf_counter(), list[int]()
    stretches, function = match.stretches, MatchedStretch(matching=match.matching, key=content_hash(dict(match.facts)))
    run = work.run(out, count_rows(list(match.files)))
    with work.each(run, len(stretches), 1) as each:
        done = each.items("matching", function, stretches)
        parts = PoolParts(ledger=run.ledger, step=STEP, key=function.key)

        def tables(number: int) -> Iterator[pa.Table]:
            its_hash = match.hashes[number]
            for stretch in file_pieces(match.files[number]):
                stored, fresh = next(done)
                matched.append(fresh)
                first = stretch.first_row
                for part in stored:
                    table = _placed(parts.read(part), its_hash, first)
                    first += table.num_rows
                    yield table

        named = (
            (file.name, its_hash, tables(number))
            for number, (file, its_hash) in enumerate(zip(match.files, match.hashes, strict=True))
        )
        texts = read_match_list(match.matching).texts
        assemble(out, parts_beside(out), named, entries=texts, facts=wanted)
    speed = round(sum(matched) / (perf_counter() - started)) if sum(matched) else None
    return {"out": str(out), "reused": False, "texts_per_second": speed, **MatchFile.at(out).facts}


@dataclass(frozen=True, kw_only=True)
class MatchedStretch:
    """Matches a stretch and keeps its parts; key: what these depend on besides the stretch."""

    matching: PoolMatching
    key: str

    def __call__(self, run: Run, stretch: MatchStretch) -> tuple[list[StoredPart], int]:
        """The parts of a stretch, and the number of rows that were matched now."""
        parts = PoolParts(ledger=run.ledger, step=STEP, key=self.key)
        if (stored := parts.find(stretch.identity)) is not None:
            return stored, 0
        matcher, (file,) = read_match_list(self.matching).matcher, stretch.piece.files
        tables = in_order(
            lambda rows: _match_rows(rows, stretch.hash, matcher),
            read_caption_rows(file, self.matching.columns, stretch.piece),
            run.processes,
        )
        rows = list[int]()

        def keep(numbered: tuple[int, pa.Table, bool]) -> StoredPart:
            number, table, is_last = numbered
            rows.append(table.num_rows)
            return parts.keep(stretch.identity, number, table, is_last=is_last)

        kept = list(in_order(keep, with_last(regrouped(tables, STORED.empty_table())), 1))
        return kept, sum(rows)


def _placed(table: pa.Table, its_hash: str, first_row: int) -> pa.Table:
    """Rows of a part as ENCODED has them, with the places where they lie."""
    n = table.num_rows
    codes = pa.array(np.zeros(n, dtype=np.int32))
    table = table.append_column("file", pa.DictionaryArray.from_arrays(codes, pa.array([its_hash])))
    table = table.append_column("row", pa.array(np.arange(first_row, first_row + n)))
    return table.select(ENCODED.names).cast(ENCODED)


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
        languages,
        entries,
        pc.if_else(is_empty, unmatched, rows.reject).dictionary_encode(),
    ]
    return pa.table(columns, schema=STORED)


def _uids(rows: CaptionRows, its_hash: str, numbers: pa.Array, is_right: pa.Array) -> pa.Array:
    """The pool's own, or a rebuild's of URL and caption; for other rows the file's hash and the row's number."""
    if rows.uid is not None:
        names = rows.uid
        is_right = pc.not_equal(pc.fill_null(names, ""), "")
    elif rows.url is not None:
        names = pair_uids(rows.url, rows.caption)
    else:
        names, is_right = None, pa.scalar(False)
    if names is not None and pc.all(is_right).as_py() is not False:
        return names
    places = pc.binary_join_element_wise(its_hash, numbers.cast(pa.string()), ":")
    return places if names is None else pc.if_else(is_right, names, places)


def read_match_list(matching: PoolMatching) -> MatchList:
    """The list that captions are matched against, held as long as it is asked for and does not change."""
    version = None if matching.metadata in BUNDLED else concept_version(matching.metadata)
    return _match_list(matching, version)


@lru_cache(maxsize=1)
def _match_list(matching: PoolMatching, _version: object) -> MatchList:
    if matching.columns.language is None:
        concepts = recipe_concepts(matching.metadata)
        texts = concepts.table["entry"].combine_chunks()
        return MatchList(texts=texts, identity=concepts.identity, matching=matching)
    lists = read_language_lists(matching.metadata)
    entries = dict.fromkeys(entry for entries in lists.values() for entry in entries)
    return MatchList(texts=pa.array(list(entries), pa.string()), identity=identity_of_lists(lists), matching=matching)


def _check_differ(files: Sequence[Path], hashes: Sequence[str]) -> None:
    first: dict[str, Path] = {}
    for file, its_hash in zip(files, hashes, strict=True):
        if its_hash in first:
            raise InputError(
                f"files must differ where rows are named by file and number; got `{first[its_hash]}` and `{file}`, "
                "which are equal. Leave one out, or name a column with --uid or --url."
            )
        first[its_hash] = file


def _facts_at(out: Path) -> Mapping[str, Any]:
    facts = MatchFile.at(out).facts
    for beside in (counts_path(out), entries_path(out)):
        if not beside.is_file():
            raise InputError(f"`{beside}` must lie beside `{out}`; it does not. Match again.")
    return facts
