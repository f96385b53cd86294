"""A search for an order of two things, "a cup above a plate": its results by whether their pictures show that order."""

import json
from collections.abc import Mapping
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import pyarrow as pa

from evenly.curation.regions.judgement import RegionRule
from evenly.features.dense.methods.relations import Relations
from evenly.storage.errors import InputError
from evenly.storage.pools.local_rows import FEATURES
from evenly.tasks.pictures.sent_rows import PicturePlaces
from evenly.tasks.regions.search import RegionSearch
from evenly.tasks.run import Run
from evenly.tasks.search.pairs import Query, Selection
from evenly.tasks.search.search import SearchResult, search_build

LOOKED_AT = 5
"""Results that are looked at for each that is wanted."""
_LEAST, _SCALE = 1e-4, 100.0


def search_order(
    run: Run, manifest: Mapping[str, Any], query: Query, things: Path, *, selection: Selection, top: int
) -> SearchResult:
    """The `top` of LOOKED_AT times as many results, by score + ln p / 100; `order`: p, the probability of the order.

    It is null, and counts as a half, where there is no picture to look at. things: a list, as `regions` takes it.
    Raises InputError for a text that says no order of two of them.
    """
    looking = RegionSearch.of(run, RegionRule(texts=str(things.absolute()), method="relations"))
    if len(query.texts) != 1 or not Relations().orders(query.texts, looking.vocabulary(run))[1]:
        raise InputError(
            f"`relations` must list two things between which the text has a word of place; got {list(query.texts)}. "
            "Write one text, as 'a cup above a plate', and both things in the list."
        )
    result = search_build(run, manifest, query, selection=selection, top=LOOKED_AT * top)
    pictures = pa.table({
        "image_id": [row["image_id"] for row in result.rows],
        "is_bare": [str(row.get("url") or "").startswith(FEATURES) for row in result.rows],
        "statements": list(query.texts) * len(result.rows),
    })  # fmt: skip
    regions = (json.loads(text)["regions"] for text in looking.texts(run, pictures, PicturePlaces()))
    rows = [row | {"order": first.get("score")} for row, (first, *_) in zip(result.rows, regions, strict=True)]
    ranked = sorted(rows, key=lambda row: (-_together(row["score"], row["order"]), row["uid"]))
    return replace(result, rows=[dict(row, rank=rank) for rank, row in enumerate(ranked[:top], 1)])


def _together(score: float, order: float | None) -> float:
    return score + log(0.5 if order is None else max(order, _LEAST)) / _SCALE
