"""Commands about adapters: fit, predict, leaderboard, export-adapter."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from evenly.flows.cli.adapters.options import FitOptions, LeaderboardOptions, OptionalRecipe, PredictOptions
from evenly.flows.cli.command import typed
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import Columns, Row, interval, print_facts, print_rows, print_test_losses, print_text
from evenly.signatures import taking

LISTS = ("top", "explanation")  # of a prediction's columns, those that no line of a table holds
MOST_EXPLAINED = 10


@taking(FitOptions)
def fit_command(recipe: OptionalRecipe, options: FitOptions) -> dict[str, Any]:
    """Fit the adapters of a recipe on its latest build, or one adapter on your own features; chosen on validation data.

    Example: evenly fit recipes/demo.yaml

    Example: evenly fit --arrays features.npz --adapter gda --param precision_scale=published --out fitted

    Example: evenly fit --arrays ages.npz --adapter ranking --out fitted
    """
    if (recipe is None) == (options.arrays is None):
        raise UsageError("`fit` must get a recipe or `--arrays`, one of the two. Example: evenly fit recipes/demo.yaml")
    if recipe is not None:
        if replace(options, root=None, seed=0) != FitOptions():
            raise UsageError(
                "`fit RECIPE` must go without `--adapter`, `--param`, `--out`, `--normalise`, `--guard` and `--force`, "
                "which are for `--arrays`. Name adapters in the recipe."
            )
        from evenly.adapters.evaluation.tables import lost_on_test
        from evenly.flows.cli.datasets.outcome import fit_latest

        fitted = fit_latest(recipe, root=options.root)
        return {"adapters": fitted, "lost_on_test": lost_on_test(fitted)}
    if options.arrays is None or options.adapter is None or options.out is None:
        raise UsageError("`fit --arrays` must get `--adapter NAME` and `--out DIR` as well. Add what is missing.")
    if options.adapter.lower() == "ranking":
        from evenly.flows.cli.adapters.own_features.fit import fit_ranking_file

        return fit_ranking_file(options.arrays, options.out, options)
    from evenly.flows.cli.adapters.own_features.fit import fit_array_file

    return fit_array_file(options.arrays, options.adapter, options.out, options)


def _print_fitted(result: dict[str, Any]) -> None:
    if "adapters" in result:
        print_chosen(result["adapters"])
        return
    _print_choice(result)
    unseen = result.get("ood", ())
    rows = [row for row in unseen if not row["skipped"]]
    if len({row["set"] for row in rows} - {"mean"}) < 2:
        rows = [row for row in rows if row["set"] != "mean"]
    if rows:
        measures = {name: interval(name) for name in ("auroc", "fpr95")}
        columns: Columns = {"score": "score", "of": "classifier", "set": _set, **measures}
        print_rows("test pictures against pictures of no class", rows, columns)
    for row in unseen:
        if row["skipped"]:
            print_text(f"skipped: {row['score']} needs {row['skipped']}")
    print_text(f"written to {result['out']}")


@taking(PredictOptions)
def predict_command(
    adapter: Annotated[Path, typer.Argument(help="The card of a saved adapter (.json), as `evenly fit` prints it.")],
    images: Annotated[Path, typer.Argument(help="A folder of pictures, one picture, or a Parquet file of them.")],
    options: PredictOptions,
) -> dict[str, Any]:
    """Classify or order pictures by a saved adapter; a picture that cannot be read has a row that says why.

    Example: evenly predict .evenly/adapters/BUILD/demo_classes/gda-names.json holiday/ --out predictions.csv

    Example: evenly predict .evenly/adapters/BUILD/demo_classes/vcd-names.json holiday/ --explain
    """
    from evenly.flows.cli.adapters.predict import confidence_note, predict_pictures

    return {"predictions": predict_pictures(adapter, images, options), "note": confidence_note(adapter)}


def _print_predictions(result: dict[str, Any], *, explain: bool, out: Path | None) -> None:
    rows, note = result["predictions"], result["note"]
    shown = [{name: value for name, value in row.items() if name not in LISTS} for row in rows[:50]]
    print_rows("predictions", shown)
    for row in rows[:MOST_EXPLAINED] if explain else ():
        if row["explanation"]:
            print_rows(f"why {row['name']}", row["explanation"], ("side", "class", "similarity", "text"))
    if note:
        print_text(note)
    if failed := sum(bool(row["error"]) for row in rows):
        print_text(f"{failed:,} of {len(rows):,} pictures could not be read")
    if len(rows) > len(shown):
        print_text(f"and {len(rows) - 50:,} more: `--json` or `--out` give them all")
    if out is not None:
        print_text(f"{len(rows):,} rows written to {out}")


@taking(LeaderboardOptions)
def leaderboard_command(recipe: OptionalRecipe, options: LeaderboardOptions) -> dict[str, Any]:
    """Compare adapters over shots and seeds, or encoders: a table and a plot, with intervals. It can go on later.

    Example: evenly leaderboard recipes/demo.yaml --shots 1,4,16 --out board

    Example: evenly leaderboard recipes/demo.yaml --encoder embedded --encoder "ViT-B-32 openai bf16"
    """
    if (recipe is None) == (options.arrays is None):
        raise UsageError("`leaderboard` must get a recipe or `--arrays`, one of the two. Example: --arrays digits.npz")
    if options.encoder:
        from evenly.flows.cli.adapters.retrieval import encoder_leaderboard

        if recipe is None:
            raise UsageError("`--encoder` must stand with a recipe, whose pictures are encoded; got `--arrays`.")
        return encoder_leaderboard(recipe, options.encoder, options)
    from evenly.adapters import ADAPTERS
    from evenly.adapters.evaluation.protocols.leaderboard import LeaderboardPlan
    from evenly.flows.cli.adapters.leaderboard import array_leaderboard, recipe_leaderboards

    left_out = [] if options.adapter else [name for name, kind in ADAPTERS.items() if "tower" in kind.needs]
    plan = LeaderboardPlan(
        adapters=tuple(options.adapter or [name for name in ADAPTERS if name not in left_out]),
        shots=_numbers("shots", options.shots),
        seeds=_numbers("seeds", options.seeds),
        validation="full" if options.validation == "full" else "coop",
        guard=options.guard,
    )
    if options.validation not in ("coop", "full"):
        raise UsageError(f"`--validation` must be coop or full; got `{options.validation}`. Choose one.")
    boards = [] if options.arrays is None else [array_leaderboard(options.arrays, plan, options)]
    return {
        "leaderboards": boards if recipe is None else recipe_leaderboards(recipe, plan, options),
        "run_where_named": left_out,
    }


def _print_compared(result: dict[str, Any]) -> None:
    if "encoders" in result:
        from evenly.flows.cli.adapters.retrieval import print_encoders

        print_encoders(result)
    for board in result.get("leaderboards", ()):
        print_board(board)
    if result.get("run_where_named"):
        print_text(f"run where named, as a fit takes a minute: {', '.join(result['run_where_named'])} (--adapter)")


def print_board(board: Row) -> None:
    """Print a leaderboard with what was skipped, its notes and its foot."""
    columns: Columns = {
        **{name: name for name in ("name", "texts", "shots")},
        "accuracy": interval("accuracy"),
        "against zero-shot": interval("difference", sign="+"),
    }
    print_rows(board["title"], board["summary"], columns)
    for remedy in dict.fromkeys(row["remedy"] for row in board["skipped"]):
        rows = [row for row in board["skipped"] if row["remedy"] == remedy]
        reasons = {f": {row['reason']}" for row in rows} if not remedy else {f", for which {remedy}"}
        names = ", ".join(dict.fromkeys(row["name"] for row in rows))
        print_text(f"skipped: {names}{'; '.join(sorted(reasons))}")
    for note in board["notes"]:
        print_text(note)
    n_rows = len(board["summary"])
    print_text(f"below zero-shot on validation: {board['below_zero_shot_on_validation']} of {n_rows} rows")
    print_test_losses(board["summary"])
    print_text(f"table and plot in {board['out']}")


def _numbers(name: str, text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(number) for number in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise UsageError(f"`--{name}` must be whole numbers from 1, separated by commas; got `{text}`. Correct it.")
    return numbers


def export_adapter_command(
    adapter: Annotated[Path, typer.Argument(help="The card of a saved adapter, or the folder of `fit --arrays`.")],
    out: Annotated[Path, "The file to write: .onnx, or .npz with W (c, d) and b (c,)."],
) -> dict[str, Any]:
    """Write an adapter whose logits are W x + b for other programs: as ONNX, or as plain arrays.

    Example: evenly export-adapter fitted --out classifier.onnx
    """
    from evenly.flows.cli.adapters.predict import export_adapter as export

    return export(adapter, out)


def print_chosen(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print what validation chose for each class list, and the folder that holds its adapters."""
    for name in dict.fromkeys(row["list"] for row in rows):
        of_list = [row for row in rows if row["list"] == name]
        print_rows(f"{name}: chosen on {of_list[0]['validation_rows'] or 0:,} validation pictures", of_list, CHOSEN)
        print_test_losses(of_list)
        print_text(f"saved in {Path(of_list[0]['saved']).parent} as ADAPTER-TEXTS.json")


CHOSEN: Columns = {
    "adapter": "name",
    "texts": "texts",
    "chosen": "chosen",
    "on val": "validation_accuracy",
    "kept zero-shot, since": lambda row: row["why"] if row["kept_zero_shot"] else "",
}


def _print_choice(result: dict[str, Any]) -> None:
    """The choice and its reason, and the measures one below the other."""
    print_text(f"{result['adapter']}: {result['why']}")
    if result["fallback"]:
        print_text(f"fallback: {result['fallback']}")
    for note in result["notes"]:
        print_text(f"note: {note}")
    if result["chosen"]:
        print_text("chosen on validation")
        print_facts(result["chosen"])
    if metrics := result["metrics"]:
        measures = [name for name in metrics if not name.endswith(("low", "high")) and metrics[name] != ""]
        rows = [{"measure": name, "value": metrics[name], "interval": _ends(metrics, name)} for name in measures]
        print_rows("on test", rows)
        print_test_losses([{"name": result["adapter"], **metrics}])


def _ends(metrics: Row, measure: str) -> str:
    """`[low, high]` of a measure, or nothing where it has no interval."""
    prefix = "" if measure == "accuracy" else f"{measure}_"
    low, high = (metrics.get(f"{prefix}{end}") for end in ("low", "high"))
    return "" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"


def _set(row: Row) -> str:
    return str(row["set"]) if row["set"] != "mean" else f"mean of {row['kind']}" if row["kind"] != "mean" else "mean"


COMMANDS = {
    "fit": typed(fit_command, _print_fitted),
    "predict": typed(predict_command, _print_predictions),
    "leaderboard": typed(leaderboard_command, _print_compared),
    "export-adapter": typed(export_adapter_command),
}
