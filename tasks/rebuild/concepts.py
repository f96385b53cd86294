"""Match captions against a concept list, and count how often each concept occurs."""

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import evenly.curation.concepts
import evenly.storage.files as storage_files
from evenly.curation.balance.matched_pairs import count_entries
from evenly.curation.concepts import judgement
from evenly.curation.concepts.concept_list import Concepts, build_concepts, folded_concepts, unmatchable
from evenly.curation.concepts.judgement import REGION_LABELS, chosen_texts, given_captions, judge_matches, label_entries
from evenly.curation.concepts.matching import BUNDLED, WORDNET, Matcher, MatchRule
from evenly.curation.concepts.multilingual import MultilingualMatcher, unmatchable_by_language
from evenly.curation.errors import RuleError
from evenly.curation.step import NoRule, Reads
from evenly.keys import one_array
from evenly.storage.errors import StorageError
from evenly.storage.files.concept_lists import ConceptFile, identity_of, read_concept_file
from evenly.storage.files.identities import IdentityRecord, default_cache, refuse_other
from evenly.storage.files.wordnets import WORDNET_NOUNS, load_wordnet_nouns
from evenly.storage.ledger import StepOutput, StepRecord
from evenly.storage.records import content_hash
from evenly.storage.tables.arrow_files import read_table, write_table
from evenly.storage.tables.hashing import file_hash
from evenly.tasks.run import Records, Run
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


@dataclass(frozen=True, eq=False, kw_only=True)
class MatchList:
    """The list that captions are matched against by a rule, whose `metadata` names it as on this machine."""

    rule: MatchRule

    @cached_property
    def lists(self) -> dict[str, list[str]]:
        """The list of each language, where captions are matched by language."""
        return read_language_lists(self.rule.metadata)

    @property
    def identity(self) -> str:
        """The identity of the list, which has to be built or read for it."""
        if self.rule.language is None:
            return recipe_concepts(self.rule.metadata).identity
        return identity_of_lists(self.lists)

    @cached_property
    def matcher(self) -> Matcher | MultilingualMatcher:
        """Made when the first caption is matched."""
        if self.rule.language is None:
            entries = recipe_concepts(self.rule.metadata).entries
            return Matcher(entries, self.rule.mode, plurals=bool(self.rule.plurals))
        return MultilingualMatcher(self.lists, self.rule.mode)

    @cached_property
    def texts(self) -> pa.Array:
        """The texts of the entries by number."""
        if self.rule.language is None:
            return recipe_concepts(self.rule.metadata).table["entry"].combine_chunks()
        return pa.array(list(dict.fromkeys(entry for entries in self.lists.values() for entry in entries)), pa.string())

    @property
    def matching(self) -> dict[str, str]:
        """Details that results depend on besides list and rule: none in faithful mode, which never changed."""
        details = {"alike": "first stands for all", "normalising": "twice is once"}
        if self.rule.mode == "faithful":
            return {}
        return details | ({"plurals": "irregular too"} if self.rule.plurals else {})


def _list_of(run: Run, rule: MatchRule) -> MatchList:
    """The list of a recipe's rule, where it lies on this machine; the lists of packages lie nowhere."""
    place = rule.metadata if rule.metadata in BUNDLED else run.locate(rule.metadata)
    return MatchList(rule=replace(rule, metadata=place))


def match_captions(reads: Reads, run: Run, upstream: Records, rule: MatchRule) -> StepOutput:
    """The concepts that each caption names; a pair that names none is dropped (no_concept), unless the rule keeps it.

    Where the rule names a column of `language`, a caption is matched against the list of its own; a pair in a language
    without one, or in none, is dropped (no_list_of_language). Table `matches`: uid, entries.
    """
    columns = reads(upstream, rule)
    pairs = run.ledger.alive(upstream, columns)
    matcher, texts = concept_matcher(run, rule), pairs.select(columns)
    if columns[0] == REGION_LABELS:
        entries = label_entries([pairs[name] for name in columns], _list_of(run, rule).texts)
        decisions, matches = judge_matches(pairs["uid"], entries, rule)
        return StepOutput(decisions=decisions.to_table(pairs["uid"]), tables={"matches": matches})
    entries = matcher.match_table(texts, workers=run.processes)
    decisions, matches = judge_matches(pairs["uid"], entries, rule, has_list=matcher.has_list(texts))
    return StepOutput(decisions=decisions.to_table(pairs["uid"]), tables={"matches": matches})


def concept_tables(run: Run, upstream: Records, rule: MatchRule, _facts: object) -> StepOutput:
    """The list that captions are matched against.

    Tables: `concepts` (entry, sources, synsets, maybe languages), and the entries that are `left_out` of it or
    `unmatchable` (entry, why, in normalized mode same_as; by language where these are matched).
    """
    match_list = _list_of(run, rule)
    concepts = recipe_concepts(match_list.rule.metadata)
    table = concepts.table
    if rule.language is None:
        never = unmatchable(concepts, rule.mode, plurals=bool(rule.plurals))
    else:
        never = unmatchable_by_language(match_list.lists, rule.mode)
        if "languages" not in table.column_names:
            languages = pa.array([list(match_list.lists)] * len(table), pa.list_(pa.string()))
            table = table.append_column("languages", languages)
    tables = {"concepts": table, "left_out": concepts.left_out, "unmatchable": never}
    return StepOutput(tables=tables, notes={"concepts": _identity(run, upstream, rule)["metadata"]})


def count_matches_of(run: Run, upstream: Records, _rule: NoRule) -> StepOutput:
    """Pairs per concept, before any draw: entry, count."""
    lists = run.ledger.table(record_named(upstream, judgement.MATCH_CONCEPTS.name), "matches", ["entries"])["entries"]
    counts = count_entries(one_array(lists), 0)
    entries = np.flatnonzero(counts)
    return StepOutput(partial=pa.table({"entry": pa.array(entries, pa.int32()), "count": counts[entries]}))


def count_concepts(
    run: Run, upstream: Records, _rule: NoRule, _facts: object, partials: Sequence[pa.Table]
) -> StepOutput:
    """Pairs per concept over the whole pool: table `counts` (entry, concept, count)."""
    matched = record_named(upstream, judgement.MATCH_CONCEPTS.name)
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
    """The matcher of captions by the rule."""
    match_list = _list_of(run, rule)
    recorded = _record(run, match_list).settle(match_list.identity, _files(match_list), since_ns=time.time_ns())
    refuse_other(f"the list `{rule.metadata}`", recorded, match_list.identity)
    return match_list.matcher


def _identity(run: Run, _upstream: Records, rule: MatchRule) -> dict[str, str]:
    match_list = _list_of(run, rule)
    identity = _record(run, match_list).get(lambda: match_list.identity, _files(match_list))
    return {"metadata": identity, **match_list.matching}


def _record(run: Run, match_list: MatchList) -> IdentityRecord:
    """The record of a list's identity: WordNet's nouns alone take seconds to put in order."""
    facts = {"list": match_list.rule.metadata, "by_language": match_list.rule.language is not None}
    return IdentityRecord(cache=run.cache, kind="concepts", facts=facts, code=_CODE)


def _files(match_list: MatchList) -> list[Path]:
    """The file of a list; none for a small one, which is read as soon as its record."""
    if match_list.rule.metadata in BUNDLED:
        return [WORDNET_NOUNS]
    path = Path(match_list.rule.metadata)
    return [path] if path.is_file() and path.stat().st_size >= _LARGE else []


MATCH_CONCEPTS = Step(
    name=judgement.MATCH_CONCEPTS.name,
    rule=MatchRule,
    judge=partial(match_captions, given_captions),
    shared=concept_tables,
    inputs=_identity,
)
COUNT_CONCEPTS = Step(name="count_concepts", rule=NoRule, judge=count_matches_of, finish=count_concepts)
MATCH_AGAIN = Step(
    name=judgement.MATCH_AGAIN.name,
    rule=MatchRule,
    judge=partial(match_captions, chosen_texts),
    inputs=_identity,
)
