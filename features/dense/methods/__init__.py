"""Region methods by name; each is a class in its own file, and a row of docs/methods.md."""

from collections.abc import Mapping
from typing import Any

from evenly.features.dense.method import RegionMethod
from evenly.features.dense.methods.attributes import RegionAttributes
from evenly.features.dense.methods.background import Background
from evenly.features.dense.methods.box_prompts import BoxPrompts
from evenly.features.dense.methods.correlations import Correlations
from evenly.features.dense.methods.cosegment import Cosegment
from evenly.features.dense.methods.counts import ThingCounts
from evenly.features.dense.methods.defects import Defects
from evenly.features.dense.methods.descriptions import DescribedParts
from evenly.features.dense.methods.masked_crops import MaskedCrops
from evenly.features.dense.methods.proposals import Proposals
from evenly.features.dense.methods.relations import Relations
from evenly.features.dense.methods.score_maps import ScoreMaps

REGION_METHODS: Mapping[str, type[Any]] = {
    "correlations": Correlations,
    "cosegment": Cosegment,
    "score_maps": ScoreMaps,
    "masked_crops": MaskedCrops,
    "box_prompts": BoxPrompts,
    "descriptions": DescribedParts,
    "relations": Relations,
    "counts": ThingCounts,
    "defects": Defects,
    "attributes": RegionAttributes,
    "background": Background,
    "proposals": Proposals,
}
"""Classes of `RegionMethod`: dataclasses whose fields are their hyper-parameters."""

__all__ = ["REGION_METHODS", "RegionMethod"]
