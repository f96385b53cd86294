"""Refine the encoder of a recipe's latest build over its kept pairs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from evenly.bounds import check_bounds
from evenly.features.refining.objectives import check_objective, needs_of, training_versions
from evenly.features.refining.training import TOWER_RULES, TrainingRule, check_trained
from evenly.flows.recipe import Recipe, read_recipe
from evenly.flows.recipe.class_rules import evaluation_rules
from evenly.flows.runs import in_shared_use, run_in
from evenly.options import RefineOptions
from evenly.signatures import fields_of, options_of, taking_values
from evenly.storage.artifacts.kinds import refined_encoders_of
from evenly.storage.builds import Builds, encoder_of
from evenly.storage.errors import InputError
from evenly.tasks.encoders import encoder_identity, frozen_run
from evenly.tasks.refining.outside import OtherPictures, other_rows
from evenly.tasks.refining.pairs import GuardedList
from evenly.tasks.refining.refine import REFINE_ENCODER, RefineRule, heads_of, judge_outside
from evenly.tasks.run import Run
from evenly.tasks.server.jobs import job
from evenly.tasks.stage import run_step
from evenly.tasks.step import plain_rule

_UNSTORED = (("tune", "blocks"), ("side", "both"), ("teacher", None))
"""Fields at their defaults that cards from before them lack."""


@job("refine-encoder", flow_run_name="refine {name}")
@in_shared_use
@taking_values(RefineOptions)
def refine_encoder(recipe: str, name: str, **values: object) -> str:
    """Refine the encoder of a build on its pairs and keep it under a name; the key of the step record.

    The recipe's class lists are the guard's. What is trained: heads, `experts` heads with a router, or of blocks of
    the `towers` what `tune` says. force: also under a name that stands for one of another build, encoder or rule;
    without, that is refused before anything is trained.
    """
    options = options_of(RefineOptions, values)
    run, rule = open_refining(recipe, options)
    force = options.force
    artifacts = refined_encoders_of(run.workspace)
    step = REFINE_ENCODER.spec(run, (), rule).key
    stored = {name: value for name, value in plain_rule(rule).items() if (name, value) not in _UNSTORED}
    made_of = {"build": rule.build, "encoder": encoder_identity(run), "rule": stored, "step": step}
    artifacts.check_free(name, made_of, force=force)
    record = run_step(run, REFINE_ENCODER, (), rule)
    choice = run.encoder
    encoder = {"model": choice.model, "pretrained": choice.pretrained, **choice.numbers, "refine": choice.refine}
    card = {
        "base": encoder_identity(run),
        "encoder": {name: value for name, value in encoder.items() if value},
        "build": rule.build,
        "step": record.key,
        "rule": stored,
        "versions": training_versions(rule.objective, rule.sampler, rule.experts),
        "seed": run.seed,
        "notes": dict(record.notes),
    }
    artifacts.put(name, card, heads_of(run, record, rule), made_of=made_of, force=force)
    return record.key


def outside_measures(
    recipe: str, name: str, options: RefineOptions, pictures: Sequence[OtherPictures]
) -> list[dict[str, Any]]:
    """Measures of a refined encoder on pictures that neither chose nor trained it, which may lie anywhere."""
    run, rule = open_refining(recipe, options)
    rows = {source.name: other_rows(run, source) for source in pictures}
    return judge_outside(run, rule, refined_encoders_of(run.workspace).read(name)[1], rows)


def open_refining(recipe: str, options: RefineOptions) -> tuple[Run, RefineRule]:
    """The run with the frozen encoder of a recipe, and the rule of the options for a build of it.

    Raises InputError for a build of an encoder that is refined, and for options that do not go together.
    """
    training = training_of(options)
    loss, _, sampler = options.objective.partition(",")
    chosen = read_recipe(recipe)
    run_of_recipe = run_in(chosen, root=options.root, quiet=options.quiet)
    run = frozen_run(run_of_recipe)
    manifest = Builds(run.workspace).read(f"{chosen.name}-latest" if options.build == "latest" else options.build)
    if run_of_recipe.encoder.refine is not None and encoder_of(manifest) != encoder_identity(run):
        raise InputError(
            f"`build` must be of an encoder that is not refined; `{manifest['build']}` is of one with `refine: "
            f"{run_of_recipe.encoder.refine}`. Rebuild without `features.refine`, then refine over that build."
        )
    lists = guarded_lists(run, chosen, recipe, manifest["build"], needs=needs_of(loss))
    chosen_loss = {"build": manifest["build"], "objective": loss, "sampler": sampler or None}
    return run, RefineRule(**fields_of(RefineRule, options) | chosen_loss, lists=lists, training=training)


def training_of(options: RefineOptions) -> TrainingRule:
    """The training of heads or towers. Raises InputError for options that do not go together."""
    names = ("epochs", "rank", "batch_size", "learning_rate", "hold")
    values = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    training = replace(TOWER_RULES[options.tune] if options.towers else TrainingRule(), **values)
    check_bounds(training, InputError, remedy="Correct it.")
    loss, _, sampler = options.objective.partition(",")
    try:
        check_objective(loss, sampler or None, options.teacher)
        check_trained(options.experts, options.towers, training.rank, options.tune, options.side)
    except ValueError as error:
        raise InputError(f"{error}. Choose another.") from None
    return training


def guarded_lists(
    run: Run, chosen: Recipe, recipe: str, build: str, *, needs: Sequence[str] = ()
) -> tuple[GuardedList, ...]:
    """The class lists of a recipe, each with its first template, or its names alone.

    Those of the newest description have synonyms, where an objective `needs` them.
    """
    return tuple(
        GuardedList(
            list=rule.list,
            classes=rule.classes,
            split=rule.split,
            template=next(iter(rule.templates), "{}"),
            synonyms=rule.texts.get("synonyms", {}) if "synonyms" in needs else {},
        )
        for rule in evaluation_rules(run, chosen, recipe, build)
    )
