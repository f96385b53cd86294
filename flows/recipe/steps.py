"""The steps of a rebuild by a recipe, in order, each with the rule that it runs by."""

from dataclasses import replace
from typing import Any

from evenly.curation.balance.source_mixing import SourceRule
from evenly.curation.balance.thresholds import BalanceRule
from evenly.curation.concepts.matching import MatchRule
from evenly.curation.filters import IMAGE_FILTERS, TEXT_FILTERS
from evenly.curation.filters.judgement import FilterRules
from evenly.flows.recipe import Recipe
from evenly.storage.stored_fields import stored_fields
from evenly.tasks.captions.recaption import RECAPTION
from evenly.tasks.rebuild.align import ALIGN
from evenly.tasks.rebuild.balance import BALANCE, PRESELECT
from evenly.tasks.rebuild.collect import COLLECT, CollectRule
from evenly.tasks.rebuild.concepts import COUNT_CONCEPTS, MATCH_AGAIN, MATCH_CONCEPTS
from evenly.tasks.rebuild.decontaminate import DECONTAMINATE
from evenly.tasks.rebuild.deduplicate import (
    DEDUPLICATE_CAPTIONS,
    DEDUPLICATE_EXACT,
    DEDUPLICATE_LINKED,
    DEDUPLICATE_PERCEPTUAL,
    DEDUPLICATE_SEMANTIC,
)
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.rebuild.features import EMBED_IMAGES
from evenly.tasks.rebuild.filters import CHECK_IMAGES, CHECK_TEXTS
from evenly.tasks.rebuild.image_based import IMAGE_BASED
from evenly.tasks.rebuild.mixing import MIX_SOURCES, MixRule
from evenly.tasks.rebuild.rank import RANK
from evenly.tasks.rebuild.safety import BLOCK_DOMAINS, SAFETY, BlockedDomains
from evenly.tasks.step import NoRule, Step

# Fields of a recipe that change where or when it runs, not what comes out.
OUTSIDE_CONTENT = {
    "Recipe": "sources labels classes llm engine schedule notify guard memory web",
    "RecipeFeatures": "second views encode device",
    "BalanceRule": "headroom",
}


def steps_of(recipe: Recipe, *, limit: int | None = None) -> list[tuple[Step[Any], Any]]:
    """The steps that the recipe switches on, in order, each with its rule."""
    curate = recipe.curate
    merging = curate.merging
    steps: list[tuple[Step[Any], Any]] = [
        (COLLECT, CollectRule(limit=limit)),
        (BLOCK_DOMAINS, _domains_rule(recipe)),
        (CHECK_TEXTS, FilterRules.of(curate.text, TEXT_FILTERS) if curate.text else None),
        (MIX_SOURCES, _mix_rule(recipe)),
        (MATCH_CONCEPTS, curate.match),
        (COUNT_CONCEPTS, None if curate.match is None else NoRule()),
        (PRESELECT, _preselect_rule(recipe)),
        (DOWNLOAD, curate.download),
        (CHECK_IMAGES, FilterRules.of(curate.image, IMAGE_FILTERS) if recipe.has_pictures else None),
        (DEDUPLICATE_EXACT, NoRule() if merging.exact else None),
        (DEDUPLICATE_PERCEPTUAL, merging.perceptual_rule),
        (EMBED_IMAGES, NoRule() if curate.needing("features") else None),
        (DEDUPLICATE_SEMANTIC, merging.semantic_rule),
        (DEDUPLICATE_LINKED, merging.linked_rule),
        (DEDUPLICATE_CAPTIONS, merging.captions),
        (SAFETY, curate.safety if recipe.has_pictures else None),
        (DECONTAMINATE, curate.decontaminate),
        (RANK, curate.rank),
        (RECAPTION, None if curate.recaption is None else curate.recaption.rule),
        (ALIGN, curate.align),
        (IMAGE_BASED, curate.image_based),
        (MATCH_AGAIN, _matching_again(recipe)),
        (BALANCE, curate.balance),
    ]
    return [(step, rule) for step, rule in steps if rule is not None]


def content_of(recipe: Recipe) -> dict[str, Any]:
    """The part of a recipe that a build's content depends on: no paths, endpoints or schedules."""
    content: dict[str, Any] = stored_fields(recipe, in_recipe=True, without=OUTSIDE_CONTENT)
    return content


def _domains_rule(recipe: Recipe) -> BlockedDomains | None:
    safety = recipe.curate.safety
    return BlockedDomains(domains=safety.domains) if safety is not None and safety.domains else None


def _mix_rule(recipe: Recipe) -> MixRule | None:
    rules = {source.name: source.mix for source in recipe.sources if source.name and source.mix != SourceRule()}
    return MixRule(sources=rules) if rules else None


def _matching_again(recipe: Recipe) -> MatchRule | None:
    """How the captions that stand in the end are matched: what names nothing then is dropped."""
    match = recipe.curate.match
    return None if match is None or not recipe.has_pictures else replace(match, unmatched="drop")


def _preselect_rule(recipe: Recipe) -> BalanceRule | None:
    balance, preselect = recipe.curate.balance, recipe.curate.preselect
    return None if balance is None or preselect is None else replace(balance, headroom=preselect.headroom)
