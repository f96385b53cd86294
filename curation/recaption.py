"""Other captions for a picture, of which the image-text score chooses; all candidates are kept with their scores.

`compare_captions` reports CLIPScores before and after (Hessel et al. 2021, arXiv:2104.08718: 2.5 max(cosine, 0)); they
judge nothing. The paper's are of ViT-B/32 and texts that begin with "A photo depicts"; these are of the recipe's
encoder and of captions as they stand, so they compare captions of one build only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge, Le

from evenly.bounds import check_bounds
from evenly.curation.arrays import Floats
from evenly.curation.decisions import Decisions
from evenly.curation.errors import ColumnsError, RuleError

Origin = Literal["original", "twin", "retrieved"]
_COSINE_UNITS = 10_000
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
    places = pc.index_in(candidates["uid"], uids)
    offered = candidates.append_column("pair", places).filter(pc.is_valid(places)).combine_chunks()
    origins, pairs = offered["origin"], offered["pair"].to_numpy()
    scores = offered["score"].to_numpy()
    is_original = pc.equal(origins, "original").to_numpy()
    original_scores = np.full(len(uids), np.nan)
    original_scores[pairs[is_original]] = scores[is_original]
    has_original = np.zeros(len(uids), np.bool_)
    has_original[pairs[is_original]] = True
    if not has_original.all():
        missing = uids.filter(pa.array(~has_original))
        first = missing[0].as_py()
        text = f"`candidates` must hold the original caption of each pair; {len(missing)} lack it, as {first!r}."
        raise ColumnsError(f"{text} Add it with its score.")
    # Rounded, so that 0.8 - 0.1 does not beat 0.7; scores have 4 digits.
    is_retrieved = pc.equal(origins, "retrieved").to_numpy()
    handicapped = np.where(is_retrieved, _rounded(scores - margin, 9), scores)
    ranks = {"pair": pairs, "handicapped": handicapped, "origin": pc.index_in(origins, pa.array(ORIGINS))}
    order = pc.sort_indices(
        pa.table(ranks | {"caption": offered["caption"]}),
        sort_keys=[
            ("pair", "ascending"),
            ("handicapped", "descending"),
            ("origin", "ascending"),
            ("caption", "ascending"),
        ],
    )
    is_first = np.diff(pairs[order.to_numpy()], prepend=-1) != 0
    best = offered.take(order.filter(pa.array(is_first)))
    gain = _rounded(best["score"].to_numpy() - original_scores, 4)
    columns = [uids, best["caption"], best["origin"], best["score"]]
    return Recaptioned(
        decisions=Decisions.of(reason=pa.repeat(pa.scalar(""), len(uids)), value=gain),
        chosen=pa.table(columns, schema=CHOSEN).combine_chunks(),
    )


def _rounded(values: Floats, digits: int) -> Floats:
    """Values rounded as Python rounds, which numpy does not do to the last bit; each different one once."""
    different, places = np.unique(values, return_inverse=True)
    return np.array([round(value, digits) for value in different.tolist()], dtype=np.float64)[places]


def clip_scores(cosines: Floats) -> Floats:
    """Return CLIPScore of cosines, each in [0, 2.5]."""
    return np.asarray(2.5 * np.maximum(cosines, 0.0))


def count_rewritten(recaptioned: Recaptioned) -> pa.Table:
    """Return one row on the pairs with another caption than before: how many, and sums of their cosines above 0.

    original and chosen: in units of 1e-4, to which cosines are stored.
    """
    chosen = recaptioned.chosen["caption_score"].to_numpy()
    original = chosen - recaptioned.decisions.value.to_numpy(zero_copy_only=False)
    is_rewritten = pc.not_equal(recaptioned.chosen["caption_origin"], "original").to_numpy()
    sums = {
        name: [int(np.maximum(np.rint(scores[is_rewritten] * _COSINE_UNITS), 0).sum())]
        for name, scores in (("original", original), ("chosen", chosen))
    }
    return pa.table({"rewritten": [int(is_rewritten.sum())], **sums})


def compare_captions(parts: Sequence[pa.Table]) -> dict[str, float | int | None]:
    """Return mean CLIPScores of the original and of the chosen captions, over pairs with another caption than before.

    `parts` are of `count_rewritten`; rewritten is the number of these pairs; the means are None where there are none.
    4 digits.
    """
    rewritten, *sums = (
        sum(pc.sum(part[name]).as_py() for part in parts) for name in ("rewritten", "original", "chosen")
    )
    means = [round(2.5 * total / _COSINE_UNITS / rewritten, 4) if rewritten else None for total in sums]
    return {"rewritten": rewritten, "clipscore_before": means[0], "clipscore_after": means[1]}
