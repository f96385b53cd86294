"""Offer other captions for a picture, and choose by image-text score; what was offered is kept with its score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from curation.decisions import Decisions
from curation.errors import ColumnsError

Origin = Literal["original", "twin", "retrieved"]
ORIGINS: tuple[Origin, ...] = ("original", "twin", "retrieved")
CANDIDATES = pa.schema(
    [("uid", pa.string()), ("caption", pa.string()), ("origin", pa.string()), ("score", pa.float64())]
)


@dataclass(frozen=True, kw_only=True)
class Recaptioned:
    """decisions keep every pair (value: score won over the original); chosen: uid, chosen_caption, caption_origin, caption_score."""

    decisions: Decisions
    chosen: pa.Table


def retrieved_concepts(
    uids: Sequence[str], names: Sequence[Sequence[str]], scores: Sequence[Sequence[float]]
) -> pa.Table:
    """Candidates from the concepts that lie nearest to each picture: their names, as they stand in the concept list."""
    rows = [
        {"uid": uid, "caption": name, "origin": "retrieved", "score": float(score)}
        for uid, some, values in zip(uids, names, scores, strict=True)
        for name, score in zip(some, values, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=CANDIDATES)


def choose_captions(uids: pa.Array, candidates: pa.Table, *, margin: float) -> Recaptioned:
    """Choose per pair the candidate with the highest score.

    One that was retrieved must beat the best given one (original or twin) by more than `margin`: it was picked by
    the very score that judges it. Equal scores go to the original, then a twin, then by text.
    Raises ColumnsError for a pair without an original candidate.
    """
    best: dict[str, tuple[tuple[float, int, str], dict[str, object]]] = {}
    originals: dict[str, float] = {}
    for row in candidates.to_pylist():
        score = row["score"] - (margin if row["origin"] == "retrieved" else 0.0)
        rank = (-score, ORIGINS.index(row["origin"]), row["caption"])
        if row["origin"] == "original":
            originals[row["uid"]] = row["score"]
        if row["uid"] not in best or rank < best[row["uid"]][0]:
            best[row["uid"]] = (rank, row)
    names = uids.to_pylist()
    if missing := [uid for uid in names if uid not in originals]:
        raise ColumnsError(f"`candidates` must hold the original caption of each pair; {len(missing)} lack it.")
    rows = [best[uid][1] for uid in names]
    chosen = pa.table(
        {
            "uid": uids,
            "chosen_caption": pa.array([row["caption"] for row in rows], pa.string()),
            "caption_origin": pa.array([row["origin"] for row in rows], pa.string()),
            "caption_score": pa.array([row["score"] for row in rows], pa.float64()),
        }
    )
    gain = pc.round(pc.subtract(chosen["caption_score"], pa.array([originals[uid] for uid in names], pa.float64())), 4)
    return Recaptioned(decisions=Decisions.of(reason=[""] * len(names), value=gain), chosen=chosen)


Captioner = Callable[[Sequence[str], Sequence[Sequence[str]], Sequence[Sequence[float]]], pa.Table]
