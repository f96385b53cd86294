"""Probe the adapters of a recipe: corrupted pictures, diversity of the build, colours of two objects."""

from prefect import flow

from flows.class_rules import evaluation_rules
from flows.opening import run_in
from flows.recipe import read_recipe
from tasks.adapters import EVALUATE_ADAPTERS
from tasks.probes import (
    ALL_CORRUPTIONS,
    CORRUPT_PICTURES,
    DIVERSITY_ROWS,
    DIVERSITY_SIGMA,
    MEASURE_DIVERSITY,
    PROBE_BINDING,
)
from tasks.step import run_step


@flow(name="probe-adapters", flow_run_name="probe {build}", persist_result=False)
def probe_adapters(
    recipe: str,
    build: str = "latest",
    root: str | None = None,
    corruptions: bool = True,
    diversity: bool = True,
    binding: bool = True,
    quiet: bool = False,
) -> list[str]:
    """Each probe that is asked for, once per class list where it concerns one; the keys of the step records."""
    chosen = read_recipe(recipe)
    run = run_in(chosen, root=root, quiet=quiet)
    keys = []
    for rule in evaluation_rules(run, chosen, recipe, build):
        about = {name: rule[name] for name in ("build", "list", "classes")}
        if corruptions:
            evaluation = run_step(run, EVALUATE_ADAPTERS, (), rule)
            keys.append(run_step(run, CORRUPT_PICTURES, (evaluation,), about | ALL_CORRUPTIONS).key)
        if diversity:
            measured = {"build": rule["build"], "rows": DIVERSITY_ROWS, "sigma": DIVERSITY_SIGMA}
            keys.append(run_step(run, MEASURE_DIVERSITY, (), measured).key)
        if binding:
            keys.append(run_step(run, PROBE_BINDING, (), {}).key)
    return list(dict.fromkeys(keys))
