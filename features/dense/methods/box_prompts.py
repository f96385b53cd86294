"""Names of regions by a head that is prompted by a box: the mean of the cells it covers, through trained heads.

CLOC (Chen et al. 2024, arXiv:2410.02746) trains the encoder with a Prompter, a transformer that turns cells and a box
into a row, by contrast of regions and their phrases, and beside it by boxes told from phrases. No public code is known.
Here the box's share of each cell pools, and residual heads of both sides are trained by that contrast alone.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le

from evenly.features.dense.method import UNLABELLED, GivenRegions, LearnsArrays, RegionNeed, Vocabulary
from evenly.features.dense.naming import LabelPlaces, Naming, label_places, region_means, share_right, to_name
from evenly.features.dense.regions import Regions
from evenly.features.dense.rows import Dense, unit_length
from evenly.features.errors import RowsError
from evenly.features.refining.heads import ARRAYS, Heads
from evenly.features.refining.objective import Objective
from evenly.features.refining.objectives import OBJECTIVES
from evenly.features.refining.pairs import PairRows
from evenly.features.refining.training import TrainingRule, train_heads
from evenly.features.unit_rows import Single

_STRENGTHS = (0.25, 0.5, 0.75, 1.0)
_VAL = 5  # one group of so many


@dataclass(frozen=True, kw_only=True)
class RegionHeads:
    """Rank, epochs, batch_size and seed of the heads that `fit` trains."""

    rank: Annotated[int, Ge(1), Le(4096)] = 64
    epochs: Annotated[int, Ge(1), Le(1000)] = 20
    batch_size: Annotated[int, Ge(2), Le(65536)] = 256
    seed: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True, kw_only=True)
class BoxPrompts(LearnsArrays, RegionHeads, Naming):
    """Names by refined rows of regions and texts; without `fit` by plain means of cells."""

    @property
    def needs(self) -> frozenset[RegionNeed]:
        """Regions, and others to learn from until heads are trained."""
        return frozenset({"regions"} if self.learned else {"regions", "training"})

    def fit(self, dense: Dense, regions: Regions, vocabulary: Vocabulary) -> Self:
        """Train heads by contrast of regions and names; epoch and strength name most of the regions of other groups.

        A fifth of the groups of `region_pairs` chooses. The order of pictures and regions changes nothing. Itself where
        no heads are better than none. Raises RowsError for regions of fewer than two names, and where no group chooses.
        """
        labels = label_places(regions, vocabulary.names)
        pairs, chooses = region_pairs(dense, regions, labels, vocabulary)
        usable = (labels != UNLABELLED) & pairs.image.any(axis=1)
        train, val = usable & ~chooses, usable & chooses
        if len(np.unique(labels[train])) < 2 or not val.any():
            raise RowsError(
                "`regions` must have two labels among those to learn from, and others to choose by; got "
                f"{len(np.unique(labels[train]))} labels of {int(train.sum())} regions, and {int(val.sum())}. "
                "Give more labelled regions, or a larger `learn`."
            )
        return self.with_heads(
            pairs.rows(train),
            OBJECTIVES["contrastive"](),
            lambda method: method.share_named(pairs.image[val], labels[val], vocabulary),
        )

    def with_heads(self, pairs: PairRows, objective: Objective, share: Callable[[Self], float]) -> Self:
        """The method with the heads, of the epoch and strength, of the highest `share`; itself where none is higher."""
        rule = TrainingRule(rank=self.rank, epochs=self.epochs, batch_size=min(self.batch_size, len(pairs)))
        best, highest = self, share(self)
        for _, _, state in train_heads(pairs, objective, rule, seed=self.seed):
            for strength in _STRENGTHS:
                heads = {name: state[name] for name in ARRAYS}
                tried = self.with_arrays({**heads, "strength": np.array([strength])})
                right = share(tried)
                best, highest = (tried, right) if right > highest else (best, highest)
        return best

    def share_named(self, means: Single, labels: LabelPlaces, vocabulary: Vocabulary) -> float:
        """The share of regions, of the means of their cells, that get their label, each label counting alike."""
        rows, things = self.refined(means, vocabulary)
        return share_right((rows @ things.T).argmax(axis=1), labels)

    def score(self, dense: Dense, vocabulary: Vocabulary, named: GivenRegions) -> Regions:
        """The regions with their names."""
        regions = to_name(named)
        rows, things = self.refined(region_means(dense, regions, dense.cells), vocabulary)
        return self.named(regions, self.probabilities_of(rows, things), vocabulary.names, source="box_prompts")

    def refined(self, means: Single, vocabulary: Vocabulary) -> tuple[Single, Single]:
        """Unit rows (m, d) of regions, of the means of their cells, and (c, d) of things."""
        if not self.learned:
            return unit_length(means), vocabulary.prototypes
        strength = float(self.learned["strength"][0])
        heads = Heads(**{name: self.learned[name] for name in ARRAYS}, strength=strength)
        texts = unit_length(heads.text(vocabulary.rows))
        return unit_length(heads.image(means)), replace(vocabulary, rows=texts).prototypes


def region_pairs(
    dense: Dense, regions: Regions, labels: LabelPlaces, vocabulary: Vocabulary
) -> tuple[PairRows, npt.NDArray[np.bool_]]:
    """Regions (m) as pairs with the row of their label, of any where they have none; and whether each one chooses.

    A group is the regions of one phrase, of a picture where they have none.
    """
    groups = np.array([_group(dense, regions, row) for row in range(len(regions))], np.str_)
    names = np.array(vocabulary.names)[labels]
    pairs = PairRows(
        image=region_means(dense, regions, dense.cells),
        text=vocabulary.prototypes[labels],
        uids=np.array([_content(dense, regions, row) for row in range(len(regions))], np.str_),
        captions=names,
        groups=groups,
        labels=names,
    )
    return pairs, np.array([int(group[:8], 16) % _VAL == 0 for group in groups], np.bool_)


def _content(dense: Dense, regions: Regions, row: int) -> str:
    """A name of a region by its picture, its box and its mask."""
    return dense.digest(regions.picture[row], f"{regions.boxes[row].tolist()} {regions.masks[row]}".encode())


def _group(dense: Dense, regions: Regions, row: int) -> str:
    phrase = str(regions.phrases[row])
    if not phrase:
        return dense.digest(regions.picture[row])
    return hashlib.blake2b(phrase.encode(), digest_size=16).hexdigest()
