"""The judgements of the steps that leave out what lists, detectors, evaluation sets and clusters exclude."""

from collections.abc import Callable, Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import column, taken_rows
from evenly.curation.decisions import Decisions, first_of
from evenly.curation.exclusions.clusters import TargetClusters, judge_clusters
from evenly.curation.exclusions.decontaminate import Contamination, Decontamination, Nearest, judge_contamination
from evenly.curation.exclusions.safety import BlockedDomains, SafetyRule, Unsafe, judge_unsafe
from evenly.curation.step import (
    Given,
    Judged,
    Judgement,
    Need,
    PartTables,
    Stored,
    always,
    by_row,
    differing_fields,
    fixed_fields,
    of_features,
    rows_of_pairs,
)

_ROUNDING = 1e-9
_SCORES = ("unsafe_score", "unsafe_class")


def _safe(inputs: Given) -> Callable[[pa.Table, PartTables], Judged]:
    """By the stored scores of the detector; what lists hold is not stored."""
    detector = inputs.rule.get("detector")
    rule = None if detector is None else Unsafe(**{**detector, "classes": tuple(detector["classes"])})

    def judge(pairs: pa.Table, _tables: PartTables) -> Judged:
        reason = column(pairs, "reason", pa.string())
        is_listed = pc.starts_with(reason, "blocked_")
        by_lists = Decisions.of(
            reason=pc.if_else(is_listed, reason, ""),
            value=pc.if_else(is_listed, pairs["value"], pa.scalar(None, pa.float64())),
        )
        decided = [Decisions.keep_all(pairs.num_rows), by_lists]
        if rule is not None:
            decided.append(judge_unsafe(column(pairs, "unsafe_score", pa.float64()), rule))
        uids = column(pairs, "uid", pa.string())
        detail = "judged again by the stored score; what a list holds is not stored"
        return Judged(uids=uids, decisions=first_of(*decided), detail=detail)

    return judge


def _scores(inputs: Given) -> list[str]:
    return ["reason", "value", *(name for name in _SCORES if name in inputs.record.columns)]


def _clean(inputs: Given) -> Callable[[pa.Table, PartTables], Judged]:
    """By the stored distances to pictures of evaluation sets."""
    limits = {"perceptual": inputs.rule["perceptual"], "semantic": inputs.rule["semantic"]}

    def judge(pairs: pa.Table, tables: PartTables) -> Judged:
        uids = column(pairs, "uid", pa.string())
        rows = rows_of_pairs(tables, inputs.record, "contamination", uids)
        nearest = {kind: _nearest(uids, rows, kind, limit) for kind, limit in limits.items()}
        decisions = judge_contamination(nearest["perceptual"], nearest["semantic"])
        return Judged(uids=uids, decisions=decisions, detail="recorded matches held against the rule")

    return judge


def _nearest(uids: pa.Array, rows: pa.Table, kind: str, limit: float | None) -> Nearest:
    of_kind = rows.filter(pc.equal(rows["kind"], kind))
    if limit is None:
        of_kind = of_kind.slice(0, 0)
    elif kind == "semantic":
        of_kind = of_kind.filter(pc.greater_equal(of_kind["distance"], limit - _ROUNDING))
    else:
        of_kind = of_kind.filter(pc.less_equal(of_kind["distance"], limit))
    places = pc.index_in(uids, column(of_kind, "uid", pa.string()))
    distances = taken_rows(of_kind, uids)["distance"].combine_chunks()
    numbers = places.fill_null(-1).to_numpy().astype(np.int64)
    return numbers, distances.fill_null(np.nan).to_numpy()


def _on_target(inputs: Given) -> Callable[[pa.Table, PartTables], Judged]:
    """By whether a target picture is in the pair's cluster."""
    clusters = inputs.tables.table(inputs.record, "clusters", ["cluster", "target"])
    targets = clusters.filter(pc.greater(clusters["target"], 0))["cluster"].to_numpy()

    def judge(pairs: pa.Table, _tables: PartTables) -> Judged:
        uids = column(pairs, "uid", pa.string())
        decisions = judge_clusters(pairs["cluster"].to_numpy(), pairs["value"].to_numpy(), targets)
        return Judged(uids=uids, decisions=decisions, detail=f"{len(targets):,} clusters hold target pictures")

    return judge


def _by_detector_or_lists(rule: SafetyRule) -> dict[str, Collection[Need]]:
    return {f".{name}": ["pictures", "bytes"] for name in ("detector", "files", "looks") if getattr(rule, name)}


def _by_distances(rule: Contamination) -> dict[str, Collection[Need]]:
    needs: dict[str, Collection[Need]] = {"": ["pictures"] if rule.semantic is None else ["pictures", "features"]}
    if rule.semantic is not None and rule.colour is not None:
        needs[".colour"] = ["bytes"]
    if rule.perceptual is not None:
        needs[".perceptual"] = ["bytes"]
    return needs


def _deciding_list(stored: Stored, pair: Stored) -> Stored:
    """The detector's rule, or the lists of the kind that a reason names (blocked_file:1a2b...)."""
    kind = str(pair["reason"]).partition(":")[0].removeprefix("blocked_")
    names = (
        [f"{kind}s"] if kind in {"file", "domain"} else ["looks", "max_distance"] if kind == "look" else ["detector"]
    )
    return {name: stored[name] for name in names if stored.get(name) is not None}


def _deciding_distance(stored: Stored, pair: Stored) -> Stored:
    """The bounds of the kind of the nearest picture."""
    kinds = {row["kind"] for row in pair.get("contamination", ())} or {"perceptual", "semantic"}
    return {name: stored[name] for name in sorted(kinds | {"colour"}) if stored.get(name) is not None}


def _of_detector_or_lists(stored: Stored, supposed: Stored) -> list[str]:
    """All but the detector's threshold, and that it is left out."""
    if stored.get("detector") is None and supposed.get("detector") is not None:
        return ["detector"]
    return [path for path in differing_fields(stored, supposed) if path not in {"detector", "detector.threshold"}]


def _wider(stored: Stored, supposed: Stored) -> list[str]:
    """The fields by which pictures would be left out that were not near enough to be recorded."""
    paths = fixed_fields("sets", "colour")(stored, supposed)
    bits, cosines = ((stored.get(name), supposed.get(name)) for name in ("perceptual", "semantic"))
    if bits[1] is not None and (bits[0] is None or bits[1] > bits[0]):
        paths.append("perceptual")
    if cosines[1] is not None and (cosines[0] is None or cosines[1] < cosines[0]):
        paths.append("semantic")
    return paths


BLOCK_DOMAINS = Judgement(
    name="block_domains",
    section="safety",
    rule=BlockedDomains,
    question="Is its site one that no list names?",
    label="observed",
    observed="what a list holds is not stored",
    measures=always,
    fixed=fixed_fields(""),
)
SAFETY = Judgement(
    name="safety",
    section="safety",
    load=dict,
    rule=SafetyRule,
    question="Is the picture safe, by the detector and the lists?",
    value="score",
    label="re-checked",
    rejudge=by_row(_safe, _scores),
    measures=always,
    fixed=_of_detector_or_lists,
    grouped=lambda stored: bool(stored.get("files") or stored.get("looks")),
    needs=_by_detector_or_lists,
    decides=_deciding_list,
)
DECONTAMINATE = Judgement(
    name="decontaminate",
    section="decontaminate",
    load=dict,
    rule=Decontamination,
    question="Is it clear of the evaluation sets?",
    value="distance",
    label="re-checked",
    rejudge=by_row(_clean),
    measures=always,
    fixed=_wider,
    needs=_by_distances,
    decides=_deciding_distance,
)
IMAGE_BASED = Judgement(
    name="image_based",
    section="image_based",
    rule=TargetClusters,
    question="Is the picture in a cluster with pictures of the target?",
    value="cosine",
    label="re-checked",
    rejudge=by_row(_on_target, lambda _: ("cluster", "value")),
    measures=always,
    fixed=fixed_fields(""),
    fitted=lambda _: "its clusters",
    needs=of_features,
    seeded=True,
)
