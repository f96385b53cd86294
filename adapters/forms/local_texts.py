"""Texts that tell a class from the classes it is taken for: training-free selection (DisCLIP).

Ma et al., Does VLM Classification Benefit from LLM Description Semantics?, AAAI 2025, arXiv:2412.11917.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evenly.adapters.contract import check_positive
from evenly.adapters.features import Floats, Integers

WEIGHTS = tuple(step / 4 for step in range(160))
"""The published weights of the class name, 0 to 39.75; there they are swept on test data, here on validation data."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalScores:
    """Cosines of n images in their label neighbourhoods: the k likeliest classes by name, in rising order of class.

    `classes` (n, k); `names` (n, k), cosine with the class's caption; `descriptions` (n, k), mean cosine with the texts
    selected for the class among these k. `fallbacks` counts the pairs of neighbourhood and class for which the evidence
    chose no text, `pairs` all of them.
    """

    classes: Integers
    names: Floats
    descriptions: Floats
    fallbacks: int
    pairs: int

    def mixed(self, weight: float) -> Floats:
        """The mean (n, k) of name and descriptions in which the name counts `weight` times."""
        return (weight * self.names + self.descriptions) / (weight + 1)

    def predict(self, weight: float) -> Integers:
        """Class (n,) with the largest mean at `weight`; the first of equal ones."""
        best = self.mixed(weight).argmax(axis=1)
        return np.asarray(self.classes[np.arange(len(best)), best], dtype=np.int64)


def reference_similarities(images: Floats, labels: Integers, texts: Floats, *, n_classes: int) -> Floats:
    """A (t, c): mean over the reference images of class c of their cosine with text t; NaN for a class without any.

    `images` (n, d) with `labels` (n,) must be train rows: the selection follows them. `texts` (t, d). Differs from the
    public code: a true mean per class, in double precision, where it reshapes equally many half-precision rows of each.
    """
    sums = np.zeros((n_classes, images.shape[1]))
    np.add.at(sums, labels, _unit(images))
    counts = np.bincount(labels, minlength=n_classes)[:, None]
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return np.asarray(_unit(texts) @ means.T)


def select(
    similarities: Floats, neighbourhood: Sequence[int], own_texts: Sequence[Sequence[int]], *, most: int = 5
) -> tuple[tuple[tuple[int, ...], bool], ...]:
    """For each class c of a neighbourhood its texts (positions, the best first), and whether they are the fallback.

    Kept are texts with A[d, c] - A[d, c'] >= 0 for every other class c' of the neighbourhood, ranked by the mean of the
    differences, equal ones by their position; of these the first `most`, each once: fewer are not filled up by
    repetition, as the public code does. A class c' without reference images bars nothing. Where nothing is left, and
    where c has no reference images or no rival that has any: the first `most` of the class's `own_texts`, maybe none.
    """
    check_positive("most", most, integer=True)
    measured = [c for c in neighbourhood if not np.isnan(similarities[:, c]).any()]
    chosen = []
    for c in neighbourhood:
        rivals = [rival for rival in measured if rival != c]
        kept: tuple[int, ...] = ()
        if rivals and c in measured:
            gaps = similarities[:, [c]] - similarities[:, rivals]
            means = np.where((gaps >= 0).all(axis=1), gaps.mean(axis=1), -np.inf)
            order = np.argsort(-means, kind="stable")[:most]
            kept = tuple(int(text) for text in order if np.isfinite(means[text]))
        chosen.append((kept or tuple(own_texts[c][:most]), not kept))
    return tuple(chosen)


def local_scores(
    images: Floats,
    captions: Floats,
    texts: Floats,
    *,
    similarities: Floats,
    own_texts: Sequence[Sequence[int]],
    neighbours: int = 3,
    most: int = 5,
) -> LocalScores:
    """Logits of `images` (n, d) for the classes that their names make likely, by texts selected for each neighbourhood.

    `captions` (c, d), one text per class such as "a photo of a {}"; `texts` (t, d), the pool; `similarities` (t, c) as
    `reference_similarities` gives them; the published values are `neighbours` 3 and `most` 5. Of equal captions the
    first class is in. A class for which nothing is selected has its caption in place of descriptions.
    """
    check_positive("neighbours", neighbours, integer=True)
    unit_texts, unit_images = _unit(texts), _unit(images)
    by_name = unit_images @ _unit(captions).T
    classes = np.sort(np.argsort(-by_name, axis=1, kind="stable")[:, :neighbours], axis=1)
    names = np.take_along_axis(by_name, classes, axis=1)
    described = np.empty(names.shape)
    sets, of_set = np.unique(classes, axis=0, return_inverse=True)
    fallbacks = 0
    for number, neighbourhood in enumerate(sets):
        rows = np.flatnonzero(of_set.ravel() == number)
        for place, (chosen, fell_back) in enumerate(select(similarities, neighbourhood.tolist(), own_texts, most=most)):
            fallbacks += fell_back
            if chosen:
                described[rows, place] = (unit_images[rows] @ unit_texts[list(chosen)].T).mean(axis=1)
            else:
                described[rows, place] = names[rows, place]
    return LocalScores(classes=classes, names=names, descriptions=described, fallbacks=fallbacks, pairs=sets.size)


def choose_weight(validation: LocalScores, labels: Integers, weights: Sequence[float] = WEIGHTS) -> float:
    """The weight of the class name with the most right validation rows, of equal ones the largest.

    The largest trusts the descriptions least. Without rows: the largest of all, so that a choice is never made on
    test data.
    """
    right = [int((validation.predict(weight) == labels).sum()) for weight in weights]
    return max(zip(right, weights, strict=True))[1]


def _unit(rows: Floats) -> Floats:
    wide = np.asarray(rows, dtype=np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: Floats = np.divide(wide, norms, out=np.zeros(wide.shape), where=norms > 0)
    return unit
