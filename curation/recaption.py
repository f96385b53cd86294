"""Other captions for a picture, of which the image-text score chooses; all candidates are kept with their scores.

`compare_captions` reports CLIPScores before and after (Hessel et al. 2021, arXiv:2104.08718: 2.5 max(cosine, 0)); they
judge nothing. The paper's are of ViT-B/32 and texts that begin with "A photo depicts"; these are of the recipe's
encoder and of captions as they stand, so they compare captions of one build only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Le

from evenly.bounds import check_bounds
from evenly.curation.arrays import Floats
from evenly.curation.decisions import Decisions
from evenly.curation.errors import ColumnsError, RuleError

Origin = Literal["original", "twin", "retrieved"]
ORIGINS: tuple[Origin, ...] = ("original", "twin", "retrieved")
CANDIDATES = pa.schema(
    [("uid", pa.string()), ("caption", pa.string()), ("origin", pa.string()), ("score", pa.float64())]
)
CHOSEN = pa.schema(
    [
        ("uid", pa.string()),
        ("chosen_caption", pa.string()),
        ("caption_origin", pa.string()),
        ("caption_score", pa.float64()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class RecaptionRule:
    """Offer `candidates` captions of a captioner; one must beat the given ones by `margin` in image-text score."""

    captioner: str = "retrieved_concepts"
    keep: Literal["best_by_clip_score"] = "best_by_clip_score"
    candidates: Annotated[int, Ge(1), Le(100)] = 3
    margin: Annotated[float, Ge(0)] = 0.0

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)


@dataclass(frozen=True, kw_only=True)
class Recaptioned:
    """The chosen captions.

    decisions: every pair is kept; value is the score won over its original caption, 4 digits, 0 where that stays.
    chosen: [uid, chosen_caption, caption_origin, caption_score] in the order of the pairs.
    """

    decisions: Decisions
    chosen: pa.Table


Captioner = Callable[[Sequence[str], Sequence[Sequence[str]], Sequence[Sequence[float]]], pa.Table]


def retrieved_concepts(
    uids: Sequence[str], names: Sequence[Sequence[str]], scores: Sequence[Sequence[float]]
) -> pa.Table:
    """Return candidates [uid, caption, origin, score]: the concepts that lie nearest to each picture, by their names.

    `names` and `scores` hold the top concepts of each pair's picture; origin is "retrieved".
    """
    counts = [len(pair_names) for pair_names in names]
    columns = {
        "uid": np.repeat(np.asarray(uids, dtype=object), counts),
        "caption": [name for pair_names in names for name in pair_names],
        "origin": ["retrieved"] * sum(counts),
        "score": [float(score) for values in scores for score in values],
    }
    return pa.table(columns, schema=CANDIDATES)


def choose_captions(uids: pa.Array, candidates: pa.Table, *, margin: float) -> Recaptioned:
    """Choose per pair the candidate [uid, caption, origin, score] with the highest score.

    One that was retrieved must beat the best given one (original or twin) by more than `margin`: it was picked by
    the score that also judges it. Equal scores go to the original, then to a twin, then to the first by text. Every
    pair must have its original among the candidates, and every candidate a score.
    """
    if not margin >= 0:
        raise RuleError(f"`margin` must be at least 0; got {margin}. Correct the recipe.")
    if candidates["score"].null_count:
        raise ColumnsError(f"`score` must not be null; got {candidates['score'].null_count} nulls. Score all captions.")
    best: dict[str, tuple[tuple[float, int, str], dict[str, Any]]] = {}
    originals: dict[str, float] = {}
    for row in candidates.to_pylist():
        # Rounded, so that 0.8 - 0.1 does not beat 0.7; scores have 4 digits.
        handicapped = round(row["score"] - margin, 9) if row["origin"] == "retrieved" else row["score"]
        rank = (-handicapped, ORIGINS.index(row["origin"]), row["caption"])
        if row["origin"] == "original":
            originals[row["uid"]] = row["score"]
        if row["uid"] not in best or rank < best[row["uid"]][0]:
            best[row["uid"]] = (rank, row)
    names = uids.to_pylist()
    if missing := [uid for uid in names if uid not in originals]:
        text = f"`candidates` must hold the original caption of each pair; {len(missing)} lack it, as {missing[0]!r}."
        raise ColumnsError(f"{text} Add it with its score.")
    rows = [best[uid][1] for uid in names]
    columns = {"uid": names, "chosen_caption": [row["caption"] for row in rows]}
    columns |= {"caption_origin": [row["origin"] for row in rows], "caption_score": [row["score"] for row in rows]}
    gain = [round(row["score"] - originals[uid], 4) for uid, row in zip(names, rows, strict=True)]
    return Recaptioned(
        decisions=Decisions.of(reason=[""] * len(names), value=gain), chosen=pa.table(columns, schema=CHOSEN)
    )


def clip_scores(cosines: Floats) -> Floats:
    """Return CLIPScore of cosines, each in [0, 2.5]."""
    return np.asarray(2.5 * np.maximum(cosines, 0.0))


def compare_captions(recaptioned: Recaptioned) -> dict[str, float | int | None]:
    """Return mean CLIPScores of the original and of the chosen captions, over pairs with another caption than before.

    rewritten counts these pairs; the means are None where there are none. 4 digits.
    """
    chosen = recaptioned.chosen["caption_score"].to_numpy()
    original = chosen - recaptioned.decisions.value.to_numpy(zero_copy_only=False)
    is_rewritten = np.asarray(recaptioned.chosen["caption_origin"].to_pylist(), dtype=np.str_) != "original"
    means = [
        round(float(clip_scores(scores[is_rewritten]).mean()), 4) if is_rewritten.any() else None
        for scores in (original, chosen)
    ]
    return {"rewritten": int(is_rewritten.sum()), "clipscore_before": means[0], "clipscore_after": means[1]}
