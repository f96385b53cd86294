"""A support set per class, chosen from a pool: candidates are ranked, and the first that no rule excludes are kept.

REAL (Parashar et al., CVPR 2024, arXiv:2401.12425) keeps the captions that are nearest to the prompts of a class; SWAT
(Liu et al., CVPR 2025, arXiv:2406.11148) asks for near pictures as well and drops near-duplicates.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.curation.arrays import Floats, Ints, Strings
from evenly.curation.concepts.name_frequency import NameCounter
from evenly.curation.errors import ColumnsError, RuleError

KEPT, DROPPED, MERGED = "kept", "dropped", "merged"
TOO_FAR, SAME, NEAR, BEYOND = "image_cosine", "same_picture", "near_duplicate", "beyond_per_class"


@dataclass(frozen=True, kw_only=True)
class RetrievalRule:
    """Keep `per_class` candidates whose picture has at least `min_image_cosine` with the prompts of the class.

    Pictures with a cosine above `max_duplicate_cosine` with one that is kept already are merged into it. None: whatever
    the cosine.
    """

    per_class: int = 100
    min_image_cosine: float | None = None
    max_duplicate_cosine: float | None = None

    def __post_init__(self) -> None:
        if self.per_class < 1:
            raise RuleError(f"`per_class` must be at least 1; got {self.per_class}. Ask for a picture or more.")
        for name in ("min_image_cosine", "max_duplicate_cosine"):
            value = getattr(self, name)
            if value is not None and not -1 <= value <= 1:
                raise RuleError(f"`{name}` must be a cosine, -1 to 1; got {value}. Correct it.")


@dataclass(frozen=True, kw_only=True, eq=False)
class PoolPictures:
    """The n pictures that are chosen from: `uids`, `image_ids`, unit `rows` (n, d), and `excluded`, a reason or ""."""

    uids: Strings
    image_ids: Strings
    rows: npt.NDArray[np.float16]
    excluded: Strings


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedCandidates:
    """Candidates (m,) by class, then rank from 1: places in the pool, verdicts, reasons, and the `into` of twins.

    `order` are the places of the candidates as they were handed in.
    """

    order: Ints
    ranks: Ints
    verdicts: Strings
    reasons: Strings
    into: Strings


def rank_candidates(
    pool: PoolPictures, *, classes: Ints, places: Ints, scores: Floats, image_cosines: Floats, rule: RetrievalRule
) -> RankedCandidates:
    """Rank the candidates of each class by their score, the largest first, of equal ones by uid, and judge them.

    Candidate i is the picture at places[i] of the pool, for class classes[i]; a picture may be one for several classes,
    each of which is judged by itself. The result does not depend on the order of pool or candidates.
    """
    sizes = {len(classes), len(places), len(scores), len(image_cosines)}
    if len(sizes) > 1:
        raise ColumnsError(f"`classes`, `places`, `scores` and `image_cosines` must be equally long; got {sizes}.")
    order = np.lexsort((pool.uids[places], -scores, classes))
    ranks = np.empty(len(order), np.int64)
    judged: list[tuple[str, str, str]] = []
    bounds = np.flatnonzero(np.diff(classes[order], prepend=-1, append=-1))
    for start, end in itertools.pairwise(bounds.tolist()):
        of_class = order[start:end]
        ranks[start:end] = np.arange(1, end - start + 1)
        judged += _judge(pool, places[of_class], image_cosines[of_class], rule)
    verdicts, reasons, into = (np.array([judgement[part] for judgement in judged], dtype=np.str_) for part in range(3))
    return RankedCandidates(order=order, ranks=ranks, verdicts=verdicts, reasons=reasons, into=into)


def _judge(pool: PoolPictures, places: Ints, image_cosines: Floats, rule: RetrievalRule) -> list[tuple[str, str, str]]:
    """Verdict, reason and twin of the candidates of one class, in the order of their rank."""
    kept: list[int] = []
    vectors = np.empty((rule.per_class, pool.rows.shape[1]))
    judged = []
    for place, cosine in zip(places.tolist(), image_cosines.tolist(), strict=True):
        vector = pool.rows[place].astype(np.float64)
        verdict, reason, into = KEPT, "", ""
        if pool.excluded[place]:
            verdict, reason = DROPPED, str(pool.excluded[place])
        elif rule.min_image_cosine is not None and cosine < rule.min_image_cosine:
            verdict, reason = DROPPED, TOO_FAR
        elif len(kept) == rule.per_class:
            verdict, reason = DROPPED, BEYOND
        else:
            reason, twin = _twin(pool, place, vectors[: len(kept)] @ vector, kept, rule)
            verdict, into = (MERGED, str(pool.uids[twin])) if reason else (KEPT, "")
        if verdict == KEPT:
            vectors[len(kept)] = vector
            kept.append(place)
        judged.append((verdict, reason, into))
    return judged


def _twin(pool: PoolPictures, place: int, cosines: Floats, kept: list[int], rule: RetrievalRule) -> tuple[str, int]:
    """The reason why a picture is a duplicate, and of which kept one: equal file, else nearest feature; "" for none."""
    for kept_place in kept:
        if pool.image_ids[kept_place] == pool.image_ids[place]:
            return SAME, kept_place
    if rule.max_duplicate_cosine is None or not kept:
        return "", -1
    nearest = int(np.argmax(np.round(cosines, 4)))
    return (NEAR, kept[nearest]) if round(float(cosines[nearest]), 4) > rule.max_duplicate_cosine else ("", -1)


RETRIEVED = pa.schema(
    [
        ("class", pa.string()),
        ("rank", pa.int64()),
        *((name, pa.string()) for name in ("uid", "image_id", "name", "verdict", "reason", "into")),
        *((name, pa.float64()) for name in ("caption_cosine", "image_cosine")),
    ]
)


@dataclass(frozen=True, kw_only=True, eq=False)
class NamedCandidates:
    """Candidates (m,): class, place in the pool, number of the name that its caption holds (-1: none is asked for)."""

    classes: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    names: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredCandidates(NamedCandidates):
    """Candidates with their cosines to the prompts of their class (m,)."""

    by_image: npt.NDArray[np.float64]
    by_caption: npt.NDArray[np.float64]


def pairs_with_names(kept: pa.Table, names: Sequence[Sequence[str]]) -> NamedCandidates:
    """Pairs whose caption holds a name of a class, with the first of these names."""
    matches = NameCounter(names, plurals=True).hold(kept["caption"].combine_chunks())
    _, first = np.unique(np.stack([matches.rows, matches.owners]), axis=1, return_index=True)
    rows, owners, numbers = (
        np.asarray(part, np.int64)[first] for part in (matches.rows, matches.owners, matches.names)
    )
    return NamedCandidates(classes=owners, places=rows, names=numbers)


def retrieved_table(
    names: Sequence[Sequence[str]], pool: PoolPictures, measured: MeasuredCandidates, ranked: RankedCandidates
) -> pa.Table:
    """The candidates as RETRIEVED has them, by class, then rank."""
    order = ranked.order
    places, labels = measured.places[order], measured.classes[order].tolist()
    flat = [name for class_names in names for name in class_names]
    columns = {
        "class": [names[label][0] for label in labels],
        "rank": ranked.ranks,
        "uid": pool.uids[places].tolist(),
        "image_id": pool.image_ids[places].tolist(),
        "name": [flat[number] if number >= 0 else None for number in measured.names[order].tolist()],
        "verdict": ranked.verdicts.tolist(),
        "reason": ranked.reasons.tolist(),
        "into": [twin or None for twin in ranked.into.tolist()],
        "caption_cosine": pa.array(measured.by_caption[order], from_pandas=True),
        "image_cosine": measured.by_image[order],
    }
    return pa.table({name: pa.array(columns[name], RETRIEVED.field(name).type) for name in RETRIEVED.names})
