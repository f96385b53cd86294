"""Match captions against a concept list, and count how often each concept occurs."""

from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curation.decisions import Decisions
from curation.matched_pairs import count_entries
from curation.matching import Matcher
from curation.metadata import Concepts, build_concepts, folded_concepts, unmatchable
from storage.concept_files import read_concepts as read_file
from storage.ledger import StepOutput, StepRecord
from storage.wordnet import load_noun_synsets
from tasks.run import Run
from tasks.step import Records, Rule, Step

WORDNET = "wordnet"
BATCH_ROWS = 1 << 16


def read_concepts(metadata: str) -> Concepts:
    """The concept list that a recipe names: `wordnet`, or a file as `storage.concept_files.read_concepts` reads it.

    Entries of several languages are taken together, each once; captions are matched against all of them.
    """
    if metadata == WORDNET:
        return _wordnet()
    path = Path(metadata)
    stat = path.stat() if path.is_file() else None
    version = None if stat is None else (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return _listed(path, version)


@lru_cache(maxsize=1)
def _wordnet() -> Concepts:
    return build_concepts(load_noun_synsets())


@lru_cache(maxsize=4)
def _listed(path: Path, _version: tuple[int, ...] | None) -> Concepts:
    found = read_file(path)
    return folded_concepts(found.table, left_out=found.left_out, identity=found.identity)


def match_concepts(run: Run, before: Records, rule: Rule) -> StepOutput:
    """Which concepts each caption names; a pair that names none is dropped (no_concept).

    Tables: `matches` (uid, entries), `concepts` (entry, sources, synsets), and the entries that are `left_out` of it or
    `unmatchable` (entry, why).
    """
    pairs = run.ledger.alive(before, ["caption"])
    concepts = read_concepts(run.locate(rule["metadata"]))
    matches = _matches(run, pairs, "caption", concepts, rule)
    found = matches["entries"].combine_chunks().value_lengths()
    decisions = Decisions.of(
        reason=pc.if_else(pc.greater(found, 0), "", "no_concept"), value=found.cast(pa.float64())
    ).to_table(pairs["uid"])
    tables = {
        "matches": matches.filter(pc.greater(found, 0)),
        "concepts": concepts.table,
        "left_out": concepts.left_out,
        "unmatchable": unmatchable(concepts, rule["mode"]),
    }
    return StepOutput(decisions=decisions, tables=tables, notes={"concepts": concepts.identity})


def match_again(run: Run, before: Records, rule: Rule) -> StepOutput:
    """Match the captions that were chosen; pairs whose caption did not change match as before."""
    column = _chosen(before)
    pairs = run.ledger.alive(before, [column])
    matches = _matches(run, pairs, column, read_concepts(run.locate(rule["metadata"])), rule)
    found = matches["entries"].combine_chunks().value_lengths()
    decisions = Decisions.of(
        reason=pc.if_else(pc.greater(found, 0), "", "no_concept"), value=found.cast(pa.float64())
    ).to_table(pairs["uid"])
    return StepOutput(decisions=decisions, tables={"matches": matches.filter(pc.greater(found, 0))})


def count_concepts(run: Run, before: Records, _rule: Rule) -> StepOutput:
    """Pairs per concept over the whole pool, before any draw: table `counts` (entry, concept, count)."""
    matched = record_named(before, "match_concepts")
    matches = run.ledger.table(matched, "matches", ["entries"])["entries"].combine_chunks()
    concepts = run.ledger.table(matched, "concepts", ["entry"])["entry"]
    counts = pa.array(count_entries(matches, len(concepts)))
    table = pa.table({"entry": pa.array(range(len(concepts)), pa.int32()), "concept": concepts, "count": counts})
    return StepOutput(tables={"counts": table.filter(pc.greater(counts, 0))})


def record_named(records: Records, name: str) -> StepRecord:
    """The record of the step `name` among `records`."""
    return next(record for record in records if record.name == name)


def _matches(run: Run, pairs: pa.Table, column: str, concepts: Concepts, rule: Rule) -> pa.Table:
    matcher = Matcher(concepts.entries, rule["mode"], plurals=rule["plurals"])
    captions = (batch[column] for batch in pairs.select([column]).to_batches(max_chunksize=BATCH_ROWS))
    entries = matcher.match_batches(captions, workers=run.processes)
    return pa.table({"uid": pairs["uid"], "entries": pa.chunked_array(list(entries), pa.list_(pa.int32()))})


def _identity(run: Run, _before: Records, rule: Rule) -> dict[str, str]:
    return {"metadata": read_concepts(run.locate(rule["metadata"])).identity}


def _chosen(before: Records) -> str:
    """The column of the captions that were chosen, or of the given ones where none were."""
    return "chosen_caption" if any("chosen_caption" in record.columns for record in before) else "caption"


MATCH_CONCEPTS = Step(
    name="match_concepts", compute=match_concepts, inputs=_identity, reads=lambda _before, _rule: ["caption"]
)
COUNT_CONCEPTS = Step(name="count_concepts", compute=count_concepts)
MATCH_AGAIN = Step(
    name="match_again", compute=match_again, inputs=_identity, reads=lambda before, _rule: [_chosen(before)]
)
