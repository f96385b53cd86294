"""Refine the encoder of a recipe's latest build over its kept pairs."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefect import flow

from evenly.features.refining.objectives import needs_of, training_versions
from evenly.features.refining.training import TrainingRule
from evenly.flows.recipe import Recipe, read_recipe
from evenly.flows.recipe.class_rules import evaluation_rules
from evenly.flows.runs import in_shared_use, run_in
from evenly.storage.artifacts.kinds import refined_encoders_of
from evenly.storage.builds import Builds, encoder_of
from evenly.storage.errors import InputError
from evenly.tasks.encoders import encoder_identity, frozen_run
from evenly.tasks.refining.pairs import GuardedList
from evenly.tasks.refining.refine import REFINE_ENCODER, RefineRule, heads_of
from evenly.tasks.run import Run
from evenly.tasks.step import plain_rule, run_step

_ENCODER_FIELDS = ("model", "pretrained", "batch_size", "precision", "resize", "long_texts", "refine")


@flow(name="refine-encoder", flow_run_name="refine {name}", persist_result=False)
@in_shared_use
def refine_encoder(
    recipe: str,
    name: str,
    objective: str = "contrastive",
    build: str = "latest",
    training: TrainingRule = TrainingRule(),  # noqa: B008 - frozen
    margin: float = 0.01,
    experts: int = 1,
    towers: int = 0,
    root: str | None = None,
    quiet: bool = False,
    force: bool = False,
) -> str:
    """Refine the encoder of a build on its pairs and keep it under a name; the key of the step record.

    objective: a loss, and after a comma a sampler: `contrastive,unime`. The recipe's class lists are the guard's. What
    is trained: heads, `experts` heads with a router, or the last blocks of the `towers`. force: also under a name that
    stands for one of another build, encoder or rule; without, that is refused before anything is trained.
    """
    fields = {"training": training, "margin": margin, "experts": experts, "towers": towers}
    run, rule = open_refining(recipe, objective, fields, build=build, root=root, quiet=quiet)
    artifacts = refined_encoders_of(run.workspace)
    step = REFINE_ENCODER.spec(run, (), rule).key
    made_of = {"build": rule.build, "encoder": encoder_identity(run), "rule": plain_rule(rule), "step": step}
    artifacts.check_free(name, made_of, force=force)
    record = run_step(run, REFINE_ENCODER, (), rule)
    encoder = plain_rule(run.encoder)
    card = {
        "base": encoder_identity(run),
        "encoder": {name: encoder[name] for name in _ENCODER_FIELDS if encoder[name]},
        "build": rule.build,
        "step": record.key,
        "rule": plain_rule(rule),
        "versions": training_versions(rule.objective, rule.sampler, rule.experts),
        "seed": run.seed,
        "notes": dict(record.notes),
    }
    artifacts.put(name, card, heads_of(run, record, rule), made_of=made_of, force=force)
    return record.key


def open_refining(
    recipe: str, objective: str, fields: Mapping[str, Any], *, build: str, root: str | None, quiet: bool = False
) -> tuple[Run, RefineRule]:
    """The run with the frozen encoder of a recipe, and the rule of `fields` for a build of it.

    Raises InputError for a build of an encoder that is refined.
    """
    chosen = read_recipe(recipe)
    asked = run_in(chosen, root=root, quiet=quiet)
    run = frozen_run(asked)
    manifest = Builds(run.workspace).read(f"{chosen.name}-latest" if build == "latest" else build)
    if asked.encoder.refine is not None and encoder_of(manifest) != encoder_identity(run):
        raise InputError(
            f"`build` must be of an encoder that is not refined; `{manifest['build']}` is of one with `refine: "
            f"{asked.encoder.refine}`. Rebuild without `features.refine`, then refine over that build."
        )
    loss, _, sampler = objective.partition(",")
    lists = guarded_lists(run, chosen, recipe, manifest["build"], needs=needs_of(loss))
    rule = RefineRule(build=manifest["build"], objective=loss, sampler=sampler or None, lists=lists, **fields)
    return run, rule


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
