"""All steps of a rebuild by what they say of themselves, in the order in which they run."""

from evenly.curation import align, collecting, filters
from evenly.curation.balance import judgement as balance
from evenly.curation.balance.cap import CAP
from evenly.curation.captions import judgement as captions
from evenly.curation.concepts import judgement as concepts
from evenly.curation.duplicates import judgement as duplicates
from evenly.curation.exclusions import judgement as exclusions
from evenly.curation.regions.judgement import FIND_REGIONS
from evenly.curation.step import Judgement
from evenly.curation.values.judgement import VALUES
from evenly.curation.values.methods import SCORE_FEATURES
from evenly.curation.values.scoring import SCORES

STEPS: dict[str, Judgement] = {
    judgement.name: judgement
    for judgement in (
        collecting.COLLECT,
        VALUES["pool"],
        exclusions.BLOCK_DOMAINS,
        filters.CHECK_TEXTS,
        SCORES["texts"],
        VALUES["texts"],
        balance.MIX_SOURCES,
        CAP,
        concepts.MATCH_CONCEPTS,
        balance.PRESELECT,
        collecting.DOWNLOAD,
        filters.CHECK_IMAGES,
        SCORES["images"],
        VALUES["images"],
        duplicates.DEDUPLICATE_EXACT,
        duplicates.DEDUPLICATE_PERCEPTUAL,
        collecting.EMBED_IMAGES,
        duplicates.DEDUPLICATE_SEMANTIC,
        duplicates.DEDUPLICATE_LINKED,
        duplicates.DEDUPLICATE_CAPTIONS,
        exclusions.SAFETY,
        exclusions.DECONTAMINATE,
        FIND_REGIONS,
        align.RANK,
        captions.RECAPTION,
        align.ALIGN,
        SCORES["pairs"],
        SCORE_FEATURES,
        VALUES["pairs"],
        exclusions.IMAGE_BASED,
        concepts.MATCH_AGAIN,
        balance.BALANCE,
    )
}
"""By name; a step that judges no pairs (count_concepts) is not among them."""
