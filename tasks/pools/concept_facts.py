"""Facts about a concept list and about single entries of it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from evenly.curation.concepts.equal_entries import SAME_AS_EARLIER
from evenly.curation.concepts.matching import normalised, unmatchable_because
from evenly.curation.concepts.multilingual import unmatchable_in_language
from evenly.curation.concepts.sources import SOURCES
from evenly.storage.files.concept_lists import ConceptFile, read_concept_file, read_left_out
from evenly.tasks.pools.concept_lists import EXAMPLES, MODES, never_matching


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
