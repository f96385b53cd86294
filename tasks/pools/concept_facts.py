"""What a concept list holds, and what it says of one entry."""

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
    found = read_concept_file(path)
    sources: list[list[str]] = found.table["sources"].to_pylist()
    counts = found.facts.get("counts", {})
    return {
        "list": str(path),
        "identity": found.identity,
        "entries": len(found.entries),
        "language": found.facts.get("language"),
        "languages": dict(Counter(found.languages or ())),
        "sources": {name: _of_source(name, found.entries, sources) for name in _in_order(sources)},
        "never_matching": never_matching(found.entries),
        "never_matching_by_language": {
            language: never_matching(entries, unmatchable_in_language)
            for language, entries in (found.by_language.items() if found.languages else ())
        },
        "left_out_on_reading": dict(Counter(found.left_out["why"].to_pylist())),
        "left_out": {source: counts[source]["left_out"] for source in SOURCES if source in counts},
        "origins": found.facts.get("origins", {}),
        "rule": found.facts.get("rule", {}),
    }


def look_up(path: Path, entry: str) -> dict[str, Any]:
    """What a list says of one entry: places, sources, values, whether a caption can match it; else why it is not there.

    `alike` are the entries that are the same in normalized mode; the first of all stands for them, as `same_as` says.
    """
    found = read_concept_file(path)
    key = normalised(entry)
    same = [one for one in dict.fromkeys(found.entries) if key and normalised(one) == key]
    stands = same[0] if entry in same and same[0] != entry else None
    rows = [
        {"position": position, **found.table.slice(position, 1).to_pylist()[0]}
        for position, one in enumerate(found.entries)
        if one == entry
    ]
    whys: dict[str, dict[str, Any]] = {mode: _can(unmatchable_because(entry, mode)) for mode in MODES}
    if stands is not None:
        whys["normalized"] = _can(SAME_AS_EARLIER) | {"same_as": stands}
    return {
        "list": str(path),
        "identity": found.identity,
        "entry": entry,
        "found": rows,
        "can_match": whys,
        "alike": [one for one in same if one != entry][:EXAMPLES],
        "left_out": _left_out_rows(path, found, entry),
    }


def _can(why_not: str) -> dict[str, Any]:
    return {"can": not why_not, "why_not": why_not}


def _in_order(sources: Sequence[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for named in sources for name in named))


def _of_source(name: str, entries: Sequence[str], sources: Sequence[Sequence[str]]) -> dict[str, Any]:
    named = [entry for entry, its in zip(entries, sources, strict=True) if name in its]
    new = [entry for entry, its in zip(entries, sources, strict=True) if its[0] == name]
    return {"entries": len(named), "new": len(new), "examples": (new or named)[:EXAMPLES]}


def _left_out_rows(path: Path, found: ConceptFile, entry: str) -> list[dict[str, Any]]:
    """What was left out of this name, from the file beside a built list, and from reading any other."""
    on_reading: list[dict[str, Any]] = found.left_out.filter(pc.equal(found.left_out["entry"], entry)).to_pylist()
    beside = read_left_out(path, found.identity) if found.facts else None
    if beside is None:
        return on_reading
    return [*on_reading, *beside.filter(pc.equal(beside["entry"], entry)).to_pylist()]
