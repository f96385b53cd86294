"""Commands about adapters: fit, predict, leaderboard, export-adapter."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli_errors import UsageError
from flows.cli_output import AsJson, Root, print_json, print_rows, print_text

Recipe = Annotated[Path, typer.Argument(help="A recipe; its latest build is used.")]
OptionalRecipe = Annotated[Path | None, typer.Argument(help="A recipe; its latest build is used.")]
Arrays = Annotated[Path | None, typer.Option(help="An .npz of features instead of a recipe; see docs/adapters.md.")]
Parameters = Annotated[list[str] | None, typer.Option("--param", help="name=value, not searched; may be repeated.")]
Out = Annotated[Path | None, typer.Option(help="The folder to write to.")]
Normalise = Annotated[bool, typer.Option("--normalise", help="Scale the rows of --arrays to unit length.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (fit, predict, leaderboard, export_adapter):
        app.command()(command)


def fit(
    recipe: OptionalRecipe = None,
    root: Root = None,
    as_json: AsJson = False,
    arrays: Arrays = None,
    adapter: Annotated[str | None, typer.Option(help="With --arrays: the adapter's name.")] = None,
    parameter: Parameters = None,
    out: Out = None,
    *,
    normalise: Normalise = False,
    guard: Annotated[bool, typer.Option(help="Keep zero-shot where validation shows no gain.")] = True,
    seed: Annotated[int, typer.Option(help="With --arrays: of training and of intervals.")] = 0,
) -> None:
    """Fit the adapters of a recipe on its latest build, or one adapter on your own features; chosen on validation data.

    Example: evenly fit recipes/demo.yaml

    Example: evenly fit --arrays features.npz --adapter gda --param precision_scale=published --out fitted
    """
    if (recipe is None) == (arrays is None):
        raise UsageError("`fit` must get a recipe or `--arrays`, one of the two. Example: evenly fit recipes/demo.yaml")
    if recipe is not None:
        _fit_recipe(recipe, root, as_json=as_json)
        return
    if arrays is None or adapter is None or out is None:
        raise UsageError("`fit --arrays` must get `--adapter NAME` and `--out DIR` as well. Add what is missing.")
    from flows.array_fitting import fit_array_file

    result = fit_array_file(
        arrays, adapter=adapter, out=out, parameters=parameter or (), normalise=normalise, guard=guard, seed=seed
    )
    if as_json:
        print_json(result)
        return
    _print_fit(result)


def _print_fit(result: dict[str, Any]) -> None:
    """What was chosen and how, the measures one below the other, and the scores of unseen pictures."""
    print_text(f"{result['adapter']}: {result['why']}")
    if result["fallback"]:
        print_text(f"fallback: {result['fallback']}")
    if result["chosen"]:
        print_rows("chosen on validation", [result["chosen"]])
    if result["metrics"]:
        print_rows("on test", _measures(result["metrics"]))
    told = [row for row in result["ood"] if not row["skipped"]]
    if len({row["set"] for row in told} - {"mean"}) < 2:
        told = [row for row in told if row["set"] != "mean"]
    if told:
        columns = [{"score": row["score"], "set": _set_of(row), **_intervals(row, ("auroc", "fpr95"))} for row in told]
        print_rows("test pictures against pictures of no class", columns)
    for row in result["ood"]:
        if row["skipped"]:
            print_text(f"skipped: {row['score']} needs {row['skipped']}")
    print_text(f"written to {result['out']}")


def _set_of(row: dict[str, Any]) -> str:
    return str(row["set"]) if row["set"] != "mean" else f"mean of {row['kind']}" if row["kind"] != "mean" else "mean"


def _measures(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per measure, its interval beside it."""
    intervals = {"accuracy": ("low", "high"), "difference": ("difference_low", "difference_high")}
    inside = {name for pair in intervals.values() for name in pair}
    return [
        {
            "measure": name,
            "value": value,
            "interval": _interval(*(metrics[end] for end in intervals[name])) if name in intervals else "",
        }
        for name, value in metrics.items()
        if name not in inside
    ]


def _intervals(row: dict[str, Any], names: Sequence[str]) -> dict[str, str]:
    return {name: f"{row[name]:.3f} {_interval(row[f'{name}_low'], row[f'{name}_high'])}" for name in names}


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"


def _fit_recipe(recipe: Path, root: Path | None, *, as_json: bool) -> None:
    from flows.outcome import fit_latest

    rows = fit_latest(recipe, root=root)
    if as_json:
        print_json({"adapters": rows})
    else:
        print_rows("chosen on validation", rows)


def predict(
    adapter: Annotated[Path, typer.Argument(help="The card of a saved adapter (.json), as `evenly fit` prints it.")],
    images: Annotated[Path, typer.Argument(help="A folder of pictures, one picture, or a Parquet file of them.")],
    out: Annotated[Path | None, typer.Option(help="Write the rows as .csv, .jsonl or .parquet.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to give per picture.")] = 5,
    column: Annotated[str | None, typer.Option(help="The column of a Parquet file that holds the pictures.")] = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Classify pictures by a saved adapter; a picture that cannot be read has a row that says why.

    Example: evenly predict .evenly/adapters/BUILD/demo_classes/gda-names.json holiday/ --out predictions.csv
    """
    from flows.predicting import predict_pictures

    rows = predict_pictures(adapter, images, top=top, out=out, column=column, root=root)
    if as_json:
        print_json({"predictions": rows})
        return
    shown = [{name: row[name] for name in ("name", "class", "confidence", "error")} for row in rows]
    print_rows("predictions", shown[:50])
    if len(rows) > len(shown[:50]):
        print_text(f"and {len(rows) - 50:,} more: `--json` or `--out` give them all")
    if out is not None:
        print_text(f"{len(rows):,} rows written to {out}")


def leaderboard(
    recipe: OptionalRecipe = None,
    root: Root = None,
    as_json: AsJson = False,
    arrays: Arrays = None,
    adapter: Annotated[list[str] | None, typer.Option("--adapter", help="Only these; may be repeated.")] = None,
    shots: Annotated[str, typer.Option(help="Images per class, separated by commas.")] = "1,2,4,8,16",
    seeds: Annotated[str, typer.Option(help="Seeds of the draws, separated by commas.")] = "1,2,3",
    validation: Annotated[str, typer.Option(help="coop: min(shots, 4) rows per class; full: all.")] = "coop",
    out: Out = None,
    processes: Annotated[int | None, typer.Option(min=1, help="Default: one per processor.")] = None,
    *,
    normalise: Normalise = False,
    guard: Annotated[bool, typer.Option(help="Keep zero-shot where validation shows no gain.")] = True,
) -> None:
    """Compare adapters over shots and seeds: a table and a plot, with intervals. An interrupted one goes on.

    Example: evenly leaderboard recipes/demo.yaml --shots 1,4,16 --out board
    """
    if (recipe is None) == (arrays is None):
        raise UsageError("`leaderboard` must get a recipe or `--arrays`, one of the two. Example: --arrays digits.npz")
    from adapters import ADAPTERS
    from flows.leaderboards import Contest, array_leaderboard, recipe_leaderboards

    contest = Contest(
        adapters=tuple(adapter or ADAPTERS),
        shots=_numbers("shots", shots),
        seeds=_numbers("seeds", seeds),
        validation="full" if validation == "full" else "coop",
        guard=guard,
        processes=processes or os.cpu_count() or 1,
    )
    if validation not in ("coop", "full"):
        raise UsageError(f"`--validation` must be coop or full; got `{validation}`. Choose one.")
    if recipe is not None:
        boards = recipe_leaderboards(recipe, contest, out=out, root=root)
    elif arrays is not None:
        target = out or arrays.with_name(f"{arrays.stem}-leaderboard")
        boards = [array_leaderboard(arrays, contest, out=target, normalise=normalise, root=root)]
    if as_json:
        print_json({"leaderboards": boards})
        return
    for board in boards:
        _print_board(board)


def _print_board(board: dict[str, Any]) -> None:
    rows = [
        {
            **{name: row[name] for name in ("name", "texts", "shots")},
            "accuracy": f"{row['accuracy']:.3f} {_interval(row['low'], row['high'])}",
            "against zero-shot": f"{row['difference']:+.3f} {_interval(row['difference_low'], row['difference_high'])}",
        }
        for row in board["summary"]
    ]
    print_rows(board["title"], rows)
    for row in board["skipped"]:
        print_text(f"skipped: {row['name']} with {row['texts']}: {row['reason']}")
    for note in board["notes"]:
        print_text(note)
    print_text(f"below zero-shot on validation: {board['below_zero_shot_on_validation']}")
    print_text(f"table and plot in {board['out']}")


def _numbers(name: str, text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(one) for one in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise UsageError(f"`--{name}` must be whole numbers from 1, separated by commas; got `{text}`. Correct it.")
    return numbers


def export_adapter(
    adapter: Annotated[Path, typer.Argument(help="The card of a saved adapter, or the folder of `fit --arrays`.")],
    out: Annotated[Path, typer.Option(help="The file to write: .onnx, or .npz with W (c, d) and b (c,).")],
    as_json: AsJson = False,
) -> None:
    """Write an adapter whose logits are W x + b for other programs: as ONNX, or as plain arrays.

    Example: evenly export-adapter fitted --out classifier.onnx
    """
    from flows.predicting import export_adapter as export

    result = export(adapter, out)
    if as_json:
        print_json(result)
    else:
        print_rows("exported", [result])
