"""Names of regions by their crops, whose pixels outside the mask are filled, together with the score map.

OVSeg (Liang et al. 2023, arXiv:2210.04150; facebookresearch/ov-seg 36f49d4) trains its encoder on such crops, and the
map is a segmenter's class head. Here both are of the frozen encoder, and their weight is chosen on known regions.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

import numpy as np
from annotated_types import Ge, Le

from evenly.features.dense.crops import CropRule
from evenly.features.dense.method import GivenRegions, LearnsFields, RegionNeed, Vocabulary
from evenly.features.dense.methods.score_maps import ScoreMaps
from evenly.features.dense.naming import Naming, Probabilities, label_places, region_means, share_right, to_name
from evenly.features.dense.regions import Regions
from evenly.features.dense.rows import Dense
from evenly.features.errors import RowsError
from evenly.features.unit_rows import Single

WEIGHTS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.7, 0.85, 1.0)


@dataclass(frozen=True, kw_only=True)
class MaskedCrops(LearnsFields, Naming, CropRule):
    """Names by p_crop^weight * p_map^(1 - weight), each a softmax over things; by one where there is no other.

    p_map: the mean of the score map over the region. weight: chosen among WEIGHTS by `fit`, which needs crops as well.
    """

    weight: Annotated[float, Ge(0), Le(1)] = 0.7
    fitted: ClassVar[tuple[str, ...]] = ("weight",)
    needs: ClassVar[frozenset[RegionNeed]] = frozenset({"regions", "crops"})

    def fit(self, dense: Dense, regions: Regions, vocabulary: Vocabulary, *, crops: Single | None = None) -> Self:
        """Take the weight by which most known regions have their label, each label counting alike."""
        labels = label_places(regions, vocabulary.names)
        parts = self.parts(dense, vocabulary, regions, crops)
        methods = [replace(self, weight=weight) for weight in WEIGHTS]
        return max(methods, key=lambda method: share_right(method.ensemble(*parts).argmax(axis=1), labels))

    def score(self, dense: Dense, vocabulary: Vocabulary, named: GivenRegions) -> Regions:
        """The regions with their names."""
        regions = to_name(named)
        ensemble = self.ensemble(*self.parts(dense, vocabulary, regions, named.crops))
        return self.named(regions, ensemble, vocabulary.names, source="masked_crops")

    def ensemble(self, by_crop: Probabilities, by_map: Probabilities) -> Probabilities:
        """The product (m, c) of both with their weights; of rows of which one is zeros, the other."""
        product = by_crop**self.weight * by_map ** (1 - self.weight)
        is_whole = by_crop.any(axis=1, keepdims=True) & by_map.any(axis=1, keepdims=True)
        return np.where(is_whole, product, by_crop + by_map)

    def parts(
        self, dense: Dense, vocabulary: Vocabulary, regions: Regions, crops: Single | None
    ) -> tuple[Probabilities, Probabilities]:
        """The probability (m, c) of each thing by the rows (m, d) of crops, and by the score map.

        Raises RowsError for other than a crop of each region.
        """
        if crops is None or len(crops) != len(regions):
            raise RowsError(
                f"`crops` must have a row for each of {len(regions)} regions; got "
                f"{None if crops is None else len(crops)}. Encode their crops."
            )
        maps = ScoreMaps(scale=self.scale)
        things = np.moveaxis(maps.probabilities(maps.cosines(dense, vocabulary.prototypes)), 1, 3)
        by_map = region_means(dense, regions, things).astype(np.float64)
        return self.probabilities_of(crops, vocabulary.prototypes), by_map
