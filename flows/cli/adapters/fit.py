"""Commands about adapters: fit, predict, leaderboard, export-adapter."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from evenly.flows.cli.adapters.fit_tables import print_chosen, print_fit, print_ranking
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import (
    AsJson,
    CommandOptions,
    print_facts,
    print_result,
    print_rows,
    print_text,
    with_interval,
)
from evenly.signatures import Place, taking

Recipe = Annotated[Path, typer.Argument(help="A recipe; its latest build is used.")]
OptionalRecipe = Annotated[Path | None, typer.Argument(help="A recipe; its latest build is used.")]
Arrays = Annotated[Path | None, typer.Option(help="An .npz of features instead of a recipe; see docs/adapters.md.")]
Parameters = Annotated[list[str] | None, typer.Option("--param", help="name=value, not searched; may be repeated.")]
Out = Annotated[Path | None, typer.Option(help="The folder to write to.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what stands under this name and was made otherwise.")]
LISTS = ("top", "explanation")  # of a prediction's columns, those that no line of a table holds
MOST_EXPLAINED = 10
Normalise = Annotated[bool, typer.Option("--normalise", help="Scale the rows of --arrays to unit length.")]


@dataclass(frozen=True, kw_only=True)
class FitOptions(CommandOptions):
    """Options of `evenly fit`."""

    arrays: Arrays = None
    adapter: Annotated[str | None, typer.Option(help="With --arrays: the adapter's name.")] = None
    parameter: Parameters = None
    out: Out = None
    normalise: Normalise = False
    guard: Annotated[
        bool | None,
        typer.Option(
            "--guard/--no-guard",
            help="With --arrays: keep zero-shot where validation shows no gain; by default, unless --param gives all "
            "that would be searched.",
        ),
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="With --arrays: of training and of intervals.")] = 0
    force: Force = False


@taking(FitOptions)
def fit_command(recipe: OptionalRecipe, options: FitOptions) -> None:
    """Fit the adapters of a recipe on its latest build, or one adapter on your own features; chosen on validation data.

    Example: evenly fit recipes/demo.yaml

    Example: evenly fit --arrays features.npz --adapter gda --param precision_scale=published --out fitted

    Example: evenly fit --arrays ages.npz --adapter ranking --out fitted
    """
    if (recipe is None) == (options.arrays is None):
        raise UsageError("`fit` must get a recipe or `--arrays`, one of the two. Example: evenly fit recipes/demo.yaml")
    if recipe is not None:
        if any(
            (
                options.adapter,
                options.parameter,
                options.out,
                options.normalise,
                options.force,
                options.guard is not None,
            )
        ):
            raise UsageError(
                "`fit RECIPE` must go without `--adapter`, `--param`, `--out`, `--normalise`, `--guard` and `--force`, "
                "which are for `--arrays`. Name adapters in the recipe."
            )
        _fit_recipe(recipe, options.root, as_json=options.as_json)
        return
    if options.arrays is None or options.adapter is None or options.out is None:
        raise UsageError("`fit --arrays` must get `--adapter NAME` and `--out DIR` as well. Add what is missing.")
    settings: dict[str, Any] = {
        "out": options.out,
        "parameters": options.parameter or (),
        "normalise": options.normalise,
        "guard": options.guard,
        "seed": options.seed,
        "force": options.force,
    }
    if options.adapter.lower() == "ranking":
        from evenly.flows.cli.adapters.own_features.ranking import fit_ranking_file

        result, show = fit_ranking_file(options.arrays, **settings), print_ranking
    else:
        from evenly.flows.cli.adapters.own_features.fit import fit_array_file

        result, show = fit_array_file(options.arrays, adapter=options.adapter, **settings), print_fit
    print_result(result, lambda: show(result), as_json=options.as_json)


def _fit_recipe(recipe: Place, root: Place | None, *, as_json: bool) -> None:
    from evenly.flows.cli.datasets.outcome import fit_latest

    rows = fit_latest(recipe, root=root)
    print_result({"adapters": rows}, lambda: print_chosen(rows), as_json=as_json)


@dataclass(frozen=True, kw_only=True)
class PredictOptions(CommandOptions):
    """Options of `evenly predict`."""

    out: Annotated[Path | None, typer.Option(help="Write the rows as .csv, .jsonl or .parquet.")] = None
    top: Annotated[int, typer.Option(min=1, help="How many classes to give per picture.")] = 5
    column: Annotated[str | None, typer.Option(help="The column of a Parquet file that holds the pictures.")] = None
    explain: Annotated[
        bool, typer.Option("--explain", help="Of vcd: the descriptions that made the class, and the runner-up's.")
    ] = False


@taking(PredictOptions)
def predict_command(
    adapter: Annotated[Path, typer.Argument(help="The card of a saved adapter (.json), as `evenly fit` prints it.")],
    images: Annotated[Path, typer.Argument(help="A folder of pictures, one picture, or a Parquet file of them.")],
    options: PredictOptions,
) -> None:
    """Classify or order pictures by a saved adapter; a picture that cannot be read has a row that says why.

    Example: evenly predict .evenly/adapters/BUILD/demo_classes/gda-names.json holiday/ --out predictions.csv

    Example: evenly predict .evenly/adapters/BUILD/demo_classes/vcd-names.json holiday/ --explain
    """
    from evenly.flows.cli.adapters.predict import confidence_note, predict_pictures

    rows = predict_pictures(
        adapter,
        images,
        top=options.top,
        out=options.out,
        column=options.column,
        root=options.root,
        explain=options.explain,
    )
    note = confidence_note(adapter)

    def table() -> None:
        shown = [{name: value for name, value in row.items() if name not in LISTS} for row in rows[:50]]
        print_rows("predictions", shown)
        for row in rows[:MOST_EXPLAINED] if options.explain else ():
            if row["explanation"]:
                columns = ("side", "class", "similarity", "text")
                print_rows(
                    f"why {row['name']}", [{name: text[name] for name in columns} for text in row["explanation"]]
                )
        if note:
            print_text(note)
        if failed := sum(bool(row["error"]) for row in rows):
            print_text(f"{failed:,} of {len(rows):,} pictures could not be read")
        if len(rows) > len(shown):
            print_text(f"and {len(rows) - 50:,} more: `--json` or `--out` give them all")
        if options.out is not None:
            print_text(f"{len(rows):,} rows written to {options.out}")

    print_result({"predictions": rows, "note": note}, table, as_json=options.as_json)


@dataclass(frozen=True, kw_only=True)
class LeaderboardOptions(CommandOptions):
    """Options of `evenly leaderboard`."""

    arrays: Arrays = None
    adapter: Annotated[list[str] | None, typer.Option("--adapter", help="Only these; may be repeated.")] = None
    shots: Annotated[str, typer.Option(help="Images per class, separated by commas.")] = "1,2,4,8,16"
    seeds: Annotated[str, typer.Option(help="Seeds of the draws, separated by commas.")] = "1,2,3"
    validation: Annotated[str, typer.Option(help="coop: min(shots, 4) rows per class; full: all.")] = "coop"
    out: Out = None
    workers: Annotated[int | None, typer.Option(min=1, help="Default: one per processor.")] = None
    encoder: Annotated[
        list[str] | None,
        typer.Option("--encoder", help='Compare encoders by retrieval: "MODEL WEIGHTS PRECISION"; may be repeated.'),
    ] = None
    pairs: Annotated[int, typer.Option(min=2, help="With --encoder: how many kept pairs.")] = 5000
    part: Annotated[str | None, typer.Option(help="With --encoder: train, val or test of each class list.")] = None
    normalise: Normalise = False
    guard: Annotated[bool, typer.Option(help="Keep zero-shot where validation shows no gain.")] = True


@taking(LeaderboardOptions)
def leaderboard_command(recipe: OptionalRecipe, options: LeaderboardOptions) -> None:
    """Compare adapters over shots and seeds, or encoders: a table and a plot, with intervals. It can go on later.

    Example: evenly leaderboard recipes/demo.yaml --shots 1,4,16 --out board

    Example: evenly leaderboard recipes/demo.yaml --encoder embedded --encoder "ViT-B-32 openai bf16"
    """
    if (recipe is None) == (options.arrays is None):
        raise UsageError("`leaderboard` must get a recipe or `--arrays`, one of the two. Example: --arrays digits.npz")
    if options.encoder:
        from evenly.flows.cli.adapters.retrieval import encoder_leaderboard, print_encoders

        if recipe is None:
            raise UsageError("`--encoder` must stand with a recipe, whose pictures are encoded; got `--arrays`.")
        compared = encoder_leaderboard(
            recipe, options.encoder, pairs=options.pairs, part=options.part, out=options.out, root=options.root
        )
        print_result(compared, lambda: print_encoders(compared), as_json=options.as_json)
        return
    from evenly.adapters import ADAPTERS
    from evenly.adapters.evaluation.protocols.leaderboard import LeaderboardPlan
    from evenly.flows.cli.adapters.leaderboard import array_leaderboard, recipe_leaderboards

    plan = LeaderboardPlan(
        adapters=tuple(options.adapter or ADAPTERS),
        shots=_numbers("shots", options.shots),
        seeds=_numbers("seeds", options.seeds),
        validation="full" if options.validation == "full" else "coop",
        guard=options.guard,
    )
    processes = options.workers or os.cpu_count() or 1
    if options.validation not in ("coop", "full"):
        raise UsageError(f"`--validation` must be coop or full; got `{options.validation}`. Choose one.")
    if recipe is not None:
        boards = recipe_leaderboards(recipe, plan, workers=processes, out=options.out, root=options.root)
    elif options.arrays is not None:
        target = options.out or options.arrays.with_name(f"{options.arrays.stem}-leaderboard")
        boards = [
            array_leaderboard(
                options.arrays, plan, workers=processes, out=target, normalise=options.normalise, root=options.root
            )
        ]

    def table() -> None:
        for board in boards:
            _print_board(board)

    print_result({"leaderboards": boards}, table, as_json=options.as_json)


def _print_board(board: dict[str, Any]) -> None:
    rows = [
        {
            **{name: row[name] for name in ("name", "texts", "shots")},
            "accuracy": with_interval(row["accuracy"], row["low"], row["high"]),
            "against zero-shot": with_interval(
                row["difference"], row["difference_low"], row["difference_high"], sign="+"
            ),
        }
        for row in board["summary"]
    ]
    print_rows(board["title"], rows)
    for remedy in dict.fromkeys(row["remedy"] for row in board["skipped"]):
        rows = [row for row in board["skipped"] if row["remedy"] == remedy]
        reasons = {f": {row['reason']}" for row in rows} if not remedy else {f", for which {remedy}"}
        names = ", ".join(dict.fromkeys(row["name"] for row in rows))
        print_text(f"skipped: {names}{'; '.join(sorted(reasons))}")
    for note in board["notes"]:
        print_text(note)
    print_text(
        f"below zero-shot: {board['below_zero_shot_on_validation']} of {len(board['summary'])} rows on validation, "
        f"{board['below_zero_shot_on_test']} on test, {board['surely_below_zero_shot_on_test']} of these with the "
        "whole interval below"
    )
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
    out: Annotated[Path, typer.Option(help="The file to write: .onnx, or .npz with W (c, d) and b (c,).")],
    as_json: AsJson = False,
) -> None:
    """Write an adapter whose logits are W x + b for other programs: as ONNX, or as plain arrays.

    Example: evenly export-adapter fitted --out classifier.onnx
    """
    from evenly.flows.cli.adapters.export import export_adapter as export

    result = export(adapter, out)
    print_result(result, lambda: print_facts(result), as_json=as_json)


COMMANDS: dict[str, Callable[..., None]] = {
    "fit": fit_command,
    "predict": predict_command,
    "leaderboard": leaderboard_command,
    "export-adapter": export_adapter_command,
}
