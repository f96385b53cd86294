"""The steps of a rebuild by a recipe, in order, each with its rule; and what changed in it since its latest build."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evenly.curation.balance.judgement import MIX_SOURCES
from evenly.curation.balance.source_mixing import MixRule, SourceRule
from evenly.curation.step import NoRule
from evenly.curation.steps import STEPS
from evenly.flows.recipe import Recipe
from evenly.flows.recipe.curation import Curate
from evenly.storage.builds import Builds
from evenly.storage.records import stored_fields
from evenly.storage.workspace import Workspace
from evenly.tasks.captions.recaption import RECAPTION
from evenly.tasks.pictures.pointing import OUTSIDE_REGIONS
from evenly.tasks.progress import Progress
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
from evenly.tasks.rebuild.rank import RANK
from evenly.tasks.rebuild.safety import BLOCK_DOMAINS, SAFETY
from evenly.tasks.rebuild.scorers import SCORE_IMAGES, SCORE_PAIRS, SCORE_TEXTS
from evenly.tasks.rebuild.values.score_features import SCORE_FEATURES
from evenly.tasks.regions.find_regions import FIND_REGIONS
from evenly.tasks.step import Step, ledger_step

# Fields of a recipe that change where or when it runs, not what comes out.
OUTSIDE_CONTENT = {
    "Recipe": "sources labels classes llm engine schedule notify guard measure memory web",
    "RecipeFeatures": "second views encode device",
    "BalanceRule": "headroom",
    **OUTSIDE_REGIONS,
    "Value": "imports timeout_s",
}


_MEASURING: Mapping[str, Step[Any]] = {
    step.name: step
    for step in (
        *(COLLECT, BLOCK_DOMAINS, CHECK_TEXTS, MATCH_CONCEPTS, PRESELECT, DOWNLOAD, CHECK_IMAGES),
        *(DEDUPLICATE_EXACT, DEDUPLICATE_PERCEPTUAL, EMBED_IMAGES, DEDUPLICATE_SEMANTIC, DEDUPLICATE_LINKED),
        *(
            DEDUPLICATE_CAPTIONS,
            SAFETY,
            DECONTAMINATE,
            FIND_REGIONS,
            RANK,
            RECAPTION,
            ALIGN,
            IMAGE_BASED,
            MATCH_AGAIN,
            BALANCE,
        ),
        *(SCORE_TEXTS, SCORE_IMAGES, SCORE_PAIRS, SCORE_FEATURES),
    )
}
"""The steps that need more than the ledger, by name; all of another is its judgement."""


KNOWN_STEPS: Sequence[Step[Any]] = tuple(
    step
    for judgement in STEPS.values()
    for step in (
        _MEASURING.get(judgement.name) or ledger_step(judgement),
        *((COUNT_CONCEPTS,) if judgement.name == MATCH_CONCEPTS.name else ()),
    )
)
"""All steps that a recipe may switch on, in the order in which they run."""


def steps_of(recipe: Recipe, *, limit: int | None = None) -> list[tuple[Step[Any], Any]]:
    """The steps that the recipe switches on, in order, each with its rule."""
    return curating_steps(recipe.curate, limit=limit, mix=_mix_rule(recipe))


def curating_steps(curate: Curate, *, limit: int | None, mix: MixRule | None) -> list[tuple[Step[Any], Any]]:
    """The same of the section `curate` alone, and what else of a recipe switches a step on."""
    match = curate.match
    rules = {name: curate.rule_of(judgement) for name, judgement in STEPS.items()} | {
        COLLECT.name: CollectRule(limit=limit),
        MIX_SOURCES.name: mix,
        COUNT_CONCEPTS.name: match and NoRule(),
        EMBED_IMAGES.name: NoRule() if curate.needing("features") else None,
        # What names nothing in the end is dropped.
        MATCH_AGAIN.name: match and replace(match, unmatched="drop"),
        # What captions name decides nothing where regions are balanced.
        MATCH_CONCEPTS.name: replace(match, unmatched="keep") if match and match.texts == "regions" else match,
    }
    if curate.download is None:
        rules |= {SAFETY.name: None, MATCH_AGAIN.name: None}
    return [(step, rules[step.name]) for step in KNOWN_STEPS if rules[step.name] is not None]


def content_of(recipe: Recipe) -> dict[str, Any]:
    """The part of a recipe that a build's content depends on: no paths, endpoints or schedules."""
    content: dict[str, Any] = stored_fields(recipe, in_recipe=True, excluded=OUTSIDE_CONTENT)
    return content


def _mix_rule(recipe: Recipe) -> MixRule | None:
    rules = {source.name: source.mix for source in recipe.sources if source.name and source.mix != SourceRule()}
    return MixRule(sources=rules) if rules else None


def say_changes(workspace: Workspace, progress: Progress, recipe: Recipe) -> None:
    """Say which fields differ from those of the recipe's latest build, if it has one: a file may change unseen.

    Fields that no build's content depends on (paths, class lists, schedules) are not among them.
    """
    builds = Builds(workspace)
    latest = builds.latest_of(recipe.name)
    if latest is None:
        return
    if names := changed_fields(builds.read(latest)["recipe"], content_of(recipe)):
        progress.say(f"{'recipe':<24} changed since build {latest}: {', '.join(names)}")


def changed_fields(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> list[str]:
    """The fields, as `curate.balance.t`, that two contents of a recipe give different values; null as if left out."""
    return list(_changed(earlier, later, ""))


def _changed(earlier: Mapping[str, Any], later: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name in dict.fromkeys((*later, *earlier)):
        old, after = earlier.get(name), later.get(name)
        if isinstance(old, Mapping) and isinstance(after, Mapping):
            yield from _changed(old, after, f"{prefix}{name}.")
        elif old != after:
            yield f"{prefix}{name}"
