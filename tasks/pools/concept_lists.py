"""Build a concept list from the sources that are named, write it with what was left out, and say facts about it."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.concepts.collocations import NO_SPACES, WordCounter
from evenly.curation.concepts.concept_list import Concepts, build_list
from evenly.curation.concepts.equal_entries import SAME_AS_EARLIER, unmatchable_normalized
from evenly.curation.concepts.matching import Mode, normalised, unmatchable_because
from evenly.curation.concepts.multilingual import unmatchable_in_language
from evenly.curation.concepts.sources import SOURCES, MetadataRule, Offer, offer_bigrams, offer_titles, offer_unigrams
from evenly.curation.errors import RuleError
from evenly.storage.errors import InputError
from evenly.storage.files.concept_lists import (
    ConceptFile,
    left_out_path,
    read_concept_file,
    read_left_out,
    write_concepts,
)
from evenly.storage.files.word_counts import Counts, is_package, read_pairs, read_titles, read_words
from evenly.storage.files.wordnets import read_wordnet
from evenly.storage.matches.stamped import check_name, check_unused
from evenly.storage.pools.captions import caption_batches, corpus_hash

EXAMPLES = 5
MODES: tuple[Mode, ...] = ("faithful", "normalized")


@dataclass(frozen=True, kw_only=True)
class ListSources:
    """Where a list comes from. None: not from there.

    wordnet, unigrams, bigrams: as storage/files reads them. corpus: files whose column
    `caption` is counted for words and pairs that are not named otherwise, cut as `mode` matches. own: a concept list.
    """

    language: str = "en"
    own: Path | None = None
    wordnet: str | None = None
    unigrams: str | None = None
    bigrams: str | None = None
    corpus: str | None = None
    caption: str = "caption"
    mode: Mode = "faithful"
    titles: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if not re.fullmatch(r"[a-z]{2,3}", self.language):
            raise RuleError(f"`language` must be a code such as en or fra; got `{self.language}`. Correct it.")
        if self.mode not in MODES:
            raise RuleError(f"`mode` must be one of {', '.join(MODES)}; got `{self.mode}`. Choose one.")
        if self.corpus is not None and self.language in NO_SPACES:
            raise RuleError(
                f"`corpus` must be in a language that puts spaces between words; got `{self.language}`. Count its "
                "words with a tokeniser of your own, and give the files with --unigrams and --bigrams."
            )
        if self.corpus is not None and None not in (self.unigrams, self.bigrams):
            raise RuleError("`corpus` must have something to count; unigrams and bigrams are given. Leave one out.")
        own_words = self.unigrams is not None and not is_package(self.unigrams)
        if self.bigrams is not None and not is_package(self.bigrams) and not own_words:
            raise RuleError(
                f"`bigrams` {self.bigrams} needs the words of the same corpus for its PMI; got "
                f"{self.unigrams or 'none'}. Give a file of their counts with --unigrams."
            )
        if {self.own, self.wordnet, self.unigrams, self.bigrams, self.corpus, self.titles} == {None}:
            raise RuleError("a list must have at least one source; got none. Name one, such as --wordnet auto.")


@dataclass(frozen=True, kw_only=True)
class _Counted:
    """Words and pairs, and the words and their number in the corpus of the pairs."""

    words: Counts | None
    pairs: Counts | None
    pair_words: Counts | None


def build_concept_list(
    out: Path, sources: ListSources, rule: MetadataRule, *, overwrite: bool = False
) -> dict[str, Any]:
    """Build a list, write it to `out` (.parquet) and say what it holds, what was left out and what can never match."""
    check_name(out)
    check_unused(out, overwrite=overwrite)
    origins: dict[str, Any] = {}
    own_words = _own_words(sources, origins)
    wordnet = None if sources.wordnet is None else read_wordnet(sources.wordnet)
    if wordnet is not None:
        origins["wordnet"] = {"origin": wordnet.origin}
    offers = _offers(sources, rule, origins)
    concepts = build_list(rule, own_words=own_words, synsets=wordnet and wordnet.synsets, offers=offers)
    if not concepts.entries:
        raise InputError("a list must hold at least one entry; its sources offered none. Lower the thresholds.")
    facts = {"language": sources.language, "rule": asdict(rule), "origins": origins, "counts": concepts.counts}
    identity = write_concepts(out, concepts.table, concepts.left_out, facts)
    return {
        "list": str(out),
        "left_out": str(left_out_path(out)),
        "identity": identity,
        "entries": len(concepts.entries),
        **facts,
        "wordnet_from": wordnet and wordnet.place,
        "never_matching": never_matching(concepts.entries),
        "remarks": _remarks(sources, rule, concepts, origins),
    }


def never_matching(
    entries: list[str], because: Callable[[str, Mode], str] = unmatchable_because
) -> dict[str, dict[str, Any]]:
    """Per mode and reason, how many entries no caption whatsoever can match, and the first few.

    Where another entry stands for an entry, `same_as` has it for each example. Plurals count as entries of their own.
    """
    faithful = [(entry, reason, None) for entry in entries if (reason := because(entry, "faithful"))]
    return {
        "faithful": _by_reason(faithful),
        "normalized": _by_reason(unmatchable_normalized(list(dict.fromkeys(entries)))),
    }


def _by_reason(rows: Sequence[tuple[str, str, str | None]]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for reason, count in sorted(Counter(reason for _, reason, _ in rows).items()):
        examples = [row for row in rows if row[1] == reason][:EXAMPLES]
        facts[reason] = {"entries": count, "examples": [entry for entry, _, _ in examples]}
        if examples[0][2] is not None:
            facts[reason]["same_as"] = [entry for _, _, entry in examples]
    return facts


def _own_words(sources: ListSources, origins: dict[str, Any]) -> list[str]:
    if sources.own is None:
        return []
    concept_file = read_concept_file(sources.own)
    languages = concept_file.languages or [sources.language] * len(concept_file.entries)
    words = [
        entry for entry, language in zip(concept_file.entries, languages, strict=True) if language == sources.language
    ]
    if not words:
        raise InputError(
            f"`list` must hold entries in `{sources.language}`; got {', '.join(dict.fromkeys(languages))} at "
            f"`{sources.own}`. Name one of its languages with --language."
        )
    origins["list"] = {
        "origin": f"{sources.own.name}, list {concept_file.identity[:16]}",
        "left_out_on_reading": dict(Counter(concept_file.left_out["why"].to_pylist())),
    }
    return words


def _offers(sources: ListSources, rule: MetadataRule, origins: dict[str, Any]) -> list[Offer]:
    counted = _counted(sources, origins)
    offers = []
    if (words := counted.words) is not None:
        origins["unigram"] = {"origin": words.origin}
        offers.append(offer_unigrams(words.table, rule, refused=words.refused))
    if (pairs := counted.pairs) is not None and (pair_words := counted.pair_words) is not None:
        offers.append(offer_bigrams(pairs.table, pair_words.table, pair_words.total, rule, refused=pairs.refused))
        origins["bigram"] = {"origin": pairs.origin, **offers[-1].facts}
    if sources.titles is not None:
        titles, origin = read_titles(sources.titles)
        origins["title"] = {"origin": origin}
        offers.append(offer_titles(titles, rule))
    return offers


def _counted(sources: ListSources, origins: dict[str, Any]) -> _Counted:
    corpus = None if sources.corpus is None else _count_corpus(sources, sources.corpus, origins)
    words = corpus[0] if corpus else None
    if sources.unigrams is not None:
        words = read_words(sources.unigrams, sources.language)
    if sources.bigrams is None:
        return _Counted(words=words, pairs=corpus and corpus[1], pair_words=corpus and corpus[0])
    vocabulary = words
    if is_package(sources.bigrams) and sources.bigrams != sources.unigrams:
        vocabulary = read_words(sources.bigrams, sources.language)
    return _Counted(words=words, pairs=read_pairs(sources.bigrams, sources.language), pair_words=vocabulary)


def _count_corpus(sources: ListSources, corpus: str, origins: dict[str, Any]) -> tuple[Counts, Counts]:
    """Words and pairs of the captions of a corpus."""
    counter, captions, n_null = WordCounter(sources.mode), 0, 0
    for batch in caption_batches(corpus, sources.caption):
        counter.add(batch)
        captions += len(batch)
        n_null += batch.null_count
    words, pairs = counter.words(), counter.pairs()
    total = sum(words["count"].to_pylist())
    origin = f"captions sha256 {corpus_hash(corpus)}, words as {sources.mode} matching cuts them"
    origins["corpus"] = {"origin": origin, "captions": captions, "without_text": n_null, "words": total}
    nothing = words.slice(0, 0).append_column("why", pa.array([], pa.string()))
    return (
        Counts(table=words, refused=nothing, total=total, origin=origin),
        Counts(table=pairs, refused=nothing, total=total, origin=origin),
    )


def _remarks(
    sources: ListSources, rule: MetadataRule, concepts: Concepts, origins: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Warnings for a person who trusts the defaults."""
    remarks = []
    if "bigram" in origins and not concepts.counts.get("bigram", {}).get("kept"):
        pairs = ", ".join(
            f"{count:,} at {least}" for least, count in origins["bigram"]["pairs_by_pmi"].items() if count
        )
        remarks.append(
            f"no pair reaches PMI {rule.min_pmi:g}: the highest of these counts is {origins['bigram']['highest_pmi']}. "
            f"PMI grows with the corpus and with rare words; lower --min-pmi ({pairs or 'none at 0'})."
        )
    if sources.wordnet == "auto" and origins["wordnet"]["origin"].startswith("WordNet 3.0, nouns"):
        remarks.append("no whole WordNet was found: these are its nouns. apt-get install wordnet-base has all words.")
    full = sum(count["left_out"].get("beyond_max_entries", 0) for count in concepts.counts.values())
    if full:
        remarks.append(f"the list is full at {rule.max_entries:,} entries: {full:,} had no room (beyond_max_entries).")
    return remarks


def show_list(path: Path) -> dict[str, Any]:
    """Entries per source with the first few, those that can never match, what was left out, identity.

    Of a list per language, also those that can never match in their own, by the rule of MetaCLIP 2.
    """
    concept_file = read_concept_file(path)
    sources: list[list[str]] = concept_file.table["sources"].to_pylist()
    counts = concept_file.facts.get("counts", {})
    return {
        "list": str(path),
        "identity": concept_file.identity,
        "entries": len(concept_file.entries),
        "language": concept_file.facts.get("language"),
        "languages": dict(Counter(concept_file.languages or ())),
        "sources": {name: _of_source(name, concept_file.entries, sources) for name in _in_order(sources)},
        "never_matching": never_matching(concept_file.entries),
        "never_matching_by_language": {
            language: never_matching(entries, unmatchable_in_language)
            for language, entries in (concept_file.by_language.items() if concept_file.languages else ())
        },
        "left_out_on_reading": dict(Counter(concept_file.left_out["why"].to_pylist())),
        "left_out": {source: counts[source]["left_out"] for source in SOURCES if source in counts},
        "origins": concept_file.facts.get("origins", {}),
        "rule": concept_file.facts.get("rule", {}),
    }


def look_up(path: Path, entry: str) -> dict[str, Any]:
    """Facts of one entry of a list: places, sources, values, whether a caption can match it; else why it is not there.

    `alike` are the entries that are the same in normalized mode; the first of all stands for them, as `same_as` says.
    """
    concept_file = read_concept_file(path)
    key = normalised(entry)
    equal_entries = [text for text in dict.fromkeys(concept_file.entries) if key and normalised(text) == key]
    stands = equal_entries[0] if entry in equal_entries and equal_entries[0] != entry else None
    rows = [
        {"position": position, **concept_file.table.slice(position, 1).to_pylist()[0]}
        for position, text in enumerate(concept_file.entries)
        if text == entry
    ]
    whys: dict[str, dict[str, Any]] = {mode: _can(unmatchable_because(entry, mode)) for mode in MODES}
    if stands is not None:
        whys["normalized"] = _can(SAME_AS_EARLIER) | {"same_as": stands}
    return {
        "list": str(path),
        "identity": concept_file.identity,
        "entry": entry,
        "found": rows,
        "can_match": whys,
        "alike": [text for text in equal_entries if text != entry][:EXAMPLES],
        "left_out": _left_out_rows(path, concept_file, entry),
    }


def _can(why_not: str) -> dict[str, Any]:
    return {"can": not why_not, "why_not": why_not}


def _in_order(sources: Sequence[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for named in sources for name in named))


def _of_source(name: str, entries: Sequence[str], sources: Sequence[Sequence[str]]) -> dict[str, Any]:
    named = [entry for entry, entry_sources in zip(entries, sources, strict=True) if name in entry_sources]
    new = [entry for entry, entry_sources in zip(entries, sources, strict=True) if entry_sources[0] == name]
    return {"entries": len(named), "new": len(new), "examples": (new or named)[:EXAMPLES]}


def _left_out_rows(path: Path, concept_file: ConceptFile, entry: str) -> list[dict[str, Any]]:
    """The entries of this name that were left out, from the file beside a built list, and from reading any other."""
    on_reading: list[dict[str, Any]] = concept_file.left_out.filter(
        pc.equal(concept_file.left_out["entry"], entry)
    ).to_pylist()
    left_out = read_left_out(path, concept_file.identity) if concept_file.facts else None
    if left_out is None:
        return on_reading
    return [*on_reading, *left_out.filter(pc.equal(left_out["entry"], entry)).to_pylist()]
