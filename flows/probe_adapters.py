"""Probe the adapters of a recipe and its encoder: corrupted pictures, diversity of the build, colours, retrieval."""

from evenly.curation.step import NoRule
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.class_rules import evaluation_rules
from evenly.flows.runs import in_shared_use, run_in
from evenly.storage.builds import Builds
from evenly.tasks.adapters.corrupted_pictures import CORRUPT_PICTURES, CorruptionRule
from evenly.tasks.adapters.fit import EVALUATE_ADAPTERS
from evenly.tasks.adapters.probes import (
    MEASURE_DIVERSITY,
    MEASURE_RETRIEVAL,
    PROBE_BINDING,
    DiversityRule,
    PairRetrievalRule,
)
from evenly.tasks.server.jobs import job
from evenly.tasks.stage import run_step


@job("probe-adapters", flow_run_name="probe {build}")
@in_shared_use
def probe_adapters(
    recipe: str,
    build: str = "latest",
    root: str | None = None,
    corruptions: bool = True,
    diversity: bool = True,
    binding: bool = True,
    retrieval: bool = True,
    quiet: bool = False,
) -> list[str]:
    """Each probe that is asked for, corruptions once per class list; the keys of the step records."""
    chosen = read_recipe(recipe)
    run = run_in(chosen, root=root, quiet=quiet)
    keys = []
    of_build = str(Builds(run.workspace).read(f"{chosen.name}-latest" if build == "latest" else build)["build"])
    if diversity:
        keys.append(run_step(run, MEASURE_DIVERSITY, (), DiversityRule(build=of_build)).key)
    if retrieval:
        keys.append(run_step(run, MEASURE_RETRIEVAL, (), PairRetrievalRule(build=of_build)).key)
    if binding:
        keys.append(run_step(run, PROBE_BINDING, (), NoRule()).key)
    for rule in evaluation_rules(run, chosen, recipe, build) if corruptions else ():
        corrupted = CorruptionRule(build=rule.build, list=rule.list, classes=rule.classes)
        evaluation = run_step(run, EVALUATE_ADAPTERS, (), rule)
        keys.append(run_step(run, CORRUPT_PICTURES, (evaluation,), corrupted).key)
    return keys
