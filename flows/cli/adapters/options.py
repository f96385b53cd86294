"""Options of commands about adapters, which the module that does the work reads too."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from annotated_types import Ge

from evenly.signatures import InWorkspace, Named

OptionalRecipe = Annotated[Path | None, typer.Argument(help="A recipe; its latest build is used.")]
Arrays = Annotated[Path | None, "An .npz of features instead of a recipe; see docs/adapters.md."]
Out = Annotated[Path | None, "The folder to write to."]
Normalise = Annotated[bool, Named("--normalise"), "Scale the rows of --arrays to unit length."]
NormaliseRows = Annotated[bool, Named("--normalise"), "Scale the rows to unit length."]
Guard = Annotated[bool, "Keep zero-shot where validation shows no gain."]


@dataclass(frozen=True, kw_only=True)
class FitOptions(InWorkspace):
    """Options of `evenly fit`."""

    arrays: Arrays = None
    adapter: Annotated[str | None, "With --arrays: the adapter's name."] = None
    parameter: Annotated[list[str] | None, Named("--param"), "name=value, not searched; may be repeated."] = None
    out: Out = None
    normalise: Normalise = False
    guard: Annotated[
        bool | None,
        Named("--guard/--no-guard"),
        "With --arrays: keep zero-shot where validation shows no gain; by default, unless --param gives all "
        "that would be searched.",
    ] = None
    seed: Annotated[int, Ge(0), "With --arrays: of training and of intervals."] = 0
    force: Annotated[bool, Named("--force"), "Replace what stands under this name and was made otherwise."] = False


@dataclass(frozen=True, kw_only=True)
class PredictOptions(InWorkspace):
    """Options of `evenly predict`."""

    out: Annotated[Path | None, "Write the rows as .csv, .jsonl or .parquet."] = None
    top: Annotated[int, Ge(1), "How many classes to give per picture."] = 5
    column: Annotated[str | None, "The column of a Parquet file that holds the pictures."] = None
    explain: Annotated[
        bool, Named("--explain"), "Of vcd: the descriptions that made the class, and the runner-up's."
    ] = False


@dataclass(frozen=True, kw_only=True)
class LeaderboardOptions(InWorkspace):
    """Options of `evenly leaderboard`."""

    arrays: Arrays = None
    adapter: Annotated[list[str] | None, "Only these; may be repeated. Default: all but those that learn prompts."] = (
        None
    )
    shots: Annotated[str, "Images per class, separated by commas."] = "1,2,4,8,16"
    seeds: Annotated[str, "Seeds of the draws, separated by commas."] = "1,2,3"
    validation: Annotated[str, "coop: min(shots, 4) rows per class; full: all."] = "coop"
    out: Out = None
    workers: Annotated[int | None, Ge(1), "Default: one per processor."] = None
    encoder: Annotated[
        list[str] | None, 'Compare encoders by retrieval: "MODEL WEIGHTS PRECISION"; may be repeated.'
    ] = None
    pairs: Annotated[int, Ge(2), "With --encoder: how many kept pairs."] = 5000
    part: Annotated[str | None, "With --encoder: train, val or test of each class list."] = None
    normalise: Normalise = False
    guard: Guard = True


@dataclass(frozen=True, kw_only=True)
class BaseToNewOptions(InWorkspace):
    """Options of `evenly base-to-new`."""

    adapter: Annotated[str, "The adapter's name."] = "gda_base_to_new"
    parameter: Annotated[list[str] | None, Named("--param"), "name=value; may be repeated."] = None
    normalise: NormaliseRows = False
    guard: Guard = True


@dataclass(frozen=True, kw_only=True)
class SessionsOptions(InWorkspace):
    """Options of `evenly sessions`."""

    first: Annotated[int, Ge(1), "Classes of the first session."] = 60
    step: Annotated[int, Ge(1), "Classes of each later one."] = 5
    adapter: Annotated[str, "gda_incremental, or cpe, which learns prompts."] = "gda_incremental"
    parameter: Annotated[list[str] | None, Named("--param"), "name=value of the adapter; may be repeated."] = None
    against: Annotated[str | None, "Another one in the same sessions, and the gain over it."] = None
    alpha: Annotated[float, Ge(0), "Weight of the evidence of gda_incremental; not searched."] = 1.0
    normalise: NormaliseRows = False


@dataclass(frozen=True, kw_only=True)
class ExtractOptions(InWorkspace):
    """Options of `evenly extract`."""

    images: Annotated[Path | None, "A folder <class>/<picture> instead of a recipe."] = None
    out: Annotated[Path | None, "The .npz of features to write; --images needs it."] = None
    split: Annotated[Path | None, "With --images: a split file, CoOp's JSON or a table."] = None
    classes: Annotated[Path | None, "With --images: a class list; else the folders, sorted."] = None
    template: Annotated[list[str] | None, "With --images: text of a class, {} its name."] = None
    model: Annotated[str, "With --images: `embedded`, or an open_clip model."] = "embedded"
    pretrained: Annotated[str | None, "With --images: the weights of the model."] = None
    second: Annotated[str | None, "With --images: a second backbone, `embedded` or a model."] = None
    second_pretrained: Annotated[str | None, "With --second: its weights."] = None
    seed: Annotated[int, "With --images: of the split."] = 0
    class_list: Annotated[
        str | None, Named("--list"), "With a recipe of several class lists: the one whose file is written."
    ] = None
    profile: Annotated[bool, "Encode in one process and say what limits it: decoding, ..."] = False
