"""Classification by description: a class is as likely as its descriptors are, and each of them can be shown."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import numpy as np

from evenly.adapters.contract import Adapter, affine
from evenly.adapters.features import Features, Floats, Integers, checked_labels
from evenly.adapters.forms.class_statistics import check_choice
from evenly.adapters.forms.class_texts import CANCELLED, directions, named_classes, text_sums
from evenly.adapters.methods.zero_shot import scaled

if TYPE_CHECKING:
    import pandas as pd

Aggregate = Literal["mean_similarity", "mean_embedding", "max"]
ROWS_AT_A_TIME = 1024
"""Rows compared with every text at a time: 47 MB of float64 with the 5,800 descriptors published for ImageNet."""
PROTOTYPE = -1
"""Stands for the text of a class that has no other: its prototype."""


@dataclass(kw_only=True, eq=False)
class DescribedClasses(Adapter):
    """logit_c = `logit_scale` times the mean over the texts of class c of their cosine (arXiv:2210.07183).

    Visual Classification via Description, Menon and Vondrick, ICLR 2023: `aggregate` "mean_similarity" takes the mean
    of the similarities, as published, "mean_embedding" the cosine with the normalised mean of the texts (the usual
    ensemble), "max" the best text. Differs from the published code: classes are those of the class list in its order
    (there, the order of keys in a file), and the scale is fixed. A class without `class_texts`, or whose texts cancel
    out where their direction counts, has its prototype for a text; `fallback_` counts these classes. No texts at all:
    zero-shot. Images and labels of the support are not used.

    `texts_` (t, d) are the texts by class, `text_classes_` (t,) their classes, `text_rows_` (t,) their rows in
    `class_texts`, -1 for a prototype. `weight_` (c, d) gives the logits; (0, d) under "max".
    """

    needs: ClassVar[tuple[str, ...]] = ("prototypes", "class_texts", "class_text_labels")
    learns_from: ClassVar[tuple[str, ...]] = ("class_texts",)

    aggregate: Aggregate = "mean_similarity"

    texts_: Floats = field(init=False, repr=False)
    text_classes_: Integers = field(init=False, repr=False)
    text_rows_: Integers = field(init=False, repr=False)
    weight_: Floats = field(init=False, repr=False)

    def affine_form(self) -> tuple[Floats, Floats] | None:
        """The scaled text of each class, and no bias; None under "max"."""
        return None if self.aggregate == "max" else (self.weight_, np.zeros(len(self.prototypes_)))

    def explain(
        self, features: Features, *, classes: Integers | None = None, against: Integers | None = None
    ) -> "pd.DataFrame":
        """The cosine of each image with each text of its class, and of another class to hold it against.

        One line per image and text: `row`, `side` ("class" or "against"), `class`, `text` (its row in `class_texts`, -1
        for the prototype), `similarity`; by row, the class before the other one. `classes` (n,) are the predicted ones
        where not given, and `against` (n,) the most likely others; with a single class there is no other.
        """
        import pandas as pd

        self._check_fitted_on(features)
        n, n_classes = len(features), len(self.prototypes_)
        chosen = self.predict(features) if classes is None else checked_labels(classes, n=n, n_classes=n_classes)
        sides = [chosen]
        if against is not None:
            sides.append(checked_labels(against, n=n, n_classes=n_classes))
        elif n_classes > 1:
            sides.append(self._most_likely_others(features, chosen))
        judged = np.stack(sides, axis=1)
        counts = np.bincount(self.text_classes_, minlength=n_classes)
        lengths = counts[judged.ravel()]
        pair = np.repeat(np.arange(judged.size), lengths)
        offsets = np.arange(len(pair)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        texts = (np.cumsum(counts) - counts)[judged.ravel()[pair]] + offsets
        rows = pair // len(sides)
        return pd.DataFrame(
            {
                "row": rows,
                "side": np.array(["class", "against"])[pair % len(sides)],
                "class": judged.ravel()[pair],
                "text": self.text_rows_[texts],
                "similarity": self._similarities(features.image, rows, texts),
            }
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_choice("aggregate", self.aggregate, Aggregate)

    def _learn(self, features: Features, labels: Integers) -> None:  # noqa: ARG002 - texts are all
        texts = cast("Floats", features.class_texts)  # `needs` names them
        of_class = cast("Integers", features.class_text_labels)
        n_classes = len(self.prototypes_)
        sums, counts = text_sums(texts, of_class, n_owners=n_classes)
        lengths = np.linalg.norm(sums, axis=1) if self.aggregate == "mean_embedding" else counts
        bare = np.flatnonzero(lengths <= CANCELLED * counts)
        kept = np.flatnonzero(~np.isin(of_class, bare))
        rows = np.concatenate([kept, np.full(len(bare), PROTOTYPE)])
        classes = np.concatenate([of_class[kept], bare])
        order = np.lexsort((rows, classes))
        self.texts_ = np.concatenate([texts[kept], self.prototypes_[bare]])[order]
        self.text_classes_, self.text_rows_ = classes[order], rows[order]
        self.weight_ = self._weight()
        if not len(texts):
            self.fallback_ = "zero-shot: no class texts"
        elif bare.size:
            classes_without = f"{bare.size} of {n_classes} classes: {named_classes(bare)}"
            self.fallback_ = f"no texts, and the prototype in their place, for {classes_without}"

    def _weight(self) -> Floats:
        """The weights of the logits, (c, d) float64, where one vector per class will do; else (0, d)."""
        if self.aggregate == "max":
            return np.empty((0, self.texts_.shape[1]))
        sums, counts = text_sums(self.texts_, self.text_classes_, n_owners=len(self.prototypes_))
        means = sums / counts[:, None]
        if self.aggregate == "mean_embedding":
            described = np.isin(np.arange(len(counts)), self.text_classes_[self.text_rows_ != PROTOTYPE])
            means = np.where(described[:, None], directions(sums, counts, otherwise=means), means)
        return scaled(means, self.logit_scale)

    def _logits(self, features: Features) -> Floats:
        if self.aggregate != "max":
            return affine(features.image, self.weight_)
        starts = np.searchsorted(self.text_classes_, np.arange(len(self.prototypes_)))
        logits = np.empty((len(features), len(self.prototypes_)))
        for start in range(0, len(features), ROWS_AT_A_TIME):
            rows = slice(start, start + ROWS_AT_A_TIME)
            cosines = affine(features.image[rows], scaled(self.texts_, self.logit_scale))
            logits[rows] = np.maximum.reduceat(cosines, starts, axis=1)
        return logits

    def _most_likely_others(self, features: Features, chosen: Integers) -> Integers:
        logits = self.decision_function(features)
        logits[np.arange(len(chosen)), chosen] = -np.inf
        return np.asarray(logits.argmax(axis=1), dtype=np.int64)

    def _similarities(self, image: Floats, rows: Integers, texts: Integers) -> Floats:
        """Cosine of each of the image `rows` (p,), in rising order, with the text of `texts` (p,) beside it."""
        similarities = np.empty(len(rows))
        for start in range(0, len(image), ROWS_AT_A_TIME):
            part = slice(*np.searchsorted(rows, [start, start + ROWS_AT_A_TIME]))
            cosines = affine(image[start : start + ROWS_AT_A_TIME], self.texts_)
            similarities[part] = cosines[rows[part] - start, texts[part]]
        return similarities
