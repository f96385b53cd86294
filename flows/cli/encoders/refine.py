"""`evenly refine`: heads on a recipe's encoder, trained on its latest build, with what they changed."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import AsJson, Root, print_result, print_text


def refine_command(
    recipe: Annotated[Path, typer.Argument(help="A recipe; its latest build is used.")],
    root: Root = None,
    as_json: AsJson = False,
    objective: Annotated[
        str, typer.Option(help="What is trained for, and after a comma how negatives are chosen: contrastive,unime.")
    ] = "contrastive",
    epochs: Annotated[int | None, typer.Option(min=1, help="How often all pairs are gone through.")] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="Columns of the heads' inner layer.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="Pairs that are set against each other.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At the start; it falls to 0.")] = None,
    margin: Annotated[float, typer.Option(help="How far zero-shot accuracy on val may fall, 0 to 1.")] = 0.01,
    experts: Annotated[int, typer.Option(min=1, max=64, help="Heads with a router, which share the rank.")] = 1,
    towers: Annotated[
        int, typer.Option(min=0, max=256, help="Train the last blocks of both towers instead of heads; wants a GPU.")
    ] = 0,
    plan: Annotated[bool, typer.Option("--plan", help="Say what it would take, by two steps; keep nothing.")] = False,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a refined encoder of this name.")] = False,
    out: Annotated[str, typer.Option(help="The name of the refined encoder, for `features: {refine: NAME}`.")],
) -> None:
    """Refine the encoder of a recipe on the pairs of its latest build, and say what that changed on pairs held out.

    Example: evenly refine recipes/demo.yaml --objective contrastive --out demo-refined

    Example: evenly refine birds.yaml --towers 1 --batch-size 256 --out birds-tower
    """
    from dataclasses import asdict

    from pydantic import TypeAdapter, ValidationError

    from evenly.features.refining.objectives import check_objective
    from evenly.features.refining.training import TOWER_RULE, TrainingRule, check_trained
    from evenly.flows.process.prefect_api import prefect_api
    from evenly.flows.recipe import read_recipe
    from evenly.flows.refine_encoder import open_refining, refine_encoder
    from evenly.storage.builds import open_build
    from evenly.storage.ledger import Ledger
    from evenly.tasks.refining.plan import plan_refining

    loss, _, sampler = objective.partition(",")
    try:
        check_objective(loss, sampler or None)
    except ValueError as error:
        raise UsageError(f"`--objective`: {error}.") from None
    given = {"epochs": epochs, "rank": rank, "batch_size": batch_size, "learning_rate": learning_rate}
    try:
        training = TypeAdapter(TrainingRule).validate_python(
            asdict(TOWER_RULE if towers else TrainingRule())
            | {name: value for name, value in given.items() if value is not None}
        )
    except ValidationError as error:
        (first, *_) = error.errors()
        name = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"`--{name}`: {first['msg']}; got `{first['input']}`.") from None
    try:
        check_trained(experts, towers, training.rank)
    except ValueError as error:
        raise UsageError(f"`--experts`: {error}.") from None
    workspace, manifest = open_build(f"{read_recipe(recipe).name}-latest", root=root)
    fields: dict[str, Any] = {"training": training, "margin": margin, "experts": experts, "towers": towers}
    given_build: dict[str, Any] = {"build": str(manifest["build"]), "root": str(workspace.root)}
    if plan:
        planned = plan_refining(*open_refining(str(recipe), objective, fields, **given_build)).facts()
        print_result(planned, lambda: _print_plan(planned), as_json=as_json)
        return
    with prefect_api():
        key = refine_encoder(recipe=str(recipe), name=out, objective=objective, **fields, **given_build, force=force)
    ledger = Ledger(workspace)
    record = ledger.get(key)
    result = {
        "name": out,
        "build": manifest["build"],
        **record.notes,
        "measures": ledger.table(record, "measures").to_pylist(),
        "choice": ledger.table(record, "choice").to_pylist(),
    }
    print_result(result, lambda: _print_refined(result), as_json=as_json)


def _print_plan(plan: dict[str, Any]) -> None:
    pairs = ", ".join(f"{plan[f'{part}_pairs']:,} {part}" for part in ("train", "val", "test"))
    print_text(
        f"{pairs} pairs; {plan['parameters']:,} parameters, {plan['steps']:,} steps of {plan['step_s']:.2f} s, val of "
        f"{plan['val_s']:.2f} s four times an epoch: about {plan['total_s'] / 60:.1f} minutes"
    )


def _print_refined(result: dict[str, Any]) -> None:
    print_text(f"{result['name']}: test pairs of {result['build']}; before, after, difference with its 95 % interval")
    measures = result["measures"]
    width = max((len(row["measure"]) for row in measures), default=0)
    for of in dict.fromkeys(row["of"] for row in measures):
        print_text(of)
        for row in (row for row in measures if row["of"] == of):
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
