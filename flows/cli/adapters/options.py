"""Options of commands about adapters, which the module that does the work reads too."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from evenly.signatures import InWorkspace

Recipe = Annotated[Path, typer.Argument(help="A recipe; its latest build is used.")]
OptionalRecipe = Annotated[Path | None, typer.Argument(help="A recipe; its latest build is used.")]
Arrays = Annotated[Path | None, typer.Option(help="An .npz of features instead of a recipe; see docs/adapters.md.")]
Out = Annotated[Path | None, typer.Option(help="The folder to write to.")]
Normalise = Annotated[bool, typer.Option("--normalise", help="Scale the rows of --arrays to unit length.")]
Guard = Annotated[bool, typer.Option(help="Keep zero-shot where validation shows no gain.")]


@dataclass(frozen=True, kw_only=True)
class FitOptions(InWorkspace):
    """Options of `evenly fit`."""

    arrays: Arrays = None
    adapter: Annotated[str | None, typer.Option(help="With --arrays: the adapter's name.")] = None
    parameter: Annotated[
        list[str] | None, typer.Option("--param", help="name=value, not searched; may be repeated.")
    ] = None
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
    force: Annotated[
        bool, typer.Option("--force", help="Replace what stands under this name and was made otherwise.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class PredictOptions(InWorkspace):
    """Options of `evenly predict`."""

    out: Annotated[Path | None, typer.Option(help="Write the rows as .csv, .jsonl or .parquet.")] = None
    top: Annotated[int, typer.Option(min=1, help="How many classes to give per picture.")] = 5
    column: Annotated[str | None, typer.Option(help="The column of a Parquet file that holds the pictures.")] = None
    explain: Annotated[
        bool, typer.Option("--explain", help="Of vcd: the descriptions that made the class, and the runner-up's.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class LeaderboardOptions(InWorkspace):
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
    guard: Guard = True


@dataclass(frozen=True, kw_only=True)
class ExtractOptions(InWorkspace):
    """Options of `evenly extract`."""

    images: Annotated[Path | None, typer.Option(help="A folder <class>/<picture> instead of a recipe.")] = None
    out: Annotated[Path | None, typer.Option(help="The .npz of features to write; --images needs it.")] = None
    split: Annotated[Path | None, typer.Option(help="With --images: a split file, CoOp's JSON or a table.")] = None
    classes: Annotated[Path | None, typer.Option(help="With --images: a class list; else the folders, sorted.")] = None
    template: Annotated[list[str] | None, typer.Option(help="With --images: text of a class, {} its name.")] = None
    model: Annotated[str, typer.Option(help="With --images: `embedded`, or an open_clip model.")] = "embedded"
    pretrained: Annotated[str | None, typer.Option(help="With --images: the weights of the model.")] = None
    second: Annotated[str | None, typer.Option(help="With --images: a second backbone, `embedded` or a model.")] = None
    second_pretrained: Annotated[str | None, typer.Option(help="With --second: its weights.")] = None
    seed: Annotated[int, typer.Option(help="With --images: of the split.")] = 0
    class_list: Annotated[
        str | None, typer.Option("--list", help="With a recipe of several class lists: the one whose file is written.")
    ] = None
    profile: Annotated[bool, typer.Option(help="Encode in one process and say what limits it: decoding, ...")] = False
