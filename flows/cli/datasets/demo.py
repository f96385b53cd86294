"""`evenly demo`: the whole job on the embedded default, or pictures alone to try things on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from evenly.flows.cli.command import typed
from evenly.flows.cli.errors import FINDING, UsageError
from evenly.flows.cli.output import print_adapters, print_funnel, print_rows, print_text
from evenly.options import Workers
from evenly.signatures import Named, Place, Root, taking


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Options of `evenly demo`. Each of the folders stands for a job of its own."""

    root: Root = None
    workers: Workers = None
    pictures: Annotated[Place | None, "Only draw a folder of labelled pictures with captions, to try recipes on."] = (
        None
    )
    scenes: Annotated[
        Place | None, "Only draw a folder of scenes, with the truth about each beside their captions."
    ] = None
    count: Annotated[int | None, Ge(1), "So many scenes; default: 1000."] = None
    planted: Annotated[Place | None, "Only draw a pool of known worth with its recipe, to try `tune` on."] = None
    ground: Annotated[Place | None, "Only make a proving ground, and an encoder that sees it: docs/ground.md."] = None
    hands: Annotated[str | None, "Who draws it beside OpenMoji: noto, twemoji, fluent; npm fetches them."] = None
    codes: Annotated[int | None, Ge(1), "About so many codes in the ground; default: all."] = None
    draw_only: Annotated[bool | None, Named("--draw-only"), "Draw the ground, and refine no encoder."] = None


_GOES_WITH: Mapping[str, Sequence[str]] = {
    "pictures": (),
    "planted": (),
    "scenes": ("count",),
    "ground": ("hands", "codes", "draw_only", "root"),
}
"""What draws a folder -> the options it takes, beside --json."""


@taking(DemoOptions)
def demo_command(options: DemoOptions) -> dict[str, Any]:
    """Run the whole job on the embedded default: a loopback web, a rebuild, descriptions, adapters, a report.

    Example: evenly demo

    Example: evenly demo --ground ~/.cache/evenly/ground --hands noto,twemoji,fluent
    """
    values = {field.name: value for field in fields(options) if (value := getattr(options, field.name)) is not None}
    job = next((name for name in _GOES_WITH if name in values), None)
    if job is not None:
        _check_alone(job, values)
        return _JOBS[job](Path(values.pop(job)), values)
    for name, further in _GOES_WITH.items():
        if stray := next((option for option in further if option in values and option != "root"), None):
            raise UsageError(
                f"`{_typed(stray)}` must come with --{name}; it came without. Name a folder, or leave it out."
            )
    from evenly.flows.cli.start.demo_job import run_demo

    return run_demo(root=options.root, workers=options.workers)


def _check_alone(job: str, values: Mapping[str, Any]) -> None:
    if values.keys() - {job, *_GOES_WITH[job]}:
        remedy = ", ".join(map(_typed, (*_GOES_WITH[job], "json")))
        raise UsageError(f"`--{job}` must come alone or with {remedy}: no job is run. Leave the others out.")


def _typed(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _print_demo(result: dict[str, Any]) -> None:
    if "folder" in result:
        _print_drawn(result)
        return
    from evenly.flows.recipe.files import DEMO

    print_funnel(result["funnel"])
    print_adapters(result["adapters"])
    print_rows("injected faults", result["truth"], ("fault", "injected", "judged", "found", "recall", "precision"))
    print_text(_caption_line(result["truth"]))
    uid = result["examples"]["dropped"]
    print_text(f"\nbuild   {result['build']}\nreport  {result['report']}\n\ntry next:")
    print_text(f"  evenly why {uid}\n  evenly card {result['build']}\n  evenly plan {_shown_path(DEMO)}")


def _caption_line(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line on how well the align score tells wrong captions from right ones."""
    row = next((row for row in rows if "auc" in row), None)
    if row is None:
        return ""
    over_all, over_objects = ("unknown" if row[name] is None else f"{row[name]:.3f}" for name in ("auc", "auc_object"))
    return (
        f"wrong captions by align score: AUC {over_all} over all {row['scored']:,}, "
        f"{over_objects} over the {row['scored_object']:,} whose head noun is an object"
    )


def _shown_path(path: Path) -> str:
    """A path as a command takes it here: relative below the working folder."""
    return str(path.resolve().relative_to(Path.cwd())) if path.resolve().is_relative_to(Path.cwd()) else str(path)


def _draw_pictures(folder: Path, _values: Mapping[str, Any]) -> dict[str, Any]:
    from evenly.demo.pictures.folder import make_picture_folder
    from evenly.tasks.progress import Progress

    with Progress().bar("drawing pictures", None) as advance:
        return {"folder": str(folder), "pictures": make_picture_folder(folder, progress=advance)}


def _draw_planted(folder: Path, _values: Mapping[str, Any]) -> dict[str, Any]:
    from evenly.demo.pictures.planted import PAIRS, make_planted_pool
    from evenly.tasks.progress import Progress

    with Progress().bar("drawing pictures", PAIRS) as advance:
        return {"folder": str(folder), "planted": make_planted_pool(folder, progress=advance)}


def _draw_scenes(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    from evenly.demo.scenes.folder import SCENES, make_scene_folder
    from evenly.tasks.progress import Progress

    count = values.get("count", SCENES)
    with Progress().bar("drawing scenes", count) as advance:
        kinds = make_scene_folder(folder, count=count, progress=advance)
    return {"folder": str(folder), "scenes": count, "captions": kinds}


def _draw_ground(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    from evenly.flows.cli.start.ground_job import build_ground

    return build_ground(
        folder,
        hands=values.get("hands"),
        codes=values.get("codes"),
        draw_only=bool(values.get("draw_only")),
        root=values.get("root"),
    )


_Job = Callable[[Path, Mapping[str, Any]], dict[str, Any]]
_JOBS: Mapping[str, _Job] = {
    "pictures": _draw_pictures,
    "planted": _draw_planted,
    "scenes": _draw_scenes,
    "ground": _draw_ground,
}


def _print_drawn(result: dict[str, Any]) -> None:
    if "pictures" in result:
        counts, files = result["pictures"], "metadata.csv and classes.txt"
        print_text(f"{sum(counts.values())} pictures of {len(counts)} classes in {result['folder']}, with {files}")
    elif "planted" in result:
        counts = ", ".join(f"{n:,} {kind}" for kind, n in result["planted"].items())
        print_text(f"{counts} in {result['folder']}, with planted.yaml and truth.csv")
    elif "ground" in result:
        from evenly.flows.cli.start.ground_job import print_ground

        print_ground(result)
    else:
        shares = ", ".join(f"{n:,} {kind}" for kind, n in result["captions"].items())
        print_text(f"{result['scenes']:,} scenes in {result['folder']}, with metadata.csv, truth.parquet, classes.txt")
        print_text(f"captions  {shares}")


COMMANDS = {"demo": typed(demo_command, _print_demo, status=lambda result: FINDING if result.get("problems") else 0)}
