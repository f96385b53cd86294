"""Commands that make datasets: init, check, plan, rebuild, builds, promote, report, export."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from evenly.flows.cli.command import typed
from evenly.flows.cli.errors import USAGE, UsageError
from evenly.flows.cli.output import (
    Build,
    print_adapters,
    print_estimates,
    print_funnel,
    print_losses,
    print_rows,
    print_text,
)
from evenly.options import AllowCode, Limit, Memory, RebuildOptions, Workers
from evenly.signatures import Named, Quiet, Root, fields_of, flow_values, taking

Recipe = Annotated[Path, typer.Argument(help="A recipe, such as recipes/demo.yaml.")]


def init_command(
    path: Annotated[Path, typer.Argument(help="Where to write the recipe.")] = Path("recipe.yaml"),
    *,
    force: Annotated[bool, "Overwrite a file that is there."] = False,
    text: Annotated[bool, "A recipe for captions alone: no download, no pictures."] = False,
    pool: Annotated[Path | None, Named("--from"), "What it is for: a folder of pictures, a table, shards."] = None,
) -> None:
    """Write a commented recipe to start from, for what lies at --from; its kind and columns are found out.

    Beside it lies its JSON schema, which editors read. Example: evenly init birds.yaml

    Example: evenly init birds.yaml --from photos/
    """
    from evenly.flows.recipe.pools.drafts import draft_recipe, write_schema

    if path.exists() and not force:
        raise UsageError(f"`path` must not exist; got `{path}`. Choose another name, or overwrite it with --force.")
    draft = draft_recipe(path, pool=pool, is_text=text)
    path.write_text(draft.text, encoding="utf-8")
    schema = write_schema(path.parent)
    if draft.summary:
        print_text(f"found {draft.summary}")
    print_text(f"wrote {path}, and {schema.name} for editors\nnext: evenly check {path}")


def check_command(recipe: Recipe, root: Root = None, *, quiet: Quiet = True) -> dict[str, Any]:
    """Validate a recipe: every problem with its field, value, rule and remedy.

    Pools, class lists, the columns of labels and files that are named must be there; columns and web addresses are
    looked for in the first rows of tables. So must the packages and packaged models that it needs. Of each pool that
    lies here it is counted what each limit would drop by itself and how many rows have a label, in 10,000 rows or
    1 GB of pictures at most; classes that are no label are named. Failed downloads of the workspace that a rebuild
    would ask again now are counted by reason. A notification block that PREFECT_API_URL's server
    lacks is named, too; runs work without it.

    Example: evenly check recipes/demo.yaml
    """
    from evenly.flows.cli.datasets.asked_again import asked_again
    from evenly.flows.recipe.checks import check_recipe
    from evenly.flows.recipe.pools.losses import recipe_labels, recipe_losses
    from evenly.flows.recipe.problems import RecipeError
    from evenly.flows.runs import run_in

    try:
        read = check_recipe(recipe, root=root)
        run = run_in(read, root=root, quiet=quiet)
        labels = recipe_labels(recipe, read, run)
        pools = recipe_losses(read, run)
    except RecipeError as error:
        return {"recipe": None, "valid": False, "problems": str(error).splitlines()}
    lacking: list[str] = []
    if read.notify is not None:
        from evenly.tasks.server.notices import block_problems

        lacking = block_problems(read.notify.blocks)
    facts = {"pools": pools, "labels": labels, "asked_again": asked_again(read, root=root), "server": lacking}
    return {"recipe": read.name, "valid": True, "problems": [], **facts}


def _print_checked(result: dict[str, Any], *, recipe: Path) -> None:
    if not result["valid"]:
        raise UsageError("\n".join(result["problems"]))
    from evenly.flows.cli.datasets.asked_again import retry_lines
    from evenly.flows.recipe.pools.regions import region_lines

    lines = [*retry_lines(result["asked_again"]), *result["server"]]
    print_text("\n".join([f"{recipe}: recipe `{result['recipe']}` is valid", *lines]))
    for pool in result["pools"]:
        print_losses(pool)
        if pool["regions"] is not None:
            print_text("\n".join(region_lines(pool["regions"])))
    if (labels := result["labels"]) is not None:
        print_text("\n".join([f"labels: {labels['labelled']:,} of {labels['rows']} have one", *labels["warnings"]]))


def plan_command(
    recipe: Recipe,
    root: Root = None,
    limit: Limit = None,
    workers: Workers = None,
    memory: Memory = None,
    allow_code: AllowCode = None,
) -> dict[str, Any]:
    """Say for each step whether a rebuild would reuse or compute it, and why, without running it.

    Also which failed downloads it would ask again by its schedule, and from when on the next.
    Also in how many partitions and by how many processes, what it would take in time, memory and bytes on disk, and
    what captioners and describing each class list would ask and cost.

    Example: evenly plan recipes/demo.yaml
    """
    from evenly.flows.cli.datasets.planning import plan_descriptions, plan_recipe
    from evenly.storage.files.code import allowing_code

    with allowing_code(allow_code):
        plan = plan_recipe(recipe, root=root, limit=limit, workers=workers, memory=memory)
    return plan | {"descriptions": plan_descriptions(recipe, root=root, limit=limit)}


def _print_plan(plan: dict[str, Any]) -> None:
    from evenly.flows.cli.datasets.asked_again import retry_lines
    from evenly.flows.cli.datasets.estimates import CAPTIONS, described, measure_lines, shown_row

    print_rows("plan", [shown_row(row) for row in plan["steps"]])
    print_text(
        "\n".join([*described(plan["run"]), *measure_lines(plan["measures"]), *retry_lines(plan["asked_again"])])
    )
    if plan["captions"]:
        print_rows("captions: expected - at most, lost replies aside", plan["captions"], CAPTIONS)
    print_estimates(plan["descriptions"])


@dataclass(frozen=True, kw_only=True)
class _RebuildCommand(RebuildOptions):
    """Options of `evenly rebuild`: no run of a server may say which code it runs."""

    allow_code: AllowCode = None


@taking(_RebuildCommand)
def rebuild_command(recipe: Recipe, options: _RebuildCommand) -> dict[str, Any]:
    """Rebuild a dataset by its recipe; finished steps are reused.

    Example: evenly rebuild recipes/demo.yaml --limit 200
    """
    from evenly.flows.recipe import read_recipe

    chosen = read_recipe(recipe)  # its problems are said before flows are imported
    from evenly.flows.cli.datasets.outcome import check_rebuild, outcome_of
    from evenly.flows.rebuild_dataset import rebuild_dataset
    from evenly.flows.runs import as_flow
    from evenly.storage.files.code import allowing_code

    check_rebuild(chosen, options)
    with allowing_code(options.allow_code):
        values = flow_values(RebuildOptions(**fields_of(RebuildOptions, options)))
        build = as_flow(rebuild_dataset)(str(recipe), **values)
    return outcome_of(build, root=options.root)


def _print_rebuilt(result: dict[str, Any]) -> None:
    from evenly.audit.funnel import kept_by_source
    from evenly.tasks.classes.confusable import said

    print_funnel(result["funnel"])
    if by_source := kept_by_source(result["sources"]):
        print_rows("kept by source", by_source)
    for pairs in result["pairs"]:
        print_text(f"{pairs['list']}: {said(pairs)}")
    print_adapters(result["adapters"])
    print_text(f"build   {result['build']}\nreport  {result['report']}")


def builds_command(root: Root = None) -> dict[str, Any]:
    """List the builds, oldest first, the recipes whose promotions are held, and builds that were taken down.

    Example: evenly builds
    """
    from evenly.storage.builds import Builds
    from evenly.storage.workspace import Workspace

    return Builds(Workspace.at(root)).overview()


def _print_builds(result: dict[str, Any]) -> None:
    print_rows("builds", [row | {"created": row["created"][:16].replace("T", " ")} for row in result["builds"]])
    for recipe, reason in result["holds"].items():
        print_text(f"{recipe}: not promoted by rebuilds, since {reason}. Look, then `evenly promote BUILD`")
    for stone in result["taken_down"]:
        print_text(f"{stone['build']}: taken down by {stone['receipt']}. {stone['instead']}")


def promote_command(build: Build, root: Root = None) -> dict[str, str]:
    """Make a build the latest of its recipe; also the way back to an older one, and the end of a hold on its recipe.

    Example: evenly promote demo-3fa9c2d4e5f6
    """
    from evenly.storage.builds import Builds, open_build

    workspace, manifest = open_build(build, root=root)
    Builds(workspace).promote_by_hand(manifest["build"], recipe=manifest["recipe_name"])
    return {"latest": str(manifest["build"])}


def _print_promoted(result: dict[str, str]) -> None:
    print_text(f"{result['latest'].rpartition('-')[0]}-latest is {result['latest']}")


def report_command(build: Build = "latest", root: Root = None) -> dict[str, str]:
    """Write the report of a build: one HTML page that needs nothing else.

    Example: evenly report latest
    """
    from evenly.storage.builds import open_build
    from evenly.tasks.verify_and_report import report_of

    return {"report": str(report_of(*open_build(build, root=root), anew=True)[0])}


def export_command(
    build: Build,
    to: Annotated[str, "webdataset, parquet, coco, datacomp, huggingface or croissant."] = "webdataset",
    out: Annotated[Path | None, "Folder to write; default: exports/ in the workspace."] = None,
    root: Root = None,
) -> dict[str, Any]:
    """Write the kept pairs of a build for other tools.

    Example: evenly export latest --to parquet
    """
    from evenly.flows.cli.datasets.outcome import export_build

    return export_build(build, format_name=to, out=out, root=root)


COMMANDS = {
    "init": typed(init_command, None),
    "check": typed(check_command, _print_checked, status=lambda result: 0 if result["valid"] else USAGE),
    "plan": typed(plan_command, _print_plan),
    "rebuild": typed(rebuild_command, _print_rebuilt),
    "builds": typed(builds_command, _print_builds),
    "promote": typed(promote_command, _print_promoted),
    "report": typed(report_command, lambda result: print_text(result["report"])),
    "export": typed(export_command),
}
