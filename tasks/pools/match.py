"""Match a pool of captions in stretches, without a rebuild: the concepts of each caption, and how often each occurs."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.collecting import pair_uids
from evenly.curation.concepts.judgement import unmatched_reasons
from evenly.curation.concepts.matching import BUNDLED, MatchRule, Mode, in_order
from evenly.storage.errors import InputError
from evenly.storage.matches.matches import ENCODED, MatchFile, assemble, regrouped, texts_hash
from evenly.storage.matches.stamped import parts_beside
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
from evenly.tasks.pools.work import PoolParts, PoolWork, written_facts
from evenly.tasks.rebuild.concepts import MatchList, concept_version
from evenly.tasks.run import Run

STEP = "match_pool"
VERSION = 1
MatchStretch = tuple[PoolPiece, str]
"""Rows of a pool that are matched as one, a file or row groups of one; and the hash of the file."""
STORED = pa.schema([ENCODED.field(name) for name in ("uid", "language", "entries", "reason")])
"""Of a part: where its rows lie is known by the stretch."""


@dataclass(frozen=True, kw_only=True)
class MatchJob:
    """The work of `evenly match`: match each caption of a pool, and write its matches to `out`.

    metadata: `wordnet`, `wordnet_all`, or a concept list. With a column of languages it must say which language each
    entry is of, and a caption is matched against the list of its language only (MetaCLIP 2). What is read is looked at
    once; InputError is raised for a pool or a list that cannot be read, or whose rows would have equal names.
    """

    pool: str
    metadata: str
    out: Path
    mode: Mode = "faithful"
    plurals: bool = False
    columns: CaptionColumns = field(default_factory=CaptionColumns)
    overwrite: bool = False
    work: PoolWork = field(default_factory=PoolWork)

    @property
    def title(self) -> str:
        """The work in words, for people."""
        return f"match {self.pool}"

    @cached_property
    def rule(self) -> MatchRule:
        """The rule of a rebuild that matches so."""
        metadata = self.metadata
        if metadata not in BUNDLED:  # workers may be in other folders
            metadata = str(Path(metadata).expanduser().absolute())
        return MatchRule(metadata=metadata, mode=self.mode, plurals=self.plurals, language=self.columns.language)

    @cached_property
    def files(self) -> dict[Path, str]:
        """The files of the pool, and their hashes."""
        files = [file.absolute() for file in pool_files(self.pool)]
        check_columns(files, self.columns)
        hashes = {file: file_hash(file)[:32] for file in files}
        if self.columns.uid is None and self.columns.url is None:
            _check_differ(hashes)
        return hashes

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The facts that matches depend on besides the pool's files."""
        match_list = read_match_list(self.rule)
        entries = {"entries": len(match_list.texts), "texts": texts_hash(match_list.texts)}
        return {
            "version": VERSION,
            "mode": self.mode,
            "plurals": self.plurals,
            "columns": asdict(self.columns),
            "list": {"identity": match_list.identity, **entries},
            **match_list.matching,
            **(HOW_CSV_IS_READ if any(file_kind(file) == "csv" for file in self.files) else {}),
        }

    @cached_property
    def stretches(self) -> list[MatchStretch]:
        """The stretches of all files, in order."""
        return [(piece, its_hash) for file, its_hash in self.files.items() for piece in file_pieces(file)]

    @cached_property
    def fitted(self) -> PoolWork:
        """The work, with as many processes and threads as there is memory and work for."""
        return self.work.fitting(self.facts["list"]["entries"], len(self.stretches))

    @property
    def has_workers(self) -> bool:
        """Whether other processes work, so that Prefect is needed."""
        return self.fitted.has_workers(len(self.stretches))

    def run(self) -> dict[str, Any]:
        """The facts of the matches.

        A finished file of the same pool, list and mode is kept as it is; an interrupted run goes on after the stretches
        that are done. Memory is bounded by the rows that are held: some stretches for each thread, and a row group.
        """
        wanted = {**self.facts, "pool": content_hash(list(self.files.values()))}
        write, unwritten = partial(self._write, wanted), {"texts_per_second": None}
        return written_facts(self.out, MatchFile, wanted, write, overwrite=self.overwrite, unwritten=unwritten)

    def _write(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Match and write; captions that were matched now in a second."""
        started, key, matched = perf_counter(), content_hash(self.facts), list[int]()
        stretches, rows = self.stretches, count_rows(list(self.files))
        with self.fitted.each(self.out, rows=rows, stretches=len(stretches), at_once=1) as (engine, ledger):
            done = engine.items("matching", partial(_match_stretch, self.rule, self.columns, key), stretches)
            parts = PoolParts(ledger=ledger, step=STEP, key=key)

            def tables(file: Path, its_hash: str) -> Iterator[pa.Table]:
                for piece in file_pieces(file):
                    stored, fresh = next(done)
                    matched.append(fresh)
                    first = piece.first_row
                    for part in stored:
                        table = _placed(parts.read(part), its_hash, first)
                        first += table.num_rows
                        yield table

            named = ((file.name, its_hash, tables(file, its_hash)) for file, its_hash in self.files.items())
            assemble(self.out, parts_beside(self.out), named, entries=read_match_list(self.rule).texts, facts=facts)
        return {"texts_per_second": round(sum(matched) / (perf_counter() - started)) if sum(matched) else None}


def _match_stretch(
    rule: MatchRule, columns: CaptionColumns, key: str, run: Run, stretch: MatchStretch
) -> tuple[list[StoredPart], int]:
    """The parts of a stretch, and the number of rows that were matched now; key: its inputs besides the stretch."""
    piece, its_hash = stretch
    groups = None if piece.groups is None else [piece.groups.start, piece.groups.stop]

    def made() -> Iterator[tuple[pa.Table, None]]:
        rows = read_caption_rows(piece.files[0], columns, piece)
        tables = in_order(partial(_match_rows, its_hash, read_match_list(rule)), rows, run.processes)
        return ((table, None) for table in regrouped(tables, STORED.empty_table()))

    return PoolParts(ledger=run.ledger, step=STEP, key=key).of({"file": its_hash, "groups": groups}, made)


def _placed(table: pa.Table, its_hash: str, first_row: int) -> pa.Table:
    """Rows of a part as ENCODED has them, with the places where they lie."""
    n = table.num_rows
    codes = pa.array(np.zeros(n, dtype=np.int32))
    table = table.append_column("file", pa.DictionaryArray.from_arrays(codes, pa.array([its_hash])))
    table = table.append_column("row", pa.array(np.arange(first_row, first_row + n)))
    return table.select(ENCODED.names).cast(ENCODED)


def _match_rows(its_hash: str, match_list: MatchList, rows: CaptionRows) -> pa.Table:
    n, is_right = len(rows.caption), pc.equal(rows.reject, "")
    captions = rows.caption if pc.all(is_right).as_py() else pc.if_else(is_right, rows.caption, None)
    languages = pa.nulls(n, pa.string()) if rows.language is None else rows.language
    texts = pa.table({"caption": captions, "language": languages})
    entries = match_list.matcher.match_table(texts)
    unmatched = unmatched_reasons(entries, match_list.rule, has_list=match_list.matcher.has_list(texts))
    numbers = pa.array(np.arange(rows.first_row, rows.first_row + n))
    columns = [
        _uids(rows, its_hash, numbers, is_right),
        languages,
        entries,
        pc.if_else(is_right, unmatched, rows.reject).dictionary_encode(),
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


def read_match_list(rule: MatchRule) -> MatchList:
    """The list that captions are matched against, held as long as it is asked for and does not change."""
    return _match_list(rule, None if rule.metadata in BUNDLED else concept_version(rule.metadata))


@lru_cache(maxsize=1)
def _match_list(rule: MatchRule, _version: object) -> MatchList:
    return MatchList(rule=rule)


def _check_differ(hashes: dict[Path, str]) -> None:
    first: dict[str, Path] = {}
    for file, its_hash in hashes.items():
        if its_hash in first:
            raise InputError(
                f"files must differ where rows are named by file and number; got `{first[its_hash]}` and `{file}`, "
                "which are equal. Leave one out, or name a column with --uid or --url."
            )
        first[its_hash] = file
