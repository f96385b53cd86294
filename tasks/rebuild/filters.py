"""Check texts and pictures: each filter measures and judges; the first that does not keep a row decides it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from evenly.curation import filters
from evenly.curation.decisions import Decisions
from evenly.curation.filters import IMAGE_FILTERS, TEXT_FILTERS, Filter, FilterRules, judge_by_filters
from evenly.curation.filters.caption_blocklist import BlockedWords, CaptionBlocklist
from evenly.curation.filters.caption_entities import CaptionEntities, FirstSenses
from evenly.curation.filters.language_detector import Unpacking
from evenly.storage.files.blocklists import check_hash, read_blocklist
from evenly.storage.files.unpacked import unpacked_arrays
from evenly.storage.files.wordnets import read_senses
from evenly.storage.ledger import StepOutput
from evenly.storage.records import stored_fields
from evenly.storage.tables.arrow_files import null_rows
from evenly.tasks.decoding import TROUBLE, pictures_with_bytes, read_fingerprints, send_fingerprints
from evenly.tasks.pictures.sent_rows import SentRows
from evenly.tasks.run import Each, Records, Run
from evenly.tasks.step import Step

# What filters look up, read from files: lists of words, WordNet.


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """Inputs of a filter's `measure`, and the sha256 of the files that they were read from."""

    content: Any
    sha256: str


def blocked_words(run: Run, rule: CaptionBlocklist) -> Lookup:
    """The phrases of a list of words."""
    blocklist = read_blocklist(Path(run.locate(rule.file)), sha256=rule.sha256)
    return Lookup(content=BlockedWords.of(blocklist.entries), sha256=blocklist.sha256)


def first_senses(run: Run, rule: CaptionEntities) -> Lookup:
    """WordNet's first synsets and those of ImageNet-21k."""
    lookup = _senses(rule.wordnet if rule.wordnet == "auto" else run.locate(rule.wordnet))
    check_hash(rule.wordnet, lookup.sha256, rule.sha256)
    return lookup


@lru_cache(maxsize=1)
def _senses(name: str) -> Lookup:
    senses = read_senses(name)
    content = FirstSenses(first=senses.first, exceptions=senses.exceptions, entities=senses.entities)
    return Lookup(content=content, sha256=senses.sha256)


LOOKUPS: Mapping[str, Callable[[Run, Any], Lookup]] = {
    "caption_blocklist": blocked_words,
    "caption_entities": first_senses,
}


def _stored(rule: FilterRules) -> dict[str, Any]:
    """The rule of each filter by its name, as it is stored."""
    return {name: stored_fields(filter_rule) for name, filter_rule in rule.rules.items()}


def lookup_hashes(run: Run, _upstream: Records, rule: FilterRules) -> dict[str, str]:
    """The hash of what each filter of a rule looks up."""
    return {name: LOOKUPS[name](run, rule.rules[name]).sha256 for name in LOOKUPS if name in rule.rules}


def judge_by(
    filters: Mapping[str, Filter], run: Run, upstream: Records, rule: FilterRules, *first: Decisions
) -> StepOutput:
    """Judge pairs by the filters of the recipe, in the order of `filters`, after `first`."""
    Unpacking.reader = partial(unpacked_arrays, run.cache)
    rules = dict(rule.rules)
    lookups = {name: LOOKUPS[name](run, filter_rule) for name, filter_rule in rules.items() if filters[name].lookup}
    pairs = run.ledger.alive(upstream, rule.columns(filters))
    rules |= {name: replace(rules[name], sha256=lookup.sha256) for name, lookup in lookups.items()}
    contents = {name: lookup.content for name, lookup in lookups.items()}
    decisions, columns = judge_by_filters(filters, rules, pairs, *first, contents=contents)
    table = decisions.to_table(pairs["uid"])
    for name, column in columns.items():
        table = table.append_column(name, column)
    return StepOutput(decisions=table, notes={name: lookup.sha256 for name, lookup in lookups.items()})


def measure_images(run: Run, upstream: Records, _rule: FilterRules, engine: Each) -> SentRows | None:
    """The fingerprint of each pair's picture, by uid, where the run has partitions."""
    return send_fingerprints(run, engine, upstream) if run.bits else None


def check_images(run: Run, upstream: Records, rule: FilterRules, sent: SentRows | None) -> StepOutput:
    """Judge pictures by the image filters of the recipe, and measure the fingerprint of each."""
    pairs = run.ledger.alive(upstream, ["image_id"])
    fingerprints = read_fingerprints(run, pictures_with_bytes(upstream, run)) if sent is None else sent.of(run)
    places = pc.index_in(pairs["uid"].combine_chunks(), fingerprints["uid"].combine_chunks())
    words = fingerprints[TROUBLE].combine_chunks().take(places)
    too_costly = Decisions.of(reason=pc.fill_null(words, ""))
    output = judge_by(IMAGE_FILTERS, run, upstream, rule, too_costly)
    if output.decisions is None:
        return output
    table = output.decisions
    for name in fingerprints.column_names:
        if name not in ("uid", TROUBLE):
            values = fingerprints[name].combine_chunks()
            without_any = places.null_count == len(places)
            column = null_rows(len(places), values.type) if without_any else values.take(places)
            table = table.append_column(name, column)
    return StepOutput(decisions=table, notes=output.notes)


CHECK_TEXTS = Step(
    name=filters.CHECK_TEXTS.name,
    rule=FilterRules,
    stored=_stored,
    load=partial(FilterRules.of, filters=TEXT_FILTERS),
    judge=partial(judge_by, TEXT_FILTERS),
    version=2,
    inputs=lookup_hashes,
)
CHECK_IMAGES = Step(
    name=filters.CHECK_IMAGES.name,
    rule=FilterRules,
    stored=_stored,
    load=partial(FilterRules.of, filters=IMAGE_FILTERS),
    resolve=measure_images,
    judge=check_images,
)
