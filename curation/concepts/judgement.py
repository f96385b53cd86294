"""The judgements of the steps that match captions with concepts, and count these."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import column
from evenly.curation.concepts.equal_entries import nameable
from evenly.curation.concepts.matching import FEW, Matcher, MatchRule, Mode
from evenly.curation.concepts.multilingual import MultilingualMatcher
from evenly.curation.decisions import Decisions
from evenly.curation.errors import MissingStepError, RuleError
from evenly.curation.step import FinishedStep, Given, Judged, Judgement, PartTables, by_row, fixed_fields, gives

REGION_LABELS, REGION_ATTRIBUTES = OF_REGIONS = ("region_labels", "region_attributes")
"""The columns of what a picture's regions are labelled with: things, and things with an attribute."""


def judge_matches(
    uids: pa.Array, entries: pa.ListArray, rule: MatchRule, *, has_list: pa.BooleanArray | None = None
) -> tuple[Decisions, pa.Table]:
    """Judge pairs by the entries that their captions name; with it [uid, entries] of those that name any.

    The value is the number of entries.
    """
    match_counts, reasons = entries.value_lengths(), unmatched_reasons(entries, rule, has_list=has_list)
    decisions = Decisions.of(reason=reasons, value=match_counts.cast(pa.float64()))
    return decisions, pa.table({"uid": uids, "entries": entries}).filter(pc.greater(match_counts, 0))


def unmatched_reasons(
    entries: pa.ListArray, rule: MatchRule, *, has_list: pa.BooleanArray | None = None
) -> pa.StringArray:
    """Why each caption goes, by the entries that it names: no_concept for none, unless the rule keeps it; "" it stays.

    Where captions are matched by language, `has_list` says whether each one's has a list: one without goes as
    no_list_of_language.
    """
    unmatched = pa.scalar("no_concept")
    if has_list is not None:
        unmatched = pc.if_else(has_list, "no_concept", "no_list_of_language")
    return pc.if_else(pc.or_(pc.greater(entries.value_lengths(), 0), rule.unmatched == "keep"), "", unmatched)


def given_captions(upstream: Sequence[FinishedStep], rule: MatchRule) -> list[str]:
    """The columns of the captions as they were given, and of their languages where the rule names one."""
    return _with_languages("caption", upstream, rule)


def chosen_texts(upstream: Sequence[FinishedStep], rule: MatchRule) -> list[str]:
    """The columns of the captions that were chosen, of the given ones where none were, and of their languages.

    Or those of the labels of regions.
    """
    if rule.texts == "regions":
        return [name for name in OF_REGIONS if name == REGION_LABELS or gives(upstream, name)]
    return _with_languages("chosen_caption" if gives(upstream, "chosen_caption") else "caption", upstream, rule)


def label_entries(columns: Sequence[pa.ChunkedArray], entries: pa.Array) -> pa.ListArray:
    """The entries, by number and ascending, that are labels of each pair's regions, in columns of lists."""
    lists = [labels.combine_chunks() for labels in columns]
    places = pc.index_in(pa.concat_arrays([labels.flatten() for labels in lists]), entries)
    owners = pa.concat_arrays([pc.list_parent_indices(labels) for labels in lists])
    named = np.unique(np.stack([owners.filter(places.is_valid()), places.drop_null()], axis=1), axis=0)
    offsets = np.r_[0, np.cumsum(np.bincount(named[:, 0], minlength=len(lists[0])))]
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(named[:, 1].astype(np.int32)))


def _with_languages(caption: str, upstream: Sequence[FinishedStep], rule: MatchRule) -> list[str]:
    if rule.language is None:
        return [caption]
    if not gives(upstream, rule.language):
        columns = ", ".join(sorted({name for record in upstream for name in record.columns}))
        raise RuleError(
            f"`match.language` must be a column of the pool or of a step before; got {rule.language!r}. "
            f"There are {columns}; the filter caption_language gives detected_language."
        )
    return [caption, rule.language]


def _concepts(inputs: Given) -> pa.Table:
    """The list that captions were matched with: the step's own, or that of the matching before it."""
    for record in (inputs.record, *inputs.upstream):
        if "concepts" in record.hashes:
            return inputs.tables.table(record, "concepts")
    raise MissingStepError(f"`{inputs.record.name}` must store its concepts, or a step before it; none does.")


def _lists(concepts: pa.Table) -> dict[str, list[str]]:
    """The entries of each language, both in order of first mention."""
    lists: dict[str, list[str]] = {}
    for row in concepts.select(["entry", "languages"]).to_pylist():
        for language in row["languages"]:
            lists.setdefault(language, []).append(row["entry"])
    return lists


def _named(captions: pa.Array, entries: pa.Array, rule: MatchRule) -> pa.ListArray:
    """The entries that captions name; of few captions, those that they can name are looked for alone."""
    match = partial(Matcher, mode=rule.mode, plurals=bool(rule.plurals))
    if rule.mode == "faithful" or captions.nbytes > FEW:
        return _matcher(tuple(entries.to_pylist()), rule.mode, plurals=bool(rule.plurals)).match(captions)
    positions = nameable(entries, captions)
    named = match(entries.take(positions).to_pylist()).match(captions)
    return pa.ListArray.from_arrays(named.offsets, positions.cast(pa.int32()).take(named.values))


@lru_cache(maxsize=1)
def _matcher(entries: tuple[str, ...], mode: Mode, *, plurals: bool) -> Matcher:
    """The same for captions that are given and chosen, and for several pairs."""
    return Matcher(entries, mode, plurals=plurals)


def _matched(inputs: Given) -> Callable[[pa.Table, PartTables], Judged]:
    rule: MatchRule = inputs.rule
    concepts = _concepts(inputs)
    multilingual = None if rule.language is None else MultilingualMatcher(_lists(concepts), rule.mode)

    def judge(pairs: pa.Table, _tables: PartTables) -> Judged:
        has_list = None
        if inputs.reads[0] == REGION_LABELS:
            entries = label_entries([pairs[name] for name in inputs.reads], concepts["entry"].combine_chunks())
        elif multilingual is not None:
            captions = column(pairs, inputs.reads[0], pa.string())
            languages = column(pairs, inputs.reads[1], pa.string())
            entries, has_list = multilingual.match(captions, languages), multilingual.knows(languages)
        else:
            captions = column(pairs, inputs.reads[0], pa.string())
            entries = _named(captions, concepts["entry"].combine_chunks(), rule)
        uids = column(pairs, "uid", pa.string())
        decisions, matches = judge_matches(uids, entries, rule, has_list=has_list)
        detail = f"matched again against {len(concepts):,} concepts"
        return Judged(uids=uids, decisions=decisions, tables={"matches": matches}, detail=detail)

    return judge


_matching: Callable[..., Judgement] = partial(
    Judgement,
    value="concepts",
    rule=MatchRule,
    rejudge=by_row(_matched),
    fixed=fixed_fields("metadata", "language", "texts"),
)
MATCH_CONCEPTS = _matching(
    name="match_concepts", section="match", question="Does the caption name a concept?", reads=given_captions
)
MATCH_AGAIN = _matching(
    name="match_again", section="match", question="Does the chosen caption still name a concept?", reads=chosen_texts
)
