"""Objectives that encoders are refined by, and samplers of negatives."""

from evenly.features.refining import mixture
from evenly.features.refining.objective import Objective, Sampler
from evenly.features.refining.objectives.arc_margin import ArcMargin
from evenly.features.refining.objectives.clip_refine import ClipRefine
from evenly.features.refining.objectives.clippings import Clippings
from evenly.features.refining.objectives.contrastive import Contrastive
from evenly.features.refining.objectives.dclip import Dclip
from evenly.features.refining.objectives.gkc import KnowledgeCalibration
from evenly.features.refining.objectives.labelled import Labelled, TaughtLabels
from evenly.features.refining.objectives.light_clip import LightClip
from evenly.features.refining.objectives.mlcd import Mlcd
from evenly.features.refining.objectives.un2clip import DetailInversion
from evenly.features.refining.objectives.unime import HardNegatives
from evenly.features.refining.objectives.vladva import VladVa

OBJECTIVES: dict[str, type[Objective]] = {
    "contrastive": Contrastive,
    "clip_refine": ClipRefine,
    "light_clip": LightClip,
    "mcip": ArcMargin,
    "mlcd": Mlcd,
    "clippings": Clippings,
    "dclip": Dclip,
    "vladva": VladVa,
    "un2clip": DetailInversion,
    "gkc": KnowledgeCalibration,
    "labelled": Labelled,
    "pseudo_labelled": TaughtLabels,
}
SAMPLERS: dict[str, type[Sampler]] = {"unime": HardNegatives}


def needs_of(objective: str) -> tuple[str, ...]:
    """The fields of PairRows that an objective has to be given; none of one that is not known."""
    return OBJECTIVES[objective].needs if objective in OBJECTIVES else ()


def training_versions(objective: str, sampler: str | None, experts: int) -> dict[str, str]:
    """Parts of training that have changed since their first version, with the present one: it tells encoders apart."""
    parts = {"objective": OBJECTIVES.get(objective), "sampler": SAMPLERS.get(sampler or "")}
    versions = {name: part.version for name, part in parts.items() if part is not None}
    versions |= {"mixture": mixture.VERSION} if experts > 1 else {}
    return {name: str(version) for name, version in versions.items() if version > 1}


def check_objective(objective: str, sampler: str | None, teacher: str | None) -> None:
    """Raise ValueError for a loss or sampler that is not known, and for a sampler or teacher that it has no use for."""
    if objective not in OBJECTIVES:
        raise ValueError(f"`objective` must be one of {', '.join(OBJECTIVES)}; got `{objective}`")
    if sampler is not None and sampler not in SAMPLERS:
        raise ValueError(f"a sampler must be one of {', '.join(SAMPLERS)}; got `{sampler}`")
    if sampler is not None and not OBJECTIVES[objective].uses_negatives:
        raise ValueError(f"a sampler must stand with an objective that has negatives; got `{objective}`")
    if OBJECTIVES[objective].is_taught != bool(teacher):
        raise ValueError(
            "`teacher` must be a fitted adapter, LIST/NAME, where `objective` is of pseudo-labels, and only there; got "
            f"{f'`{teacher}`' if teacher else 'none'} with `{objective}`"
        )
