"""FuDD: the likeliest classes of an image, told apart by texts that set each against the others."""

from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal, Self, cast

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from evenly.adapters.contract import CHUNK_ROWS, Adapter, check_positive
from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.forms.class_statistics import check_choice
from evenly.adapters.forms.class_texts import directions
from evenly.adapters.methods.zero_shot import cosine_logits
from evenly.bounds import Share

Aggregate = Literal["mean_embedding", "mean_similarity"]
BATCH_VALUES = 2**20
"""Numbers in the class embeddings made at a time: 8 MB of float64, those of 200 sets at k = 10 and d = 512."""
GAP = 1e-5
"""Least distance of a class outside the top k from those inside, in cosine: well above the rounding of float32."""


@dataclass(frozen=True, kw_only=True)
class ConfusablePairs:
    """Classes that are taken for each other: pairs with both in the `top` likeliest of a train or val picture.

    Of these the most frequent, as few as make up the share `cover` of all occurrences. FuDD has 10 and 1.
    """

    top: Annotated[int, Ge(2)] = 5
    cover: Share = 0.9


@dataclass(kw_only=True, eq=False)
class DifferentialTexts(Adapter):
    """The top `k` classes of zero-shot, scored again by `pair_texts` (FuDD, Esfandiarpoor and Bach, arXiv:2311.07593).

    A class's texts for an image are the set of those that set it against any of the other k - 1: as published, a text
    used against several of them counts once. Equal rows are one text. "mean_embedding" is the cosine with their
    normalised mean, as published, "mean_similarity" the mean of the cosines; times `logit_scale`. Where a pair has no
    texts the prototype is one of them, once; it stands alone where they cancel out. The other classes keep their
    zero-shot logits, all lowered by the same amount where the largest would not lie below the top k: their order stays,
    and top-1 is one of the top k. k of at least c rescores all classes; fewer than two classes in the top k: zero-shot.
    No pair texts: zero-shot. Images and labels of the support are not used. The published code makes the embeddings
    image by image; here once for all images that share a top k.

    `texts_` (t, d) are the different texts, each once, and `uses_` (u, 3) what for: row (a, b, i) says that text i sets
    class a against class b; sorted, each once.
    """

    needs: ClassVar[tuple[str, ...]] = ("prototypes", "pair_texts", "pair_text_classes")
    learns_from: ClassVar[tuple[str, ...]] = ("pair_texts",)

    k: int = 10
    aggregate: Aggregate = "mean_embedding"

    texts_: Floats = field(init=False, repr=False)
    uses_: Integers = field(init=False, repr=False)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("k", self.k, integer=True)
        check_choice("aggregate", self.aggregate, Aggregate)

    def _learn(self, features: Features, labels: Integers) -> None:  # noqa: ARG002 - texts are all
        texts = cast("Floats", features.pair_texts)  # `needs` names them
        classes = cast("Integers", features.pair_text_classes)
        reflexive = classes[classes[:, 0] == classes[:, 1]]
        if len(reflexive):
            raise InvalidFeaturesError(
                f"`pair_text_classes` must name two classes per text; got ({reflexive[0, 0]}, {reflexive[0, 1]}). "
                "Leave this text out."
            )
        self.texts_, numbers = _distinct(texts)
        self.uses_ = np.unique(np.column_stack([classes, numbers]), axis=0)
        if not len(texts):
            self.fallback_ = "zero-shot: no pair texts"
        elif min(self.k, len(self.prototypes_)) < 2:
            self.fallback_ = f"zero-shot: a single class in the top {self.k}"

    def _logits(self, features: Features) -> Floats:
        logits = cosine_logits(features.image, self.prototypes_, self.logit_scale)
        if not len(self.uses_) or min(self.k, len(self.prototypes_)) < 2:
            return logits
        top = top_classes(logits, self.k)
        sets, of_set, sizes = np.unique(top, axis=0, return_inverse=True, return_counts=True)
        members = np.split(np.argsort(of_set.ravel(), kind="stable"), np.cumsum(sizes)[:-1])
        image = features.image.astype(np.float64)
        rescored = np.empty(top.shape)
        step = max(BATCH_VALUES // (top.shape[1] * image.shape[1]), 1)
        for start in range(0, len(sets), step):
            embeddings = self._embeddings(sets[start : start + step])
            for rows, embedding in zip(members[start : start + step], embeddings, strict=True):
                rescored[rows] = self.logit_scale * (image[rows] @ embedding.T)
        return merged_top(logits, top, rescored, gap=GAP * self.logit_scale)

    def _embeddings(self, sets: Integers) -> Floats:
        """The vector (s, k, d), float64, of each class of each set (s, k), given the others of the set."""
        from scipy.sparse import csr_array

        s, k = sets.shape
        d, n_classes = self.prototypes_.shape[1], len(self.prototypes_)
        codes = self.uses_[:, 0] * n_classes + self.uses_[:, 1]
        first, second = np.nonzero(~np.eye(k, dtype=np.bool_))  # every class against each of the others
        wanted = (sets[:, first] * n_classes + sets[:, second]).reshape(s * k, k - 1)
        starts, stops = np.searchsorted(codes, wanted), np.searchsorted(codes, wanted, side="right")
        texts, numbers = np.unique(self.uses_[_ranges(starts.ravel(), stops.ravel()), 2], return_inverse=True)
        owners = np.repeat(np.arange(s * k), (stops - starts).sum(axis=1))
        chosen = csr_array((np.ones(len(owners)), (owners, numbers)), shape=(s * k, len(texts)))
        chosen.sum_duplicates()
        chosen.data[:] = 1.0  # a set: whatever the number of its rivals
        lacking = (starts == stops).any(axis=1)
        prototypes = self.prototypes_.astype(np.float64)[sets.ravel()]
        sums = chosen @ self.texts_[texts].astype(np.float64) + np.where(lacking[:, None], prototypes, 0.0)
        counts = np.diff(chosen.indptr) + lacking
        if self.aggregate == "mean_similarity":
            return np.asarray(sums / counts[:, None]).reshape(s, k, d)
        return directions(sums, counts, otherwise=prototypes).reshape(s, k, d)


@dataclass(frozen=True, kw_only=True, eq=False)
class NeededPairs:
    """The pairs of classes that occur in a top k: what has to be described, of what could be.

    `pairs` (p, 2) are sorted, the smaller class first; `images` (p,) counts the images in whose top k a pair lies;
    `possible` is c (c - 1) / 2. Each pair stands for two orders: a against b, and b against a.
    """

    pairs: Integers
    images: Integers
    possible: int

    def covering(self, share: float) -> Self:
        """The most frequent pairs, the fewest that make up `share` (above 0, to 1) of all occurrences, in order.

        Pairs as frequent as the last of them are in; 1 keeps all, as published. There are many pairs that hardly occur,
        and each changes few images: to the adapter, one that is left out is a pair without texts.
        """
        check_positive("share", share)
        falling = np.sort(self.images)[::-1]
        last = np.searchsorted(np.cumsum(falling), min(share, 1.0) * self.images.sum())
        kept = self.images >= falling[min(last, len(falling) - 1)] if len(falling) else np.empty(0, dtype=np.bool_)
        return replace(self, pairs=self.pairs[kept], images=self.images[kept])


def pairs_needed(logits: Floats, k: int = 10) -> NeededPairs:
    """The pairs that the `k` likeliest classes of images with logits (m, c) make; at most k (k - 1) / 2 per image."""
    check_positive("k", k, integer=True)
    n_classes = logits.shape[1]
    first, second = np.triu_indices(min(k, n_classes), 1)
    all_codes, counts = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    for start in range(0, len(logits), CHUNK_ROWS):
        top = top_classes(logits[start : start + CHUNK_ROWS], k)
        codes, new_counts = np.unique(top[:, first] * n_classes + top[:, second], return_counts=True)
        all_codes, place = np.unique(np.concatenate([all_codes, codes]), return_inverse=True)
        counts = np.bincount(place, weights=np.concatenate([counts, new_counts]), minlength=len(all_codes)).astype(
            np.int64
        )
    pairs = np.stack([all_codes // n_classes, all_codes % n_classes], axis=1)
    return NeededPairs(pairs=pairs, images=counts, possible=n_classes * (n_classes - 1) // 2)


def top_classes(logits: Floats, k: int) -> npt.NDArray[np.int64]:
    """The `k` likeliest classes of each row of logits (m, c), all where there are fewer, in rising order of class.

    Of equal logits the first class.
    """
    n_classes = logits.shape[1]
    if k >= n_classes:
        return np.tile(np.arange(n_classes), (len(logits), 1))
    bar = np.partition(logits, n_classes - k, axis=1)[:, n_classes - k, None]
    above = logits > bar
    at_bar = logits == bar
    kept = above | (at_bar & (np.cumsum(at_bar, axis=1) <= k - above.sum(axis=1, keepdims=True)))
    return np.nonzero(kept)[1].reshape(len(logits), k)


def _distinct(texts: Floats) -> tuple[Floats, Integers]:
    """The different rows (t, d), in an order of their bytes alone, and the number among them of each of `texts`."""
    rows = np.ascontiguousarray(texts + np.float32(0.0))  # -0 is 0
    _, first, numbers = np.unique(
        rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel(), return_index=True, return_inverse=True
    )
    return rows[first], numbers


def _ranges(starts: Integers, stops: Integers) -> Integers:
    """The positions of all ranges from `starts` to before `stops`, one range after the other."""
    lengths = stops - starts
    skipped = np.cumsum(lengths) - lengths
    return np.asarray(np.arange(lengths.sum()) + np.repeat(starts - skipped, lengths))


def merged_top(logits: Floats, top: Integers, rescored: Floats, *, gap: float) -> Floats:
    """`logits` (m, c) with those of the `top` classes (m, k) `rescored`, and all others at least `gap` below them."""
    np.put_along_axis(logits, top, -np.inf, axis=1)
    excess = logits.max(axis=1) - (rescored.min(axis=1) - gap)
    logits -= np.maximum(excess, 0.0)[:, None]
    np.put_along_axis(logits, top, rescored, axis=1)
    return logits
