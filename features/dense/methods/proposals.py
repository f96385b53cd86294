"""Proposals for things and stuff alike, named by two classifiers: texts, and rows trained on the names that were seen.

OpenSD (Li et al. 2023, arXiv:2312.06703) decodes boxes and masks by one transformer. Its code is not released. Here
proposals are parts of a map of how much of each cell regions cover, which a linear head tells from frozen cells.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le, MinLen

from evenly.bounds import FINITE
from evenly.features.dense.maps import SMALL, connected_parts
from evenly.features.dense.method import (
    UNLABELLED,
    Arrays,
    GivenRegions,
    LearnsArrays,
    RegionNeed,
    Vocabulary,
    covered_shares,
)
from evenly.features.dense.methods.background import fitted_row, shared_areas
from evenly.features.dense.methods.box_prompts import BoxPrompts, RegionHeads, region_pairs
from evenly.features.dense.naming import Naming, Probabilities, label_places, region_means, share_right
from evenly.features.dense.regions import Regions, encoded_mask
from evenly.features.dense.rows import Dense
from evenly.features.errors import RowsError
from evenly.features.unit_rows import Single

DUPLICATE = "duplicate"
WEIGHTS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0)
_HEADS = "heads."


@dataclass(frozen=True, kw_only=True)
class Proposals(LearnsArrays, RegionHeads, Naming):
    """Boxes and masks where a picture's cells are like those that regions cover, each with its likeliest name.

    levels: parts of the map over each are proposals. overlap: of two with a larger IoU the one that is covered more
    stays, the other goes as `duplicate`. min_area: the share of its picture that one must cover. weight: of the trained
    rows, for names that were seen; None: as `fit` chooses. unseen: the exponent of other names.
    """

    levels: Annotated[tuple[Annotated[float, Ge(0), Le(1)], ...], MinLen(1)] = (0.2, 0.35, 0.5, 0.65, 0.8, 0.9)
    overlap: Annotated[float, Ge(0), Le(1)] = 0.5
    min_area: Annotated[float, Ge(0), Le(1)] = 0.01
    weight: Annotated[float, Ge(0), Le(1)] | None = None
    unseen: Annotated[float, Ge(0), FINITE] = 1.0
    penalty: Annotated[float, Ge(0), FINITE] = 1e-5

    @property
    def needs(self) -> frozenset[RegionNeed]:
        """Regions to learn from, until taught."""
        return frozenset() if self.learned else frozenset({"training"})

    def score(self, dense: Dense, vocabulary: Vocabulary, _named: GivenRegions) -> Regions:
        """The proposals with their names; the score is the name's probability times the mean share that is covered."""
        proposed = self.proposed(dense)
        names = self.fused(region_means(dense, proposed, dense.cells), vocabulary)
        return self.named(proposed, names * proposed.scores[:, None], vocabulary.names, source="proposals")

    def proposed(self, dense: Dense) -> Regions:
        """The proposals without names; the score is the mean share of their pixels that is covered."""
        from scipy.special import expit

        covered = expit(dense.cells @ self._learned["row"] + self._learned["bias"])
        rows = list[dict[str, Any]]()
        for place in range(len(dense)):
            pixels = dense.on_pixels(place, covered[place][None])[0]
            for level in self.levels:
                parts = connected_parts((pixels <= level).astype(np.int64), 1, pixels.size / covered[place].size)
                for _, mask, box in parts:
                    reason = SMALL if mask.mean() < self.min_area else ""
                    entry = {"picture": place, "box": box, "mask": encoded_mask(mask), "reason": reason}
                    rows.append(entry | {"score": pixels[mask].mean()})
        return without_duplicates(Regions.from_rows(rows), self.overlap)

    def fused(self, means: Single, vocabulary: Vocabulary) -> Probabilities:
        """The probability (m, c) of each name for means of cells (m, d), by both classifiers."""
        learned, names = self._learned, vocabulary.names
        plain = BoxPrompts().refined(means, vocabulary)
        by_text, trained_on = self.probabilities_of(*plain), _seen(learned)
        is_trained = np.array([name in trained_on for name in names], np.bool_)
        joined = by_text**self.unseen
        if is_trained.any():
            heads = {name.removeprefix(_HEADS): rows for name, rows in learned.items() if name.startswith(_HEADS)}
            rows, things = BoxPrompts().with_arrays(heads).refined(means, vocabulary)
            trained = self.probabilities_of(rows, things[is_trained])
            weight = float(learned["weight"][0]) if self.weight is None else self.weight
            joined[:, is_trained] = by_text[:, is_trained] ** (1 - weight) * trained**weight
        return joined * means.any(axis=1, keepdims=True)

    def fit(self, dense: Dense, regions: Regions, vocabulary: Vocabulary) -> Self:
        """Learn what regions cover, heads of names, and the weight that names most regions of groups held out of these.

        Raises RowsError as `BoxPrompts` does.
        """
        covered, labels = covered_shares(dense, regions), label_places(regions, vocabulary.names)
        judged = ~np.isnan(covered)
        row, bias = fitted_row(dense.cells[judged], covered[judged], np.zeros(judged.sum()), self.penalty)
        rule = BoxPrompts(
            scale=self.scale, rank=self.rank, epochs=self.epochs, batch_size=self.batch_size, seed=self.seed
        )
        heads = rule.fit(dense, regions, vocabulary).arrays()
        pairs, is_val = region_pairs(dense, regions, labels, vocabulary)
        usable = (labels != UNLABELLED) & pairs.image.any(axis=1)
        listed = "\n".join(sorted({vocabulary.names[place] for place in labels[usable & ~is_val]}))
        arrays: dict[str, npt.NDArray[Any]] = {
            "row": row,
            "bias": bias,
            "seen": np.frombuffer(listed.encode(), np.uint8),
        }
        arrays |= {f"{_HEADS}{name}": rows for name, rows in heads.items()}
        means, chosen_by = pairs.image[usable & is_val], labels[usable & is_val]
        shares = [
            share_right(
                replace(self, weight=weight).with_arrays(arrays).fused(means, vocabulary).argmax(axis=1), chosen_by
            )
            for weight in WEIGHTS
        ]
        return self.with_arrays(arrays | {"weight": np.array([WEIGHTS[int(np.argmax(shares))]])})

    @property
    def _learned(self) -> Arrays:
        if not self.learned:
            raise RowsError("`learned` must be what `fit` learned; got nothing. Fit the method to regions first.")
        return self.learned


def without_duplicates(regions: Regions, overlap: float) -> Regions:
    """The regions, `duplicate` those whose box has an IoU over `overlap` with one of a higher score that stays."""
    reasons = regions.reasons.copy()
    for picture in np.unique(regions.picture):
        places = np.flatnonzero((regions.picture == picture) & (regions.reasons == ""))
        left = places[np.argsort(-regions.scores[places], kind="stable")]
        while len(left):
            best, left = left[0], left[1:]
            shared = shared_areas(regions.boxes[best], regions.boxes[left])
            areas = (regions.boxes[:, 2:] - regions.boxes[:, :2]).prod(axis=1)
            is_double = shared > overlap * (areas[best] + areas[left] - shared)
            reasons[left[is_double]] = DUPLICATE
            left = left[~is_double]
    return replace(regions, reasons=reasons)


def _seen(learned: Arrays) -> frozenset[str]:
    """The names that rows were trained on."""
    return frozenset(learned["seen"].tobytes().decode().split("\n"))
