"""The worth of each step of a recipe: the pool built anew without it, and heads trained on what is then kept."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from evenly.curation.balance.judgement import PRESELECT
from evenly.curation.collecting import DOWNLOAD
from evenly.curation.steps import STEPS
from evenly.features.refining.training import TrainingRule
from evenly.flows.other_pictures import other_pictures
from evenly.flows.rebuild_dataset import open_rebuild
from evenly.flows.recipe import Recipe, read_recipe
from evenly.flows.recipe.curation import Curate
from evenly.flows.refine_encoder import guarded_lists
from evenly.flows.runs import in_shared_use, open_run
from evenly.options import WorthOptions
from evenly.signatures import options_of, taking_values
from evenly.storage.builds import Builds
from evenly.storage.errors import InputError
from evenly.storage.workspace import writing
from evenly.tasks.encoders import frozen_run
from evenly.tasks.refining.worth import MEASURE_WORTH, PoolVariant, WorthRule
from evenly.tasks.server.jobs import job
from evenly.tasks.stage import run_step, run_steps
from evenly.tasks.step import NothingLeftError

_FALL_TOGETHER = {"match": ("match", "preselect", "recaption", "balance"), "balance": ("preselect", "balance")}
_FIRST = (
    "text",
    "match",
    "image",
    "deduplicate",
    "safety",
    "decontaminate",
    "recaption",
)  # of records
LEFT_OUT = {
    section: _FALL_TOGETHER.get(section, (section,))
    for section in dict.fromkeys((*_FIRST, *(judgement.section for judgement in STEPS.values())))
    if section not in {"", DOWNLOAD.section, PRESELECT.section}
}
"""Sections of `curate`, each with those that cannot stand without; of `recaption` only captions that are retrieved."""
_LONGEST_NAME = 63
RANDOM = "random pairs of the pool"


@job("measure-worth", flow_run_name="worth of {recipe}")
@in_shared_use
@taking_values(WorthOptions)
def measure_worth(recipe: str, **values: object) -> dict[str, Any]:
    """The key of the record of MEASURE_WORTH, and which variants could not be built, with the reason.

    Heads are trained on as many pairs of each variant as the whole pipeline leaves to train on. None of the other
    builds is promoted, and each has a name of its own. also: what `other_pictures` takes, whose pictures are judged
    too.
    """
    options, chosen = options_of(WorthOptions, values), read_recipe(recipe)
    skipped: dict[str, str] = {}
    with open_run(chosen, root=options.root, quiet=options.quiet) as opened:
        run = frozen_run(opened)
        manifest = Builds(run.workspace).read(f"{chosen.name}-latest")
        variants: list[PoolVariant] = []
        unbalanced = None
        for name, short, sections in _variants(chosen):
            try:
                variant = _without(chosen, short, sections)
                with writing(run.workspace, variant.name), open_rebuild(opened, variant) as rebuild:
                    records = run_steps(rebuild.run, rebuild.steps, rebuild.engine)
                    variants.append(PoolVariant(name=name, build=rebuild.publish(records, promote=False).build))
            except (InputError, NothingLeftError) as error:
                skipped[name] = str(error)
                run.progress.say(f"{'worth':<24} {name}: not built. {error}")
                continue
            if short == "balance":
                unbalanced = variants[-1].build
        rule = WorthRule(
            build=manifest["build"],
            variants=tuple(variants),
            seeds=options.seeds,
            training=TrainingRule(hold=options.hold),
            lists=guarded_lists(run, chosen, recipe, manifest["build"]),
            unbalanced=unbalanced,
            others=other_pictures(run.cache, options.also),
        )
        record = run_step(run, MEASURE_WORTH, (), rule)
    return {"step": record.key, "skipped": skipped}


def _variants(recipe: Recipe) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Without all steps that choose, and without each in turn: a name, a short one, and the sections left out."""
    applied = [name for name in LEFT_OUT if getattr(recipe.curate, name)]
    yield RANDOM, "everything", sorted({section for name in applied for section in LEFT_OUT[name]})
    for name in applied:
        further = [section for section in LEFT_OUT[name] if section != name and _falls(recipe, section)]
        yield f"without {name}{' and so ' if further else ''}{', '.join(further)}", name, LEFT_OUT[name]


def _falls(recipe: Recipe, section: str) -> bool:
    """Whether a section that cannot stand without another is there."""
    recaption = recipe.curate.recaption
    if section == "recaption":
        return recaption is not None and any(captioner.kind == "retrieved" for captioner in recaption.captioners)
    return bool(getattr(recipe.curate, section))


def _without(recipe: Recipe, name: str, sections: Sequence[str]) -> Recipe:
    """Raises InputError where the other sections cannot stand without these."""
    changes: dict[str, Any] = {section: {} if section in {"text", "image"} else None for section in sections}
    recaption = recipe.curate.recaption
    if name == "match" and recaption is not None:
        captioners = [captioner for captioner in recaption.captioners if captioner.kind != "retrieved"]
        changes["recaption"] = recaption.model_copy(update={"captioners": captioners}) if captioners else None
    elif "recaption" in changes and recipe.curate.match is not None:
        changes = {"match": replace(recipe.curate.match, unmatched="drop")} | changes
    try:
        curate = Curate.model_validate(dict(recipe.curate) | changes)
    except ValidationError as error:
        raise InputError(str(error.errors()[0]["msg"]).removeprefix("Value error, ")) from None
    ending = f"-without-{name.replace('_', '-')}"
    named = f"{recipe.name[: _LONGEST_NAME - len(ending)]}{ending}"
    return recipe.model_copy(update={"name": named, "curate": curate})
