"""The judgements of the steps that merge duplicates: components and survivors are found again from the stored edges.

That pairs without an edge are no duplicates rests on the search, which compared all pairs once; that every edge is
within the rule, and that each pair is merged into the survivor of its component, is seen again.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import column, taken_rows
from evenly.curation.decisions import Decisions
from evenly.curation.duplicates.caption_duplicates import CaptionTwins, deduplicate_captions
from evenly.curation.duplicates.feature_duplicates import Semantic, deduplicate_semantic
from evenly.curation.duplicates.image_duplicates import (
    Perceptual,
    deduplicate_exact,
    deduplicate_perceptual,
    exact_reasons,
)
from evenly.curation.duplicates.merging import Duplicates, choose_survivors, components, picture_areas
from evenly.curation.duplicates.record_linkage import Linked, deduplicate_linked
from evenly.curation.errors import MissingStepError
from evenly.curation.step import ByLedger, Given, Judged, Judgement, Need, PartTables, Rejudging, always, fixed_fields
from evenly.keys import rows_with

OUTSIDE_RULE = "edge_outside_the_rule"
"""The reason of a pair one of whose edges the rule does not allow: no step gives it."""
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """Why pairs are merged, and the field of the rule that bounds the distance of an edge, from above or from below.

    is_exact: duplicates have one image_id, and no distance.
    """

    reason: str
    limit: str = ""
    is_least: bool = False
    is_exact: bool = False


def _within(edges: pa.Table, kind: _Kind, limit: float) -> pa.BooleanArray:
    is_far = pc.less(edges["distance"], limit - _ROUNDING) if kind.is_least else pc.greater(edges["distance"], limit)
    return pc.invert(is_far)


@contextmanager
def _open(kind: _Kind, inputs: Given) -> Iterator[Rejudging]:
    columns = ["uid_a", "uid_b", "distance"]
    edges = pa.concat_tables(inputs.each("reading edges", lambda part: part.table(inputs.record, "edges", columns)))
    sides = [column(edges, name, pa.string()) for name in ("uid_a", "uid_b")]
    uids = pc.unique(pa.concat_arrays(sides)).sort()
    wanted = [name for name in ("url", "width", "height", "image_id", "phash") if inputs.has(name)]
    pairs = taken_rows(pa.concat_tables(inputs.each("reading pairs", partial(_shown, inputs, wanted, uids))), uids)
    left, right = (pc.index_in(side, uids) for side in sides)
    n = len(uids)
    component = components(n, *(side.to_numpy().astype(np.int64) for side in (left, right)))
    area = picture_areas(pairs) if {"width", "height"} <= {*wanted} else np.zeros(n)
    survivors = pa.array(choose_survivors(component, area, np.zeros(n)))
    reasons = pa.repeat(pa.scalar(kind.reason), n)
    if not kind.is_exact:
        is_within = _within(edges, kind, getattr(inputs.rule, kind.limit))
    else:
        is_within = pc.equal(pairs["image_id"].take(left), pairs["image_id"].take(right))
        reasons = exact_reasons(column(pairs, "url", pa.string()), pairs["url"].take(survivors)).cast(pa.string())
    outside = pc.invert(pc.fill_null(is_within, False)).combine_chunks()
    odd = pa.concat_arrays([side.filter(outside) for side in sides])
    value = pa.nulls(n, pa.float64())
    if kind.limit == "max_distance" and "phash" in wanted:
        hashes = column(pairs, "phash", pa.uint64()).fill_null(0).to_numpy()
        value = pa.array(np.bitwise_count(hashes ^ hashes[survivors.to_numpy()]).astype(np.float64))
    fates_of_all = {"uid": uids, "into": uids.take(survivors), "reason": reasons, "value": value}
    merged = pa.table(fates_of_all).filter(pc.not_equal(survivors, pa.array(range(n), pa.int64())))

    def judge(tables: PartTables) -> Judged:
        part_uids = column(tables.alive(inputs.upstream, []), "uid", pa.string())
        fates = taken_rows(merged, part_uids)
        stored = taken_rows(tables.decisions(inputs.record, ["uid", "value"]), part_uids)
        reason = pc.if_else(pc.is_in(part_uids, odd), OUTSIDE_RULE, pc.fill_null(fates["reason"], ""))
        return Judged(
            uids=part_uids,
            decisions=Decisions.of(
                reason=reason, value=pc.coalesce(fates["value"], stored["value"]), into=fates["into"]
            ),
            detail=f"the survivor is that of {len(edges):,} recorded edges, each within the rule",
        )

    yield Rejudging(judge=judge)


def _shown(inputs: Given, columns: list[str], uids: pa.Array, tables: PartTables) -> pa.Table:
    return rows_with(tables.alive(inputs.upstream, columns), uids)


_COMPARED = {"url": pa.string(), "caption": pa.string(), "image_id": pa.string()}
_COMPARED |= {"width": pa.int32(), "height": pa.int32(), "phash": None, "colour": None}
"""Columns by which pairs are compared, and their types where a rebuild has none; None: left out then."""


def _searching(find: Callable[[pa.Table, Given], Duplicates]) -> ByLedger:
    return ByLedger(judge=partial(_search, find))


def _search(find: Callable[[pa.Table, Given], Duplicates], inputs: Given, _facts: None, tables: PartTables) -> Judged:
    """Pairs merged anew, whichever of them there are."""
    pairs = tables.alive(inputs.upstream, [name for name in _COMPARED if inputs.has(name)])
    for name, kind in _COMPARED.items():
        if kind is not None and name not in pairs.column_names:
            pairs = pairs.append_column(name, pa.nulls(pairs.num_rows, kind))
    duplicates = find(pairs, inputs)
    uids = column(pairs, "uid", pa.string())
    return Judged(uids=uids, decisions=duplicates.decisions, tables={"edges": duplicates.edges}, detail="searched anew")


def _features(pairs: pa.Table, inputs: Given, kind: Literal["images", "texts"]) -> np.ndarray:
    if inputs.features is None:
        raise MissingStepError(f"step `{inputs.record.name}` must be given features; there are none. Rebuild with it.")
    return inputs.features(kind, column(pairs, "image_id" if kind == "images" else "caption", pa.string()))


def _near(pairs: pa.Table, inputs: Given) -> Duplicates:
    return deduplicate_semantic(pairs, _features(pairs, inputs, "images"), inputs.rule, seed=inputs.seed)


def _linked(pairs: pa.Table, inputs: Given) -> Duplicates:
    images, texts = (_features(pairs, inputs, kind) for kind in ("images", "texts"))
    return deduplicate_linked(pairs, images, texts, inputs.rule, seed=inputs.seed)


def _needs_features(rule: Semantic) -> dict[str, Collection[Need]]:
    needs: dict[str, Collection[Need]] = {".semantic": ["pictures", "features"]}
    return needs if rule.max_colour is None else needs | {".colour": ["bytes"]}


def _needs_captions(rule: CaptionTwins) -> dict[str, Collection[Need]]:
    return {} if rule.scope == "pool" else {f".captions.scope {rule.scope}": ["pictures"]}


def _of_features(_upstream: object, rule: Semantic) -> list[str]:
    return ["image_id"] if rule.max_colour is None else ["image_id", "colour"]


def _of_captions(_upstream: object, rule: CaptionTwins) -> list[str]:
    return ["caption"] if rule.scope == "pool" else ["caption", "image_id"]


_merging: Callable[..., Judgement] = partial(
    Judgement,
    section="deduplicate",
    label="re-checked",
    of_all=always,
    decides=lambda stored, _: {f: bound for f, bound in stored.items() if f != "tables"},
)
DEDUPLICATE_EXACT = _merging(
    name="deduplicate_exact",
    question="Are its bytes new?",
    rejudge=partial(_open, _Kind(reason="exact_duplicate", is_exact=True)),
    search=_searching(lambda pairs, _: deduplicate_exact(pairs)),
    needs=lambda _: {".exact": ["pictures"]},
)
DEDUPLICATE_PERCEPTUAL = _merging(
    name="deduplicate_perceptual",
    question="Does it look unlike the others?",
    value="differing bits",
    rule=Perceptual,
    rejudge=partial(_open, _Kind(reason="near_duplicate", limit="max_distance")),
    search=_searching(lambda pairs, inputs: deduplicate_perceptual(pairs, inputs.rule)),
    needs=lambda _: {".perceptual": ["pictures"]},
)
DEDUPLICATE_SEMANTIC = _merging(
    name="deduplicate_semantic",
    question="Does it show something else than the others?",
    value="cosine",
    rule=Semantic,
    reads=_of_features,
    rejudge=partial(_open, _Kind(reason="semantic_duplicate", limit="min_cosine", is_least=True)),
    search=_searching(_near),
    measures=lambda _, rule: rule.model is not None,
    fixed=fixed_fields("model"),
    needs=_needs_features,
    seeded=True,
)
DEDUPLICATE_LINKED = _merging(
    name="deduplicate_linked",
    question="Is it a record of its own, by picture and caption?",
    value="cosine",
    rule=Linked,
    reads=lambda *_: ["image_id", "caption"],
    rejudge=partial(_open, _Kind(reason="linked_record", limit="min_cosine", is_least=True)),
    search=_searching(_linked),
    measures=always,
    needs=lambda _: {".linked": ["pictures", "features"]},
    seeded=True,
)
DEDUPLICATE_CAPTIONS = _merging(
    name="deduplicate_captions",
    question="Does its caption say something else?",
    value="Jaccard index",
    rule=CaptionTwins,
    reads=_of_captions,
    rejudge=partial(_open, _Kind(reason="near_caption", limit="min_jaccard", is_least=True)),
    search=_searching(lambda pairs, inputs: deduplicate_captions(pairs, inputs.rule, seed=inputs.seed)),
    needs=_needs_captions,
    seeded=True,
)
