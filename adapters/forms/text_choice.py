"""The texts of each class that help: ordered by what they gain on train pictures, as many as validation bears out."""

from dataclasses import dataclass

import numpy as np

from evenly.adapters.evaluation.measures.bootstrap import Interval, paired_bootstrap
from evenly.adapters.features import Booleans, Floats, GroupedFeatures, Integers, LabelledFeatures
from evenly.adapters.forms.class_texts import text_sums
from evenly.adapters.methods.zero_shot import ZeroShot

COUNTS = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32)
"""Texts of each class that validation chooses among."""
LOGIT_SCALE = ZeroShot().logit_scale

LEAST_DESCRIBED = 0.5
"""Share of the classes that must have a text; with fewer a list is one of names, and has no descriptions."""
TOO_FEW, NO_GAIN, GAINS_LESS = "too_few_classes_described", "no_gain_on_validation", "gains_less_than_others"


@dataclass(frozen=True, kw_only=True, eq=False)
class TextChoice:
    """The choice among t texts: `reasons` (t,), "" for those that stay, and `gains` (t,) on train pictures.

    `per_class` is how many of each class stay at most, 0 for none. `names` and `texts` are the accuracies on validation
    of the class names and of `per_class` texts, or of the best number where none stay; `difference` is their interval.
    """

    reasons: tuple[str, ...]
    gains: Floats
    per_class: int
    names: float
    texts: float
    difference: Interval


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnedTexts:
    """Texts (t, d) and the classes that they are of, `owners` (t,), beside the class `names` (c, d); unit rows."""

    names: Floats
    texts: Floats
    owners: Integers

    def first(self, ranks: Integers, count: int) -> Floats:
        """A vector of each class (c, d) whose cosine is the mean of those of its first texts; of none its name's."""
        stays = ranks < count
        sums, counts = text_sums(self.texts[stays], self.owners[stays], n_owners=len(self.names))
        return np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], self.names)


def choose_texts(
    owned: OwnedTexts, *, train: LabelledFeatures, validation: GroupedFeatures, seed: int = 0
) -> TextChoice:
    """Keep of each class the texts that gain most on train rows, as many as are right most often on validation rows.

    Of equally good numbers the smallest. All go where fewer than LEAST_DESCRIBED of the classes have a text, and where
    the interval of the difference to the class names, over groups of validation rows, is not above zero.
    """
    gains = text_gains(owned, train)
    ranks = _ranks(gains, owned.owners)
    image, labels = validation.features.image, validation.labels
    by_names = _is_right(image, labels, owned.names)
    by_texts = {count: _is_right(image, labels, owned.first(ranks, count)) for count in COUNTS}
    best = max(COUNTS, key=lambda count: (by_texts[count].mean(), -count))
    difference = paired_bootstrap(by_names, by_texts[best], groups=validation.groups, seed=seed)
    described = len(np.unique(owned.owners)) / len(owned.names)
    refused = TOO_FEW if described < LEAST_DESCRIBED else "" if difference.low > 0 else NO_GAIN
    return TextChoice(
        reasons=tuple(refused or ("" if rank < best else GAINS_LESS) for rank in ranks.tolist()),
        gains=gains,
        per_class=0 if refused else best,
        names=float(by_names.mean()),
        texts=float(by_texts[best].mean()),
        difference=difference,
    )


def text_gains(owned: OwnedTexts, train: LabelledFeatures, *, scale: float | None = None) -> Floats:
    """The mean log-likelihood (t,) that train labels gain where a class goes by its name and the text, not its name.

    Logits are cosines times `scale`: by default the one that makes train labels likeliest by names, 1 where no scale
    does.
    """
    from evenly.adapters.evaluation.measures.calibration import fit_temperature  # which loads pandas

    image, labels = train.features.image.astype(np.float64), train.labels
    cosines = image @ owned.names.T
    if scale is None:
        temperature = fit_temperature(LOGIT_SCALE * cosines, labels).value
        scale = 1.0 if np.isnan(temperature) else LOGIT_SCALE / temperature
    odds = np.exp(scale * (cosines - cosines.max(axis=1, keepdims=True)))
    totals = odds.sum(axis=1)
    gains = np.empty(len(owned.texts))
    for place, (text, owner) in enumerate(zip(owned.texts, owned.owners.tolist(), strict=True)):
        change = scale * (image @ text - cosines[:, owner]) / 2
        growth = np.log1p(odds[:, owner] * np.expm1(change) / totals)
        gains[place] = np.mean(np.where(labels == owner, change, 0.0) - growth)
    return gains


def _ranks(gains: Floats, owners: Integers) -> Integers:
    """The place (t,) of each text among those of its class, the one that gains most first, then in their order."""
    ranks = np.empty(len(gains), dtype=np.int64)
    for owner in np.unique(owners):
        places = np.flatnonzero(owners == owner)
        ranks[places[np.argsort(-gains[places], kind="stable")]] = np.arange(len(places))
    return ranks


def _is_right(image: Floats, labels: Integers, classes: Floats) -> Booleans:
    return np.asarray((image @ classes.T).argmax(axis=1) == labels)
