"""`evenly refine`: heads on a recipe's encoder, trained on its latest build, with what they changed."""

import re
from dataclasses import dataclass, replace
from typing import Annotated, Any

from evenly.flows.cli.output import Recipe, print_text
from evenly.options import RefineOptions
from evenly.signatures import Named, Place, flow_values, taking


@dataclass(frozen=True, kw_only=True)
class Refining(RefineOptions):
    """Options of `evenly.refine`."""

    plan: Annotated[bool, Named("--plan"), "Say what it would take, by two steps; keep nothing."] = False


@dataclass(frozen=True, kw_only=True)
class NamedRefining(Refining):
    """Options of `evenly refine`."""

    out: Annotated[str, "The name of the refined encoder, for `features: {refine: NAME}`."]


@taking(Refining)
def refine_build(recipe: Place, name: str, options: Refining) -> dict[str, Any]:
    """Refine the encoder of a recipe on the pairs of a build, and say what that changed on pairs held out.

    `measures` are rows: measure, of, before, after, difference with its 95 % interval. With plan=True what it would
    take is measured by two steps. Raises InputError for options that do not go together and for a name that stands for
    an encoder made otherwise.
    """
    from evenly.flows.process.prefect_api import prefect_api
    from evenly.flows.recipe import read_recipe
    from evenly.flows.refine_encoder import open_refining, refine_encoder, training_of
    from evenly.storage.builds import open_build
    from evenly.storage.ledger import Ledger
    from evenly.tasks.refining.refine import plan_refining

    if options.build == "latest":
        options = replace(options, build=f"{read_recipe(recipe).name}-latest")
    workspace, manifest = open_build(options.build, root=options.root)
    training_of(options)  # what is wrong is said before a server starts
    if options.plan:
        return plan_refining(*open_refining(str(recipe), options)).facts()
    values = flow_values(options)
    del values["plan"]
    with prefect_api():
        key = refine_encoder(str(recipe), name, **values)
    ledger = Ledger(workspace)
    record = ledger.get(key)
    return {
        "name": name,
        "build": manifest["build"],
        **record.notes,
        "measures": ledger.table(record, "measures").to_pylist(),
        "choice": ledger.table(record, "choice").to_pylist(),
    }


@taking(NamedRefining)
def refine_command(recipe: Recipe, options: NamedRefining) -> dict[str, Any]:
    """Refine the encoder of a recipe on the pairs of its latest build, and say what that changed on pairs held out.

    Example: evenly refine recipes/demo.yaml --objective contrastive --out demo-refined

    Example: evenly refine birds.yaml --towers 1 --batch-size 256 --out birds-tower
    """
    values = dict(vars(options))
    return refine_build(recipe, values.pop("out"), **values)


def _print_plan(plan: dict[str, Any]) -> None:
    pairs = ", ".join(f"{plan[f'{part}_pairs']:,} {part}" for part in ("train", "val", "test"))
    print_text(
        f"{pairs} pairs; {plan['parameters']:,} parameters, {plan['steps']:,} steps of {plan['step_s']:.2f} s, val of "
        f"{plan['val_s']:.2f} s four times an epoch: about {plan['total_s'] / 60:.1f} minutes"
    )


def print_refined(result: dict[str, Any]) -> None:
    """Print what refining changed, or what it would take."""
    if "measures" not in result:
        _print_plan(result)
        return
    print_text(f"{result['name']}: test pairs of {result['build']}; before, after, difference with its 95 % interval")
    measures = result["measures"]
    width = max((len(row["measure"]) for row in measures), default=0)
    for subject in dict.fromkeys(row["of"] for row in measures):
        print_text(subject)
        for row in (row for row in measures if row["of"] == subject):
            values = f"{_short(row['before']):>6} {_short(row['after']):>6}  {_difference(row)}"
            print_text(f"  {row['measure']:<{width}}  {values}")
    pairs = ", ".join(f"{result[f'{part}_pairs']:,} {part}" for part in ("train", "val", "test"))
    if result["strength"]:
        print_text(f"{pairs} pairs; epoch {result['epoch']} at strength {result['strength']:g}, chosen on val")
        print_text(f"take it: `features: {{refine: {result['name']}}}` in the recipe")
    else:
        print_text(f"{pairs} pairs; the frozen encoder stays: nothing was better on val within the margin")


def _difference(row: dict[str, Any]) -> str:
    value, low, high = (row[name] for name in ("difference", "difference_low", "difference_high"))
    return _short(value, "+") if low is None else f"{_short(value, '+')} [{_short(low, '+')}, {_short(high, '+')}]"


def _short(value: float, sign: str = "") -> str:
    return re.sub(r"^([+-]?)0\.", r"\1.", f"{value:{sign}.3f}")
