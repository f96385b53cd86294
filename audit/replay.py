"""Replay: for one pair, compute again what a step says, as far as that can be done from what is stored.

Each answer carries its label: "recomputed" (a pure function of the pair, the rule and stored inputs), "re-checked" (a
global result, its own inputs summed or compared again), "observed" (a recording that is not made twice) and "not
replayed".
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.checks.mixing import replay_mix
from evenly.audit.explanation import PairHistory, Replay, StepSight
from evenly.audit.published import PublishedBuild
from evenly.audit.replay_balance import replay_draws
from evenly.curation.captions.choice import CANDIDATES, CHOSEN, ChoiceRule, choose_captions
from evenly.curation.concepts.matching import Matcher
from evenly.curation.concepts.multilingual import MultilingualMatcher
from evenly.curation.decisions import Decisions, first_of
from evenly.curation.errors import CurationError, UidError
from evenly.curation.filters import IMAGE_FILTERS, TEXT_FILTERS, Filter
from evenly.curation.uids import file_uid, pair_uid, text_uid
from evenly.storage.pools.local_rows import LOCAL_ADDRESS

_ROUNDING = 1e-9


def replay_step(build: PublishedBuild, pair: PairHistory, sight: StepSight) -> Replay:
    """Return what replaying one step for one pair gives, with its label; a step without a replay says so."""
    replay = REPLAYS.get(sight.step)
    if replay is None:
        return Replay(label="not replayed", agrees=None, detail="no replay is written for this step")
    try:
        return replay(build, pair, sight)
    except (CurationError, TypeError, KeyError) as error:
        # The rule, the columns or the functions have changed since the step ran.
        return Replay(label="not replayed", agrees=None, detail=f"cannot be computed by this code: {error}")


def _known(pair: PairHistory) -> dict[str, Any]:
    """All that steps found of a pair, under its column's name."""
    return dict(pair.identity) | {name: value for sight in pair.steps for name, value in sight.columns.items()}


def _replay_uid(_build: PublishedBuild, pair: PairHistory, _sight: StepSight) -> Replay:
    url, caption = pair.identity.get("url"), pair.identity.get("caption")
    image_id = (pair.image or {}).get("image_id")
    uids = set()
    try:
        uids |= {pair_uid(url, caption)} if url else {text_uid(caption or "", pair.identity.get("source_id"))}
        match = re.match(LOCAL_ADDRESS, url or "")
        uids |= {file_uid(match["hash"], caption)} if match else set()
        uids |= {file_uid(image_id, caption)} if image_id else set()
    except UidError:
        uids = set()
    agrees = pair.uid in uids
    origin = "uid from url and caption" if url else "uid from the caption and its id"
    return Replay(label="recomputed", agrees=agrees, detail=origin + ("" if agrees else " differs"))


def _replay_filters(
    filters: Mapping[str, Filter], _build: PublishedBuild, pair: PairHistory, sight: StepSight
) -> Replay:
    """Measure and judge the pair again by each filter of the rule; compare the values and the first reason.

    Filters are asked in the order of `filters`: a stored rule has no order of its own. One with a lookup judges its
    stored value: the list that it read may be gone.
    """
    row = _known(pair)
    decided, values = [Decisions.keep_all(1)], dict[str, Any]()
    for name in [*(name for name in filters if name in sight.rule), *(sight.rule.keys() - filters.keys())]:
        rule, columns = filters[name].rule(**sight.rule[name]), dict[str, pa.Array]()
        if filters[name].lookup:
            rule = replace(rule, sha256=sight.notes.get(name, ""))
            measured = pa.array([row.get(f"{name}_value")], pa.float64())
        else:
            batch = pa.table({column: [row.get(column)] for column in filters[name].columns})
            measured, columns = filters[name].measure_all(batch, rule)
        values |= {column: array[0].as_py() for column, array in ({f"{name}_value": measured} | columns).items()}
        decided.append(filters[name].judge(measured, rule))
    reason = first_of(*decided).reason[0].as_py()
    wrong = [name for name, value in values.items() if row.get(name) != value]
    if wrong or reason != sight.reason:
        return Replay(label="recomputed", agrees=False, detail=f"gives {reason or 'kept'}; {_describe(values)}")
    looked_up = sum(filters[name].lookup for name in sight.rule)
    detail = f"measured and judged again by {len(sight.rule) - looked_up} filters"
    detail += f", judged again by the stored values of {looked_up}" if looked_up else ""
    return Replay(label="recomputed", agrees=True, detail=detail)


def _replay_match(column: str, build: PublishedBuild, pair: PairHistory, sight: StepSight) -> Replay:
    """Match the caption again against the stored concepts, those of its language where the rule names a column."""
    entries = build.concepts
    if entries is None:
        return Replay(label="not replayed", agrees=None, detail="no concepts are stored")
    row = _known(pair)
    caption = pa.array([row.get(column, row.get("caption"))], pa.string())
    if sight.rule.get("language") is None:
        matcher = Matcher(entries, sight.rule["mode"], plurals=bool(sight.rule.get("plurals", False)))
        matched = [entries[number] for number in matcher.match(caption)[0].as_py()]
    else:
        language = str(row.get(sight.rule["language"]))
        entries = _of_language(build, language)
        by_language = MultilingualMatcher({language: entries}, sight.rule["mode"])
        matched = [entries[number] for number in by_language.match(caption, pa.array([language]))[0].as_py()]
    stored = [entry for row in sight.rows.get("matches", ()) for entry in row["entries"]]
    stays = bool(matched) or sight.rule.get("unmatched") == "keep"
    agrees = matched == stored and stays == (sight.verdict == "kept")
    detail = f"matched again against {len(entries):,} concepts" if agrees else f"matches {matched}"
    return Replay(label="recomputed", agrees=agrees, detail=detail)


def _of_language(build: PublishedBuild, language: str) -> list[str]:
    table = build.table("match_concepts", "concepts", ["entry", "languages"])
    rows = [] if table is None else table.to_pylist()
    return [str(row["entry"]) for row in rows if language in row["languages"]]


def _observed(detail: str, _build: PublishedBuild, _pair: PairHistory, _sight: StepSight) -> Replay:
    return Replay(label="observed", agrees=None, detail=detail)


def _recheck_same_bytes(build: PublishedBuild, pair: PairHistory, sight: StepSight) -> Replay:
    if sight.twin is None:
        return Replay(label="not replayed", agrees=None, detail="that no other pair is the same needs all pairs")
    agrees = _of_twin(build, sight, "image_id") == (pair.image or {}).get("image_id")
    detail = "same image_id as the twin" if agrees else "the twin has another image_id"
    return Replay(label="re-checked", agrees=agrees, detail=detail)


def _recheck_edges(build: PublishedBuild, pair: PairHistory, sight: StepSight) -> Replay:
    """Follow the recorded edges to the twin; for perceptual hashes, count the differing bits again."""
    if sight.twin is None:
        return Replay(label="not replayed", agrees=None, detail="that no other pair is near needs all pairs")
    path = sight.twin["path"]
    if not path:
        return Replay(label="re-checked", agrees=False, detail="no recorded edges lead to the twin")
    if not all(_is_within(step["distance"], sight.rule) for step in path):
        return Replay(label="re-checked", agrees=False, detail="an edge exceeds the rule")
    own_hash, twin_hash = _known(pair).get("phash"), _of_twin(build, sight, "phash")
    if "max_distance" in sight.rule and isinstance(own_hash, int) and isinstance(twin_hash, int):
        bits = (own_hash ^ twin_hash).bit_count()
        if bits != sight.value:
            return Replay(label="re-checked", agrees=False, detail=f"{bits} bits differ, {sight.value} are stored")
    edges = "1 recorded edge leads" if len(path) == 1 else f"{len(path)} recorded edges lead"
    return Replay(label="re-checked", agrees=True, detail=f"{edges} to the twin, within the rule")


def _of_twin(build: PublishedBuild, sight: StepSight, column: str) -> Any:  # noqa: ANN401 - any column
    row = None if sight.twin is None else build.pair(sight.twin["uid"], [column])
    return None if row is None else row.get(column)


def _is_within(measured: float | None, rule: Mapping[str, Any]) -> bool:
    """Whether an edge fits the rule: at most that many bits, or at least that cosine or Jaccard index."""
    if measured is None:
        return True
    least = rule.get("min_cosine", rule.get("min_jaccard"))
    if least is not None:
        return bool(measured >= float(least) - _ROUNDING)
    return bool(measured <= float(rule.get("max_distance", float("inf"))))


def _replay_choice(_build: PublishedBuild, pair: PairHistory, sight: StepSight) -> Replay:
    """Choose again among the stored candidates by their stored scores."""
    rows = [{"uid": pair.uid, **row} for row in sight.rows.get("candidates", ())]
    if not rows:
        return Replay(label="not replayed", agrees=None, detail="no candidates are stored for this pair")
    if "choose" not in sight.rule:
        return Replay(
            label="not replayed", agrees=None, detail=f"version {sight.version} of the step stored no rule of choice"
        )
    table = pa.Table.from_pylist(rows, CANDIDATES)
    rule = ChoiceRule(**{**sight.rule["choose"], "forbid": tuple(sight.rule["choose"]["forbid"])})
    chosen = choose_captions(pa.array([pair.uid]), table, rule, seed=int(sight.seed or 0)).chosen
    choice = {name: chosen[name][0].as_py() for name in CHOSEN.names if name != "uid"}
    agrees = all(sight.columns.get(name) == value for name, value in choice.items())
    detail = f"chosen again among {len(rows)} candidates by their stored scores" if agrees else _describe(choice)
    return Replay(label="recomputed", agrees=agrees, detail=detail)


def _recheck_threshold(_build: PublishedBuild, _pair: PairHistory, sight: StepSight) -> Replay:
    threshold = sight.notes.get("threshold")
    if threshold is None or sight.value is None:
        return Replay(label="not replayed", agrees=None, detail="no threshold or score is stored")
    kept = sight.value >= threshold
    detail = f"stored score {sight.value:.4f} {'>=' if kept else '<'} stored threshold {threshold:.4f}"
    return Replay(label="re-checked", agrees=kept == (sight.verdict == "kept"), detail=detail)


def _recheck_safety(_build: PublishedBuild, _pair: PairHistory, sight: StepSight) -> Replay:
    """Hold the detector's stored score against its threshold; what lists hold is not stored."""
    score = sight.columns.get("unsafe_score")
    if score is None or sight.reason.startswith("blocked_"):
        return Replay(label="not replayed", agrees=None, detail="what a list holds is not stored")
    threshold = sight.rule["detector"]["threshold"]
    unsafe = score >= threshold
    detail = f"stored score {score:.4f} {'>=' if unsafe else '<'} threshold {threshold:.4f}"
    return Replay(label="re-checked", agrees=unsafe == (sight.reason == "unsafe"), detail=detail)


def _recheck_contamination(_build: PublishedBuild, _pair: PairHistory, sight: StepSight) -> Replay:
    """Hold the stored distances to pictures of evaluation sets against the rule."""
    rows = sight.rows.get("contamination", ())
    limits = {
        "perceptual": {"max_distance": sight.rule["perceptual"]},
        "semantic": {"min_cosine": sight.rule["semantic"]},
    }
    agrees = bool(rows) == (sight.verdict != "kept")
    agrees &= all(_is_within(row["distance"], limits[row["kind"]]) for row in rows)
    detail = f"recorded matches within the rule: {len(rows)}" if rows else "no recorded match"
    return Replay(label="re-checked", agrees=agrees, detail=detail)


def _recheck_cluster(build: PublishedBuild, _pair: PairHistory, sight: StepSight) -> Replay:
    """Look up whether a target picture is in the pair's cluster."""
    record = next(record for record in build.records if record.name == sight.step)
    number = int(sight.columns["cluster"])
    rows = build.ledger.table(record, "clusters", ["target"], pc.field("cluster") == number)["target"].to_pylist()
    agrees = bool(sum(rows)) == (sight.verdict == "kept")
    return Replay(label="re-checked", agrees=agrees, detail=f"cluster {number} holds {sum(rows)} target pictures")


def _describe(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


REPLAYS: dict[str, Callable[[PublishedBuild, PairHistory, StepSight], Replay]] = {
    "collect": _replay_uid,
    "block_domains": _recheck_safety,
    "check_texts": partial(_replay_filters, TEXT_FILTERS),
    "match_concepts": partial(_replay_match, "caption"),
    "mix_sources": replay_mix,
    "preselect": replay_draws,
    "download": partial(_observed, "recorded once; the web is not asked again"),
    "check_images": partial(_replay_filters, IMAGE_FILTERS),
    "deduplicate_exact": _recheck_same_bytes,
    "deduplicate_perceptual": _recheck_edges,
    "embed_images": partial(_observed, "encoded once by the model; the stored vector is used by every replay"),
    "deduplicate_semantic": _recheck_edges,
    "deduplicate_linked": _recheck_edges,
    "deduplicate_captions": _recheck_edges,
    "safety": _recheck_safety,
    "decontaminate": _recheck_contamination,
    "rank": _recheck_threshold,
    "recaption": _replay_choice,
    "align": _recheck_threshold,
    "image_based": _recheck_cluster,
    "match_again": partial(_replay_match, "chosen_caption"),
    "balance": replay_draws,
}
