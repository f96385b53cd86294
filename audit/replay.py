"""Replay: for one pair, compute again what a step says, as far as that can be done from what is stored.

Each answer carries its label: "recomputed" (a pure function of the pair and the rule), "re-checked" (a global result,
compared with the stored numbers it came from), "observed" (a recording; the web is not asked twice), "not replayed".
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from audit.explanation import PairHistory, Replay, StepSight
from audit.published import PublishedBuild
from audit.published import sql_equals as equals
from curation.draws import draw
from curation.errors import UidError
from curation.uids import file_uid, pair_uid

# Both balancing steps draw under this name: the preselection nests in the final choice (design.md).
DRAW_STEP = "balance"
_ROUNDING = 1e-9


def replay_step(build: PublishedBuild, pair: PairHistory, sight: StepSight) -> Replay:
    """Return what replaying one step for one pair gives, with its label; a step without a replay says so."""
    replay = REPLAYS.get(sight.step)
    if replay is None:
        return Replay(label="not replayed", agrees=None, detail="no replay is written for this step")
    return replay(build, pair, sight)


def _replay_uid(_build: PublishedBuild, pair: PairHistory, _sight: StepSight) -> Replay:
    url, caption = pair.identity.get("url"), pair.identity.get("caption")
    image_id = (pair.image or {}).get("image_id")
    made = set()
    try:
        made |= {pair_uid(url, caption)} if url else set()
        made |= {file_uid(image_id, caption)} if image_id else set()
    except UidError:
        made = set()
    agrees = pair.uid in made
    return Replay(label="recomputed", agrees=agrees, detail="uid from url and caption" + ("" if agrees else " differs"))


def _replay_draws(_build: PublishedBuild, pair: PairHistory, sight: StepSight) -> Replay:
    """Draw again for each entry, and let the draws decide against the stored probabilities."""
    rows = sight.rows.get("draws", ())
    if sight.seed is None or not rows:
        return Replay(label="not replayed", agrees=None, detail="no draws are stored for this pair")
    wrong = [
        row for row in rows if draw(seed=sight.seed, step=DRAW_STEP, uid=pair.uid, entry=row["entry"]) != row["draw"]
    ]
    passed = any(row["draw"] < row["p"] for row in rows)
    keep = 1 - math.prod(1 - row["p"] for row in rows)
    decided = passed == (sight.verdict == "kept")
    summed = sight.value is None or abs(keep - sight.value) <= 1e-6
    detail = f"{len(rows)} draws, P(keep) {keep:.4f} and the verdict, from the stored probability of each concept"
    if wrong:
        detail = f"draws differ for: {', '.join(str(row['entry']) for row in wrong)}"
    elif not (decided and summed):
        detail = f"draws and probabilities give {'kept' if passed else 'dropped'}, P(keep) {keep:.4f}"
    return Replay(label="recomputed", agrees=not wrong and decided and summed, detail=detail)


def _observed(_build: PublishedBuild, _pair: PairHistory, _sight: StepSight) -> Replay:
    return Replay(label="observed", agrees=None, detail="recorded once; the web is not asked again")


def _recheck_same_bytes(build: PublishedBuild, pair: PairHistory, sight: StepSight) -> Replay:
    if sight.twin is None:
        return Replay(label="not replayed", agrees=None, detail="that no other pair is the same needs all pairs")
    images = build.samples(["image_id"], equals("uid", sight.twin["uid"]))["image_id"].to_pylist()
    agrees = bool(images) and images[0] is not None and images[0] == (pair.image or {}).get("image_id")
    detail = "same image_id as the twin" if agrees else "the twin has another image_id"
    return Replay(label="re-checked", agrees=agrees, detail=detail)


def _recheck_edges(_build: PublishedBuild, _pair: PairHistory, sight: StepSight) -> Replay:
    if sight.twin is None:
        return Replay(label="not replayed", agrees=None, detail="that no other pair is near needs all pairs")
    path = sight.twin["path"]
    if not path:
        return Replay(label="re-checked", agrees=False, detail="no recorded edges lead to the twin")
    bad = [step for step in path if not _is_within(step["distance"], sight.rule)]
    detail = f"{len(path)} recorded edges lead to the twin, each within the rule"
    return Replay(label="re-checked", agrees=not bad, detail="an edge exceeds the rule" if bad else detail)


def _is_within(distance: float | None, rule: Mapping[str, Any]) -> bool:
    """Whether an edge's distance fits the rule: bits of a perceptual hash, or 1 - cosine."""
    if distance is None:
        return True
    if "min_cosine" in rule:
        return bool(distance <= 1 - float(rule["min_cosine"]) + 1e-4)  # scores are rounded to 4 digits
    limit = rule.get("max_distance")
    return limit is None or bool(distance <= float(limit))


def _recheck_choice(_build: PublishedBuild, _pair: PairHistory, sight: StepSight) -> Replay:
    """Compare the stored scores of the candidates: the chosen one must be among them, and a made one must win."""
    rows, chosen = sight.rows.get("candidates", ()), sight.columns.get("chosen_caption")
    if not rows:
        return Replay(label="not replayed", agrees=None, detail="no candidates are stored for this pair")
    score = sight.columns.get("caption_score")
    held = [row for row in rows if row["caption"] == chosen and (score is None or row["score"] == score)]
    if not held:
        return Replay(
            label="re-checked", agrees=False, detail="the chosen caption and score are not among the candidates"
        )
    margin = float(sight.rule.get("margin", 0.0))
    given = max((row["score"] for row in rows if row["origin"] != "retrieved"), default=-math.inf)
    beaten = held[0]["origin"] != "retrieved" or held[0]["score"] >= given + margin - _ROUNDING
    detail = f"chosen among {len(rows)} candidates by their stored scores"
    return Replay(
        label="re-checked",
        agrees=beaten,
        detail=detail if beaten else "a given caption scores too close to the made one",
    )


def _recheck_threshold(_build: PublishedBuild, _pair: PairHistory, sight: StepSight) -> Replay:
    threshold = sight.notes.get("threshold")
    if threshold is None or sight.value is None:
        return Replay(label="not replayed", agrees=None, detail="no threshold is stored")
    kept = sight.value >= threshold
    detail = f"stored score {sight.value:.4f} {'>=' if kept else '<'} stored threshold {threshold:.4f}"
    return Replay(label="re-checked", agrees=kept == (sight.verdict == "kept"), detail=detail)


REPLAYS: dict[str, Callable[[PublishedBuild, PairHistory, StepSight], Replay]] = {
    "collect": _replay_uid,
    "preselect": _replay_draws,
    "download": _observed,
    "deduplicate_exact": _recheck_same_bytes,
    "deduplicate_perceptual": _recheck_edges,
    "deduplicate_semantic": _recheck_edges,
    "recaption": _recheck_choice,
    "align": _recheck_threshold,
    "balance": _replay_draws,
}
