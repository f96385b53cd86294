"""What each step of a recipe is worth: the pool built anew without it, and heads trained on what is then kept."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from prefect import flow
from pydantic import ValidationError

from evenly.features.errors import RowsError
from evenly.features.refining.training import TrainingRule
from evenly.flows.rebuild_dataset import build_by
from evenly.flows.recipe import Recipe, read_recipe
from evenly.flows.recipe.curation import Curate
from evenly.flows.refine_encoder import guarded_lists
from evenly.flows.runs import open_run
from evenly.storage.builds import Builds
from evenly.storage.errors import InputError
from evenly.storage.stores.writer_lock import writing
from evenly.tasks.refining.worth import (
    WorthVariant,
    frozen_variant,
    hold_out,
    judge_variant,
    training_pairs,
    worth_table,
)

LEFT_OUT = {
    "text": ("text",),
    "match": ("match", "preselect", "balance"),
    "image": ("image",),
    "deduplicate": ("deduplicate",),
    "safety": ("safety",),
    "decontaminate": ("decontaminate",),
    "recaption": ("recaption",),
    "rank": ("rank",),
    "align": ("align",),
    "image_based": ("image_based",),
    "balance": ("preselect", "balance"),
}
"""Sections of `curate`, and those that cannot stand without."""
_LONGEST_NAME = 63
WHOLE, RANDOM = "the whole pipeline", "random pairs of the pool"


@flow(name="measure-worth", flow_run_name="worth of {recipe}", persist_result=False)
def measure_worth(
    recipe: str,
    seeds: int = 5,
    training: TrainingRule = TrainingRule(),  # noqa: B008 - frozen
    root: str | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Rows of `worth_table`, and what was left out with its reason.

    Heads are trained on as many pairs of each variant as the whole pipeline leaves to train on. None of the other
    builds is promoted, and each has a name of its own.
    """
    chosen = read_recipe(recipe)
    skipped: dict[str, str] = {}
    with open_run(chosen, root=root, quiet=quiet) as run:
        manifest = Builds(run.workspace).read(f"{chosen.name}-latest")
        held_out = hold_out(run, manifest, guarded_lists(run, chosen, recipe, manifest["build"]))
        count = len(held_out.parts.pairs["train"])
        numbers = range(1, seeds + 1)
        variants = [judge_variant(WHOLE, held_out.parts.pairs["train"], held_out, training, count=count, seeds=numbers)]
        for name, short, sections in _variants(chosen):
            try:
                other = _without(chosen, short, sections)
                with writing(run.workspace, other.name):
                    built = Builds(run.workspace).read(build_by(run, other, promote=False).build)
                pairs = training_pairs(run, built, held_out)
                variants.append(judge_variant(name, pairs, held_out, training, count=count, seeds=numbers))
            except (InputError, RowsError) as error:
                skipped[name] = str(error)
            run.progress.say(f"{'worth':<24} {name}: {skipped.get(name) or _said(variants[-1])}")
        rows = worth_table([*variants, frozen_variant(held_out)], seed=run.seed)
    return {"build": manifest["build"], "seeds": seeds, "trained": count, "rows": rows, "skipped": skipped}


def _variants(recipe: Recipe) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Without all steps that choose, and without each in turn: a name, a short one, and the sections left out."""
    there = [name for name in LEFT_OUT if getattr(recipe.curate, name)]
    yield RANDOM, "everything", sorted({section for name in there for section in LEFT_OUT[name]})
    for name in there:
        yield f"without {name}", name, LEFT_OUT[name]


def _without(recipe: Recipe, name: str, sections: Sequence[str]) -> Recipe:
    """Raises InputError where the other sections cannot stand without these."""
    off: dict[str, Any] = {section: {} if section in {"text", "image"} else None for section in sections}
    if "recaption" in off and recipe.curate.match is not None:
        off = {"match": replace(recipe.curate.match, unmatched="drop")} | off
    try:
        curate = Curate.model_validate(dict(recipe.curate) | off)
    except ValidationError as error:
        raise InputError(str(error.errors()[0]["msg"]).removeprefix("Value error, ")) from None
    ending = f"-without-{name.replace('_', '-')}"
    named = f"{recipe.name[: _LONGEST_NAME - len(ending)]}{ending}"
    return recipe.model_copy(update={"name": named, "curate": curate})


def _said(variant: WorthVariant) -> str:
    recall = variant.correct["text to picture R@10", "all pairs"].mean
    return f"{variant.trained:,} of {variant.available:,} pairs, text to picture R@10 {recall:.3f}"
