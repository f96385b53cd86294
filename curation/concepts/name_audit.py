"""Counts of captions that name each class, by each name of it, with captions drawn to be judged (REAL)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import pyarrow as pa

from evenly.curation.concepts.caption_sample import CaptionSample
from evenly.curation.concepts.matching import unmatchable_because
from evenly.curation.concepts.name_frequency import NameCounter, NameFrequencies, most_frequent_name
from evenly.curation.concepts.relevance import estimate_relevance

NAMES = pa.schema(
    [("class", pa.string()), ("name", pa.string()), ("captions", pa.int64()), ("never_matches", pa.string())]
)
CLASSES = pa.schema(
    [
        ("class", pa.string()),
        ("actual_freq", pa.int64()),
        ("strict", pa.string()),
        ("relaxed", pa.string()),
        ("too_long", pa.int64()),
        ("all_sampled", pa.bool_()),
    ]
)
SAMPLED = pa.schema([("class", pa.string()), ("name", pa.string()), ("caption", pa.string()), ("rows", pa.int64())])
RELEVANCE = pa.schema(
    [
        ("class", pa.string()),
        *((name, pa.int64()) for name in ("judged", "yes", "unjudged")),
        *((name, pa.float64()) for name in ("relevance", "relevance_low", "relevance_high", "effective")),
    ]
)


@dataclass(frozen=True, kw_only=True)
class FrequencyRule:
    """The `names` of each class of a `list` to count in the captions of a `build`; None: of the run's sources.

    Names count in their plain plurals with `plurals`, and only beside `prefix` where there is one; at most `judge`
    captions of each class are drawn.
    """

    list: str
    names: Mapping[str, Sequence[str]]
    build: str | None = None
    prefix: str | None = None
    plurals: bool = False
    judge: int = 0


def count_and_draw(
    rule: FrequencyRule, captions_of_pool: Iterable[pa.Array], *, seed: int
) -> tuple[dict[str, pa.Table], int]:
    """Count captions by each name of each class, draw some to judge, and say how many were looked at.

    Tables: `names`; `classes`, where `too_long` counts captions that are not judged, and `all_sampled` tells whether
    every other one is drawn; `sample`, at most `judge` different captions of each class.
    """
    classes = list(rule.names)
    names = [list(dict.fromkeys([name, *rule.names[name]])) for name in classes]
    counter = NameCounter(names, plurals=rule.plurals, prefix=rule.prefix)
    sample = CaptionSample(classes, size=rule.judge, seed=seed)
    frequencies = counter.count(pa.array([], pa.string()))
    for captions in captions_of_pool:
        matches = counter.hold(captions)
        frequencies += counter.frequencies(matches, len(captions))
        sample.add(captions, matches)
    flat = [name for names_of_class in names for name in names_of_class]
    by_name, by_class = _rows(classes, frequencies)
    for row in by_name:
        row["never_matches"] = unmatchable_because(row["name"], "normalized")
    for row, too_long, is_complete in zip(by_class, sample.too_long, sample.complete, strict=True):
        row |= {"actual_freq": row["captions"], "too_long": too_long, "all_sampled": is_complete}
    drawn = [
        {"class": classes[row["concept"]], "name": flat[row["name"]], "caption": row["caption"], "rows": row["rows"]}
        for row in sample.table().to_pylist()
    ]
    return {
        "names": pa.Table.from_pylist(by_name, NAMES),
        "classes": pa.Table.from_pylist(by_class, CLASSES),
        "sample": pa.Table.from_pylist(drawn, SAMPLED),
    }, frequencies.captions


def count_each_name(
    names: Mapping[str, Sequence[str]], captions_of_pool: Iterable[pa.Array]
) -> tuple[dict[str, pa.Table], int]:
    """Count captions by each of the `names` of each class, and say how many were looked at.

    Tables: `names`; `most_frequent`, the name of each class that each of REAL's rules chooses.
    """
    counter = NameCounter(list(names.values()))
    frequencies = reduce(add, map(counter.count, captions_of_pool), counter.count(pa.array([], pa.string())))
    by_name, by_class = _rows(list(names), frequencies)
    tables = {"names": pa.Table.from_pylist(by_name), "most_frequent": pa.Table.from_pylist(by_class)}
    return tables, frequencies.captions


def _rows(classes: Sequence[str], frequencies: NameFrequencies) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A row for each name of each class, and a row for each class."""
    by_name = [
        {"class": name_of_class, "name": name, "captions": count}
        for name_of_class, counts in zip(classes, frequencies.of_names, strict=True)
        for name, count in counts.items()
    ]
    by_class = [
        {
            "class": name,
            "captions": int(total),
            "strict": most_frequent_name(name, counts, rule="strict"),
            "relaxed": most_frequent_name(name, counts, rule="relaxed"),
        }
        for name, counts, total in zip(classes, frequencies.of_names, frequencies.of_concepts, strict=True)
    ]
    return by_name, by_class


def relevance_row(name: str, answers: Sequence[tuple[bool | None, int]]) -> dict[str, Any]:
    """RELEVANCE of one class by answers on its captions, each with the rows that hold it; None: there is no answer."""
    judged = [(answer, rows) for answer, rows in answers if answer is not None]
    estimate = estimate_relevance([yes for yes, _ in judged], [rows for _, rows in judged])
    yes = sum(yes for yes, _ in judged)
    counts = {"class": name, "judged": len(judged), "yes": yes, "unjudged": len(answers) - len(judged)}
    if estimate is None:
        return counts
    return counts | {
        "relevance": estimate.share,
        "relevance_low": estimate.low,
        "relevance_high": estimate.high,
        "effective": estimate.effective,
    }
