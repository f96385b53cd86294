"""DisCLIP's selection: the likeliest classes of an image, told apart by the descriptions that the pictures bear out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import numpy as np

from evenly.adapters.contract import CHUNK_ROWS, Adapter, Grid, check_positive
from evenly.adapters.errors import ParameterError
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.forms.class_texts import named_classes
from evenly.adapters.forms.local_texts import WEIGHTS, LocalScores, local_scores, reference_similarities
from evenly.adapters.methods.fudd import GAP, merged_top
from evenly.adapters.methods.zero_shot import cosine_logits

NO_TEXT = -1
"""Stands in `own_` where a class has fewer own texts."""


@dataclass(kw_only=True, eq=False)
class SelectedDescriptions(Adapter):
    """The `neighbours` likeliest classes by name, scored again by selected texts (Ma et al., AAAI 2025, 2412.11917).

    logit = `logit_scale` times the mean of the cosine with the prototype, which counts `name_weight` times, and the
    mean cosine with the `most` texts of `descriptor_texts` that the support pictures put nearer to the class than to
    the others of the neighbourhood (`local_texts.select`). The other classes keep their zero-shot order below these.
    `descriptor_texts` name no class; equal rows are one text, which may be of several classes. Where the pictures
    choose none, and for a class without pictures: the first of its own; has it none, its prototype stands in.

    Differs from the public code: `name_weight` is swept on validation instead of test rows, of equal weights the
    largest, which trusts the texts least, is taken, and it is the value where nothing is searched; the prototypes of
    `fit` stand in the place of "a photo of a {}". No texts: zero-shot.

    `pool_` (t, d) are the texts, `means_` (t, c) their mean cosine with the pictures of each class, 0 where `support_`
    is, `own_` (c, most) positions of each class's own texts, -1 where there are fewer.
    """

    grid: ClassVar[Grid] = Grid(parameters={"name_weight": WEIGHTS[::-1]})
    needs: ClassVar[tuple[str, ...]] = ("prototypes", "descriptor_texts", "descriptor_text_labels")
    learns_from: ClassVar[tuple[str, ...]] = ("support", "descriptor_texts")
    decided_late: ClassVar[tuple[str, ...]] = ("name_weight",)

    neighbours: int = 3
    most: int = 5
    name_weight: float = WEIGHTS[-1]

    pool_: Floats = field(init=False, repr=False)
    means_: Floats = field(init=False, repr=False)
    own_: Integers = field(init=False, repr=False)

    def sweep(self, features: Features, points: Sequence[Mapping[str, Any]]) -> Iterator[Floats]:
        """As of any adapter; the texts are selected once for all points."""
        self._check_fitted_on(features)
        scores = self._local_scores(features.image)
        for point in points:
            yield self._merged(features.image, scores, self._weight_of(point)).astype(np.float32)

    def correct_counts(
        self, features: Features, labels: Integers, points: Sequence[Mapping[str, Any]], *, chunk_rows: int = CHUNK_ROWS
    ) -> Integers:
        """As of any adapter, from the logits of the neighbourhoods alone: the other classes lie below them."""
        self._check_fitted_on(features)
        counts = np.zeros(len(points), dtype=np.int64)
        for start in range(0, len(features), chunk_rows):
            scores = self._local_scores(features.image[start : start + chunk_rows])
            right = scores.classes == labels[start : start + chunk_rows, None]
            for place, point in enumerate(points):
                best = self._rescored(scores, self._weight_of(point)).astype(np.float32).argmax(axis=1)
                counts[place] += np.count_nonzero(right[np.arange(len(best)), best])
        return counts

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("neighbours", self.neighbours, integer=True)
        check_positive("most", self.most, integer=True)
        check_positive("name_weight", self.name_weight, or_zero=True)

    def _learn(self, features: Features, labels: Integers) -> None:
        texts = cast("Floats", features.descriptor_texts)  # `needs` names them
        of_class = cast("Integers", features.descriptor_text_labels)
        _, first, place = np.unique(texts, axis=0, return_index=True, return_inverse=True)
        order = np.sort(first)
        self.pool_ = texts[order]
        positions = np.searchsorted(order, first)[place.ravel()]
        n_classes = len(self.prototypes_)
        self.own_ = np.full((n_classes, self.most), NO_TEXT)
        for c in range(n_classes):
            class_texts = list(dict.fromkeys(positions[of_class == c].tolist()))[: self.most]
            self.own_[c, : len(class_texts)] = class_texts
        self.means_ = np.nan_to_num(
            reference_similarities(features.image, labels, self.pool_, n_classes=n_classes), nan=0.0
        )
        unseen = np.flatnonzero(self.support_ == 0)
        if not len(texts):
            self.fallback_ = "zero-shot: no descriptor texts"
        elif unseen.size:
            self.fallback_ = f"no texts selected for {unseen.size} of {n_classes} classes: {named_classes(unseen)}"

    def _logits(self, features: Features) -> Floats:
        return self._merged(features.image, self._local_scores(features.image), self.name_weight)

    def _local_scores(self, image: Floats) -> LocalScores:
        return local_scores(
            image,
            self.prototypes_,
            self.pool_,
            similarities=np.where(self.support_ > 0, self.means_, np.nan),
            own_texts=[[text for text in class_texts if text != NO_TEXT] for class_texts in self.own_.tolist()],
            neighbours=self.neighbours,
            most=self.most,
        )

    def _merged(self, image: Floats, scores: LocalScores, weight: float) -> Floats:
        logits = cosine_logits(image, self.prototypes_, self.logit_scale)
        if not len(self.pool_):
            return logits
        return merged_top(logits, scores.classes, self._rescored(scores, weight), gap=GAP * self.logit_scale)

    def _rescored(self, scores: LocalScores, weight: float) -> Floats:
        return self.logit_scale * scores.mixed(weight)

    def _weight_of(self, point: Mapping[str, Any]) -> float:
        if unknown := sorted(point.keys() - {"name_weight"}):
            raise ParameterError(f"`points` must hold `name_weight` alone; got `{unknown[0]}`. Fit again with it.")
        weight = float(point.get("name_weight", self.name_weight))
        check_positive("name_weight", weight, or_zero=True)
        return weight
