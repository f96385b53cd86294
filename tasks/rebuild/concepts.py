"""Match captions against a concept list, and count how often each concept occurs."""

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import evenly.curation.concepts
import evenly.storage.files as storage_files
from evenly.curation.balance.matched_pairs import count_entries
from evenly.curation.concepts.concept_list import Concepts, build_concepts, folded_concepts, unmatchable
from evenly.curation.concepts.judgement import chosen_captions, given_captions, judge_matches
from evenly.curation.concepts.matching import BUNDLED, WORDNET, Matcher, MatchRule, Mode
from evenly.curation.concepts.multilingual import MultilingualMatcher, named_entries, unmatchable_by_language
from evenly.curation.errors import RuleError
from evenly.curation.step import NoRule, Reads
from evenly.storage.errors import InputError, StorageError
from evenly.storage.files.concept_lists import ConceptFile, identity_of, read_concept_file
from evenly.storage.files.identities import IdentityRecord
from evenly.storage.files.wordnets import WORDNET_NOUNS, load_wordnet_nouns
from evenly.storage.ledger import StepOutput, StepRecord
from evenly.storage.records import content_hash
from evenly.storage.tables.arrow_files import read_table, write_table
from evenly.storage.tables.hashing import file_hash
from evenly.tasks.run import Records, Run, default_cache
from evenly.tasks.step import Step

LARGEST = 10
_CODE = (evenly.curation.concepts, storage_files)
_LARGE = 1 << 20  # bytes of a list whose identity takes a second


def recipe_concepts(metadata: str) -> Concepts:
    """The concept list that a recipe names: one that comes with evenly, or a file as `read_concept_file` reads it.

    Entries of several languages are taken together, each once; captions are matched against all of them.
    """
    if metadata in BUNDLED:
        return _wordnet(metadata)
    return _listed(*concept_version(metadata))


def _place(run: Run, rule: MatchRule) -> str:
    """Where a recipe's concept list lies on this machine; the lists of packages lie nowhere."""
    return rule.metadata if rule.metadata in BUNDLED else run.locate(rule.metadata)


def read_language_lists(metadata: str) -> dict[str, list[str]]:
    """The concept list of each language: of a JSON object of them, or of a list that was built for one.

    Over all languages, entries stand in the order of `read_concept_file`. Raises RuleError where no language is named.
    """
    lists = {} if metadata in BUNDLED else _read(*concept_version(metadata)).by_language
    if not lists:
        raise RuleError(
            f"`metadata` must hold a list per language where languages are matched; got `{metadata}`. Give a "
            "JSON object of language -> list, or a list that `evenly metadata build --language` wrote, or leave the "
            "column of languages out."
        )
    return lists


def identity_of_lists(lists: Mapping[str, Sequence[str]]) -> str:
    """The identity of a file that holds these lists: that of a list for one language does not name it."""
    languages = [language for language, entries in lists.items() for _ in entries]
    return identity_of([entry for entries in lists.values() for entry in entries], languages)


def concept_version(metadata: str) -> tuple[Path, tuple[int, ...] | None]:
    """A concept list's path, and what changes with its content."""
    path = Path(metadata)
    stat = path.stat() if path.is_file() else None
    return path, None if stat is None else (stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=1)
def _wordnet(name: str) -> Concepts:
    """WordNet's list: it takes seconds to put in order, so it is kept, named by the content of all it is made of."""
    code = (path for package in _CODE for place in package.__path__ for path in sorted(Path(place).glob("*.py")))
    made_of = [sys.version, pa.__version__, *map(file_hash, (WORDNET_NOUNS, *code))]
    folder = default_cache() / "concepts" / f"{name}-{content_hash(made_of)[:24]}"
    files = [folder / "table.arrow", folder / "left_out.arrow"]
    with suppress(StorageError):
        table, left_out = map(read_table, files)
        return Concepts(table=table, left_out=left_out, identity=identity_of(table["entry"].to_pylist()))
    concepts = build_concepts(load_wordnet_nouns(), nouns=name == WORDNET)
    with suppress(StorageError):  # of a cache that cannot be written
        for file, rows in zip(files, (concepts.table, concepts.left_out), strict=True):
            write_table(file, rows)
    return concepts


@lru_cache(maxsize=4)
def _read(path: Path, _version: tuple[int, ...] | None) -> ConceptFile:
    return read_concept_file(path)


@lru_cache(maxsize=4)
def _listed(path: Path, version: tuple[int, ...] | None) -> Concepts:
    concept_file = _read(path, version)
    return folded_concepts(concept_file.table, left_out=concept_file.left_out, identity=concept_file.identity)


def match_captions(reads: Reads, run: Run, upstream: Records, rule: MatchRule) -> StepOutput:
    """Which concepts each caption names; a pair that names none is dropped (no_concept), unless the rule keeps it.

    Where the rule names a column of `language`, a caption is matched against the list of its own; a pair in a language
    without one, or in none, is dropped (no_list_of_language). Table `matches`: uid, entries.
    """
    columns = reads(upstream, rule)
    pairs = run.ledger.alive(upstream, columns)
    matcher, has_list = concept_matcher(run, rule), None
    entries = named_entries(matcher, pairs.select(columns), run.processes)
    if isinstance(matcher, MultilingualMatcher):
        has_list = matcher.knows(pairs[columns[1]].combine_chunks().cast(pa.string()))
    decisions, matches = judge_matches(pairs["uid"], entries, rule, has_list=has_list)
    return StepOutput(decisions=decisions.to_table(pairs["uid"]), tables={"matches": matches})


def concept_tables(run: Run, upstream: Records, rule: MatchRule, _facts: object) -> StepOutput:
    """The list that captions are matched against.

    Tables: `concepts` (entry, sources, synsets, maybe languages), and the entries that are `left_out` of it or
    `unmatchable` (entry, why, in normalized mode same_as; by language where these are matched).
    """
    concepts = recipe_concepts(_place(run, rule))
    table = concepts.table
    if rule.language is None:
        never = unmatchable(concepts, rule.mode, plurals=bool(rule.plurals))
    else:
        lists = read_language_lists(_place(run, rule))
        never = unmatchable_by_language(lists, rule.mode)
        if "languages" not in table.column_names:
            table = table.append_column("languages", pa.array([list(lists)] * len(table), pa.list_(pa.string())))
    tables = {"concepts": table, "left_out": concepts.left_out, "unmatchable": never}
    return StepOutput(tables=tables, notes={"concepts": _identity(run, upstream, rule)["metadata"]})


def count_matches_of(run: Run, upstream: Records, _rule: NoRule) -> StepOutput:
    """Pairs per concept, before any draw: entry, count."""
    lists = run.ledger.table(record_named(upstream, "match_concepts"), "matches", ["entries"])["entries"]
    counts = count_entries(lists.combine_chunks(), 0)
    entries = np.flatnonzero(counts)
    return StepOutput(partial=pa.table({"entry": pa.array(entries, pa.int32()), "count": counts[entries]}))


def count_concepts(
    run: Run, upstream: Records, _rule: NoRule, _facts: object, partials: Sequence[pa.Table]
) -> StepOutput:
    """Pairs per concept over the whole pool: table `counts` (entry, concept, count)."""
    matched = record_named(upstream, "match_concepts")
    concepts = run.ledger.table(matched, "concepts", ["entry"])["entry"]
    totals = np.zeros(len(concepts), np.int64)
    for table in partials:
        totals[table["entry"].to_numpy()] += table["count"].to_numpy()
    counts = pa.array(totals)
    table = pa.table({"entry": pa.array(range(len(concepts)), pa.int32()), "concept": concepts, "count": counts})
    largest = np.argsort(-totals, kind="stable")[:LARGEST]
    notes = {
        "list": matched.notes["concepts"],
        "entries": len(concepts),
        "largest": [[concepts[int(entry)].as_py(), int(totals[entry])] for entry in largest if totals[entry]],
    }
    return StepOutput(tables={"counts": table.filter(pc.greater(counts, 0))}, notes=notes)


def record_named(records: Records, name: str) -> StepRecord:
    """The record of the step `name` among `records`."""
    return next(record for record in records if record.name == name)


def concept_matcher(run: Run, rule: MatchRule) -> Matcher | MultilingualMatcher:
    """What matches captions by the rule."""
    metadata = _place(run, rule)
    identity = _computed(metadata, rule)
    recorded = _record(run, metadata, rule).settle(identity, _files(metadata), since_ns=time.time_ns())
    if recorded is not None:
        raise InputError(
            f"the list `{rule.metadata}` must be the one of its record, {recorded[:12]}; read, it is {identity[:12]}: "
            "it was changed so that size, times and inode of no file tell. Nothing was stored with it, and the record "
            "is mended. Run again: it is another list."
        )
    if rule.language is None:
        return Matcher(recipe_concepts(metadata).entries, rule.mode, plurals=bool(rule.plurals))
    return MultilingualMatcher(read_language_lists(metadata), rule.mode)


def how_matched(mode: Mode, *, plurals: bool) -> dict[str, str]:
    """What the results of a mode depend on besides list and rule: those of faithful mode never changed."""
    details = {"alike": "first stands for all", "normalising": "twice is once"}
    return details | ({"plurals": "irregular too"} if plurals else {}) if mode == "normalized" else {}


def _identity(run: Run, _upstream: Records, rule: MatchRule) -> dict[str, str]:
    metadata, details = _place(run, rule), how_matched(rule.mode, plurals=bool(rule.plurals))
    record = _record(run, metadata, rule)
    return {"metadata": record.get(partial(_computed, metadata, rule), _files(metadata)), **details}


def _computed(metadata: str, rule: MatchRule) -> str:
    """The identity of a list, which has to be built or read for it."""
    if rule.language is None:
        return recipe_concepts(metadata).identity
    return identity_of_lists(read_language_lists(metadata))


def _record(run: Run, metadata: str, rule: MatchRule) -> IdentityRecord:
    """The record of that identity: WordNet's nouns alone take seconds to put in order."""
    facts = {"list": metadata, "by_language": rule.language is not None}
    return IdentityRecord(cache=run.cache, kind="concepts", facts=facts, code=_CODE)


def _files(metadata: str) -> list[Path]:
    """The file of a list; none for a small one, which is read as soon as its record."""
    if metadata in BUNDLED:
        return [WORDNET_NOUNS]
    path = Path(metadata)
    return [path] if path.is_file() and path.stat().st_size >= _LARGE else []


MATCH_CONCEPTS = Step(
    name="match_concepts",
    rule=MatchRule,
    judge=partial(match_captions, given_captions),
    shared=concept_tables,
    inputs=_identity,
)
COUNT_CONCEPTS = Step(name="count_concepts", rule=NoRule, judge=count_matches_of, finish=count_concepts)
MATCH_AGAIN = Step(
    name="match_again",
    rule=MatchRule,
    judge=partial(match_captions, chosen_captions),
    inputs=_identity,
)
