"""Objectives that encoders are refined by, and samplers of what counts against a pair."""

from evenly.features.refining.objective import Objective, Sampler
from evenly.features.refining.objectives.arc_margin import ArcMargin
from evenly.features.refining.objectives.clip_refine import ClipRefine
from evenly.features.refining.objectives.contrastive import Contrastive
from evenly.features.refining.objectives.light_clip import LightClip
from evenly.features.refining.objectives.mlcd import Mlcd
from evenly.features.refining.objectives.unime import HardNegatives

OBJECTIVES: dict[str, type[Objective]] = {
    "contrastive": Contrastive,
    "clip_refine": ClipRefine,
    "light_clip": LightClip,
    "mcip": ArcMargin,
    "mlcd": Mlcd,
}
SAMPLERS: dict[str, type[Sampler]] = {"unime": HardNegatives}
