"""From a recipe to the steps of a rebuild, in order, each with the rule that it runs by."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from evenly.curation.duplicates.caption_duplicates import CaptionTwins
from evenly.curation.duplicates.image_duplicates import Perceptual, Semantic
from evenly.curation.duplicates.record_linkage import Linked
from evenly.curation.filters import IMAGE_FILTERS, TEXT_FILTERS, Filter
from evenly.flows.recipe import Recipe
from evenly.flows.recipe.curation import Deduplicate
from evenly.tasks.rebuild.balance import BALANCE, PRESELECT
from evenly.tasks.rebuild.captions import ALIGN, RECAPTION
from evenly.tasks.rebuild.collect import COLLECT
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
from evenly.tasks.rebuild.mixing import MIX_SOURCES
from evenly.tasks.rebuild.rank import RANK
from evenly.tasks.rebuild.safety import BLOCK_DOMAINS, SAFETY
from evenly.tasks.step import Step

# Parts of a recipe that change where or when it runs, not what comes out.
OUTSIDE_CONTENT: dict[str, Any] = dict.fromkeys(
    ("sources", "labels", "classes", "llm", "schedule", "guard", "web"), True
) | {"features": {"second"}}


def steps_of(recipe: Recipe, *, limit: int | None = None) -> list[tuple[Step, dict[str, Any]]]:
    """The steps that the recipe switches on, in order, each with its rule as plain values."""
    curate = recipe.curate
    twins = curate.deduplicate
    clean = None if curate.decontaminate is None else curate.decontaminate.model_dump(mode="json")
    target = None if curate.image_based is None else curate.image_based.model_dump(mode="json")
    clean_of_features = None if clean is None else clean["semantic"]
    feature_steps = (
        twins.semantic,
        twins.linked,
        clean_of_features,
        curate.rank,
        curate.recaption,
        curate.align,
        target,
    )
    uses_features = any(each is not None for each in feature_steps)
    matched = curate.balance is not None
    concepts = curate.match.model_dump(mode="json", exclude_none=True) if matched else None
    wanted: list[tuple[Step, Mapping[str, Any] | None]] = [
        (COLLECT, {"limit": limit}),
        (BLOCK_DOMAINS, _domains_rule(recipe)),
        (CHECK_TEXTS, filter_rules(curate.text, TEXT_FILTERS) or None),
        (MIX_SOURCES, _mix_rule(recipe)),
        (MATCH_CONCEPTS, concepts),
        (COUNT_CONCEPTS, {} if matched else None),
        (PRESELECT, _preselect_rule(recipe)),
        (DOWNLOAD, curate.download.model_dump(mode="json")),
        (CHECK_IMAGES, filter_rules(curate.image, IMAGE_FILTERS)),
        (DEDUPLICATE_EXACT, {} if twins.exact else None),
        (DEDUPLICATE_PERCEPTUAL, _perceptual_rule(twins)),
        (EMBED_IMAGES, {} if uses_features else None),
        (DEDUPLICATE_SEMANTIC, _semantic_rule(twins)),
        (DEDUPLICATE_LINKED, _linked_rule(twins)),
        (
            DEDUPLICATE_CAPTIONS,
            None if twins.captions is None else asdict(CaptionTwins(**twins.captions.model_dump())),
        ),
        (SAFETY, None if curate.safety is None else curate.safety.model_dump(mode="json")),
        (DECONTAMINATE, clean),
        (RANK, None if curate.rank is None else curate.rank.model_dump(mode="json", exclude_none=True)),
        (RECAPTION, None if curate.recaption is None else curate.recaption.model_dump(mode="json")),
        (ALIGN, None if curate.align is None else curate.align.model_dump(mode="json", exclude_none=True)),
        (IMAGE_BASED, target),
        (MATCH_AGAIN, concepts),
        (BALANCE, _balance_rule(recipe)),
    ]
    return [(step, dict(rule)) for step, rule in wanted if rule is not None]


def filter_rules(rules: Mapping[str, Mapping[str, Any]], known: Mapping[str, Filter]) -> dict[str, Any]:
    """The whole rule of each named filter as plain values, defaults included: what a step records it judged by."""
    plain: dict[str, Any] = json.loads(json.dumps({name: asdict(known[name].rule(**rules[name])) for name in rules}))
    return plain


def content_of(recipe: Recipe) -> dict[str, Any]:
    """The part of a recipe that a build's content depends on: no paths, endpoints or schedules."""
    return recipe.model_dump(mode="json", exclude=OUTSIDE_CONTENT)


def _domains_rule(recipe: Recipe) -> dict[str, Any] | None:
    safety = recipe.curate.safety
    return {"domains": list(safety.domains)} if safety is not None and safety.domains else None


def _mix_rule(recipe: Recipe) -> dict[str, Any] | None:
    rules = {source.name: source.mix for source in recipe.sources if source.mix}
    return {"sources": rules} if rules else None


def _perceptual_rule(twins: Deduplicate) -> dict[str, Any] | None:
    if twins.perceptual is None:
        return None
    return asdict(Perceptual(max_distance=twins.perceptual, max_shifted=twins.shifted))


def _semantic_rule(twins: Deduplicate) -> dict[str, Any] | None:
    if twins.semantic is None:
        return None
    return asdict(Semantic(min_cosine=twins.semantic, max_colour=twins.colour, tables=twins.tables))


def _linked_rule(twins: Deduplicate) -> dict[str, Any] | None:
    return None if twins.linked is None else asdict(Linked(**twins.linked.model_dump(), tables=twins.tables))


def _preselect_rule(recipe: Recipe) -> dict[str, Any] | None:
    rule = _balance_rule(recipe)
    if rule is None or recipe.curate.preselect is None:
        return None
    return rule | recipe.curate.preselect.model_dump(mode="json")


def _balance_rule(recipe: Recipe) -> dict[str, Any] | None:
    if recipe.curate.balance is None:
        return None
    rule = recipe.curate.balance.model_dump(mode="json", exclude_none=True)
    return rule if "language" in rule else {name: value for name, value in rule.items() if name != "reference"}
