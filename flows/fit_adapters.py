"""Fit and evaluate the adapters of a recipe on the features of one of its builds."""

from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.class_rules import evaluation_rules
from evenly.flows.runs import in_shared_use, run_in
from evenly.tasks.adapters.fit import EVALUATE_ADAPTERS, evaluations_in_words
from evenly.tasks.server.jobs import ended, job
from evenly.tasks.stage import run_step


@job("fit-adapters", flow_run_name="fit {build}")
@in_shared_use
def fit_adapters(
    recipe: str,
    build: str = "latest",
    root: str | None = None,
    quiet: bool = False,
) -> list[str]:
    """Fit on train, choose on validation, evaluate once on test; the keys of the step records, one per class list."""
    chosen = read_recipe(recipe)
    run = run_in(chosen, root=root, quiet=quiet)
    records = [run_step(run, EVALUATE_ADAPTERS, (), rule) for rule in evaluation_rules(run, chosen, recipe, build)]
    return ended([record.key for record in records], evaluations_in_words(run, records))
