"""Names and attributes of regions by the mean of their cells: of things, and of texts such as "a red thing".

OvarNet (Chen et al. 2023, arXiv:2301.09506; KyanChen/OvarNet 0a2ccd8) prompts both texts and trains its classifier on
data sets of classes and on those of attributes. Here residual heads of both sides are trained, by the contrast of
`box_prompts` and by binary cross-entropy of the attributes that are known. Its head has beta .995 and gamma 2, which
its code reads no more: it weighs by n^-.25, and takes what is unknown for a weak negative. On val of the proving ground
.9 and 0 gain more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Lt

from evenly.bounds import FINITE
from evenly.features.dense.method import UNLABELLED, GivenRegions, RegionColumn, RegionNeed, Vocabulary
from evenly.features.dense.methods.box_prompts import BoxPrompts, region_pairs
from evenly.features.dense.naming import Probabilities, label_places, region_means, to_name
from evenly.features.dense.regions import DIGITS, Regions
from evenly.features.dense.rows import Dense
from evenly.features.errors import RowsError
from evenly.features.refining.objective import Batch, Objective, Sides, info_nce
from evenly.features.unit_rows import Single

if TYPE_CHECKING:
    from torch import Tensor

_COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey")
_TEMPERATURE = 0.05
Truths = npt.NDArray[np.float32]
"""Whether regions have attributes (m, a): 1 or 0, NaN where it is unknown."""


@dataclass(frozen=True, kw_only=True)
class RegionAttributes(BoxPrompts):
    """Names and attributes of regions; `fit` trains heads that regions with either teach.

    attributes: words by kind, of which those of a kind exclude one another, or a list of words, which do not. template:
    of their texts; of what has none the same without {}. stated: whether regions that state a name or attributes keep
    them, or are named. beta, gamma: of `KnownAttributes`.
    """

    columns: ClassVar[tuple[RegionColumn, ...]] = ("attributes",)
    attributes: Mapping[str, tuple[str, ...]] | tuple[str, ...] = field(default_factory=lambda: {"colour": _COLOURS})
    template: str = "a {} thing"
    stated: Literal["named", "kept"] = "named"
    beta: Annotated[float, Ge(0), Lt(1)] = 0.9
    gamma: Annotated[float, Ge(0), FINITE] = 0.0

    def __post_init__(self) -> None:
        """Raise RowsError for words that are not there once each, and for a template without {}."""
        if "{}" not in self.template or not all(self.words) or not 0 < len(self.words) == len({*self.words}):
            raise RowsError(
                f"`attributes` must be different words, and their template hold {{}}; got {list(self.words)} in "
                f"`{self.template}`. Correct them."
            )

    @property
    def needs(self) -> frozenset[RegionNeed]:
        """Regions."""
        return frozenset({"regions"})

    @property
    def kinds(self) -> tuple[tuple[str, ...], ...]:
        """Words that exclude one another."""
        if isinstance(self.attributes, Mapping):
            return tuple(self.attributes.values())
        return tuple((word,) for word in self.attributes)

    @property
    def words(self) -> tuple[str, ...]:
        """All words (a)."""
        return tuple(word for kind in self.kinds for word in kind)

    def texts(self, vocabulary: Vocabulary) -> Vocabulary:
        """The texts of the words (a), and that of a thing without any."""
        listed = [self.template.replace("{}", word) for word in self.words]
        listed.append(" ".join(self.template.replace("{}", " ").split()))
        return Vocabulary(texts=listed, labels=listed, rows=vocabulary.encode(listed))

    def truths(self, regions: Regions) -> Truths:
        """What is known of the words (m, a): what is stated, and 0 of others of a kind of which one is there."""
        rows = []
        for stated in regions.attributes:
            for kind in self.kinds:
                absent = 0.0 if any(stated.get(word) for word in kind) else np.nan
                rows += [float(stated[word] > 0) if word in stated else absent for word in kind]
        return np.array(rows, np.float32).reshape(len(regions), -1)

    def fit(self, dense: Dense, regions: Regions, vocabulary: Vocabulary) -> Self:
        """Train heads; epoch and strength are best at names and attributes of regions of other groups, which choose.

        Best is the sum of the share of names that are right, each name counting alike, and the mean average precision
        of attributes. Raises RowsError where nothing is known of attributes that differs, or by which to choose.
        """
        regions = replace(regions, phrases=np.where(_is_of_attributes(regions), "", regions.phrases))
        labels, truths, texts = label_places(regions, vocabulary.names), self.truths(regions), self.texts(vocabulary)
        pairs, chooses = region_pairs(dense, regions, labels, vocabulary)
        usable = ((labels != UNLABELLED) | ~np.isnan(truths).all(axis=1)) & pairs.image.any(axis=1)
        train, val = usable & ~chooses, usable & chooses
        differ = [{0.0, 1.0} <= {*column} for part in (train, val) for column in truths[part].T]
        if not any(differ[: len(self.words)]) or not any(differ[len(self.words) :]):
            raise RowsError(
                "`regions` must have an attribute that some of those to learn from have and others lack, and so must "
                f"those to choose by; got none such of {list(self.words)}. State more attributes, or what lacks one as "
                "`false`, or give a larger `learn`."
            )

        def share(method: Self) -> float:
            shares = method.probabilities(method.logits(pairs.image[val], texts))
            return mean_precision(shares, truths[val]) + method.share_named(pairs.image[val], labels[val], vocabulary)

        objective = KnownAttributes(self, truths[train], labels[train] != UNLABELLED, texts.rows)
        return self.with_heads(pairs.rows(train), objective, share)

    def score(self, dense: Dense, vocabulary: Vocabulary, named: GivenRegions) -> Regions:
        """The regions with their names, and the probability of each attribute."""
        regions = to_name(named)
        means = region_means(dense, regions, dense.cells)
        rows, things = self.refined(means, vocabulary)
        shares = self.probabilities(self.logits(means, self.texts(vocabulary)))
        scored = self.named(regions, self.probabilities_of(rows, things), vocabulary.names, source="attributes")
        if self.stated == "kept":
            truths, is_stated = self.truths(regions), regions.labels != ""
            shares = np.where(np.isnan(truths), shares, truths)
            columns = {
                name: np.where(is_stated, getattr(regions, name), getattr(scored, name))
                for name in ("labels", "scores", "reasons")
            }
            scored = replace(scored, **columns)
        attributes = np.empty(len(scored), object)
        attributes[:] = [
            {} if reason else {word: round(float(share), DIGITS) for word, share in zip(self.words, row, strict=True)}
            for reason, row in zip(scored.reasons, shares, strict=True)
        ]
        return replace(scored, attributes=attributes)

    def logits(self, means: Single, texts: Vocabulary) -> Probabilities:
        """The scale times how much nearer (m, a) regions are to the text of each word than to that of none."""
        rows, things = self.refined(means, texts)
        cosines = rows.astype(np.float64) @ things.T
        return np.asarray(self.scale * (cosines[:, :-1] - cosines[:, -1:]))

    def probabilities(self, logits: Probabilities) -> Probabilities:
        """The softmax (m, a) over the words of each kind and none of them, whose logit is 0."""
        from scipy.special import softmax

        ends = np.cumsum([len(kind) for kind in self.kinds])[:-1]
        shares = [softmax(np.pad(part, ((0, 0), (0, 1))), axis=1)[:, :-1] for part in np.split(logits, ends, axis=1)]
        return np.concatenate(shares, axis=1)


class KnownAttributes(Objective):
    """The contrast of regions whose thing is known, and -w (1 - p)^gamma log p, summed over attributes that are known.

    p: of what is true, by the sigmoid of the method's logits. w: (1 - beta) / (1 - beta^n) for an attribute that n
    regions have (Cui et al. 2019, arXiv:1901.05555), 1 on average.
    """

    uses_negatives = True

    def __init__(
        self, method: RegionAttributes, truths: Truths, is_labelled: npt.NDArray[np.bool_], texts: Single
    ) -> None:
        self.method, self.truths, self.is_labelled, self.texts = method, truths, is_labelled, texts

    def loss(self, batch: Batch, refined: Sides, original: Sides) -> "Tensor":
        """The sum of both; of regions without either there is none."""
        import torch
        from torch.nn.functional import logsigmoid

        del original
        rows = torch.from_numpy(self.texts)
        texts = batch.refined(Sides(image=rows, text=rows)).unit().text
        cosines = refined.unit().image @ texts.T
        logits = self.method.scale * (cosines[:, :-1] - cosines[:, -1:])
        truths = torch.from_numpy(self.truths[batch.places])
        log_p = logsigmoid(torch.where(truths > 0, logits, -logits))
        weights = torch.from_numpy(self.weights) * (1 - log_p.exp()) ** self.method.gamma
        is_known = ~truths.isnan()
        loss = (-weights * log_p * is_known).sum() / is_known.any(1).sum().clamp(min=1)
        labelled = torch.from_numpy(np.flatnonzero(self.is_labelled[batch.places]))
        if len(labelled) < 2:
            return loss
        sides = Sides(image=refined.image[labelled], text=refined.text[labelled])
        return loss + info_nce(sides, batch.negatives[labelled][:, labelled], temperature=_TEMPERATURE)

    @property
    def weights(self) -> Truths:
        """The weight (a,) of each attribute."""
        counts = np.maximum(np.nansum(self.truths, axis=0), 1)
        weights = (1 - self.method.beta) / (1 - self.method.beta**counts)
        return np.asarray(weights / weights.mean(), np.float32)


def mean_precision(scores: Probabilities, truths: Truths) -> float:
    """The mean average precision of attributes (m, a) over the regions of which each is known."""
    from sklearn.metrics import average_precision_score

    columns = [(scores[rows, place], truths[rows, place]) for place, rows in enumerate((~np.isnan(truths)).T)]
    return float(np.mean([average_precision_score(right, of_one) for of_one, right in columns if right.any()] or [0.0]))


def _is_of_attributes(regions: Regions) -> npt.NDArray[np.bool_]:
    """Whether a phrase (m,) says no more than attributes and label, which do not make regions one group."""
    texts = [
        f"{', '.join(word for word, truth in stated.items() if truth)} {label}".strip()
        for stated, label in zip(regions.attributes, regions.labels, strict=True)
    ]
    return np.array([phrase == text for phrase, text in zip(regions.phrases, texts, strict=True)], np.bool_)
