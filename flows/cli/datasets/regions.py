"""`evenly regions`: what is where in the pictures of a build, without a rebuild."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from evenly.flows.cli.command import typed
from evenly.flows.cli.datasets.options import RegionsOptions
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import print_facts, print_rows
from evenly.signatures import Place, taking


@taking(RegionsOptions)
def regions_command(
    recipe: Annotated[Place | None, typer.Argument(help="A recipe, for its latest build; or a build id.")],
    options: RegionsOptions,
) -> dict[str, Any]:
    """Find which things are where in the pictures of a build, without a rebuild.

    What is not said is as the recipe's `curate.regions` has it. Stop it any time: the same command goes on.

    Example: evenly regions birds.yaml --method score_maps --texts things.txt --out regions.parquet
    """
    if options.methods:
        return {"methods": _methods()}
    if recipe is None:
        raise UsageError("`recipe` must be a recipe or a build; got none. Name one, or ask for --methods.")
    if options.out is not None and options.out.suffix not in {".parquet", ".json"}:
        raise UsageError(f"`--out` must end with .parquet or .json; got `{options.out}`. Correct it.")
    from evenly.curation.regions.judgement import RegionRule
    from evenly.flows.process.environment import no_widgets
    from evenly.flows.recipe import read_recipe
    from evenly.flows.recipe.what_if import read_changes
    from evenly.flows.runs import build_run, run_in
    from evenly.storage.builds import Builds
    from evenly.tasks.regions.of_builds import regions_of_build
    from evenly.tasks.step import run_for

    stated: dict[str, Any] = {}
    name, root = str(recipe), options.root
    if Path(name).suffix in {".yaml", ".yml"}:
        read = read_recipe(name)
        run, name = run_in(read, root=root, quiet=options.quiet), f"{read.name}-latest"
        stated = vars(read.curate.regions) if read.curate.regions else {}
    else:
        run = build_run(name, root=root, quiet=options.quiet)
    hyper = read_changes(options.option, "option") if options.option else {} if options.method else None
    changes = {
        "method": options.method,
        "texts": None if options.texts is None else str(options.texts.absolute()),
        "templates": None if not options.template else tuple(options.template),
        "options": hyper,
        "boxes": options.boxes,
        "detector": None if options.detector is None else str(options.detector.absolute()),
        "dense": options.dense,
    }
    rule = RegionRule(**{**stated, **{field: value for field, value in changes.items() if value is not None}})
    if options.texts is not None and rule.method is None and rule.endpoint is None:
        raise UsageError(
            f"`--texts` must go with what looks for things; got `{options.texts}`, and boxes as they are. Add --method."
        )
    manifest = Builds(run.workspace).read(name)
    with no_widgets():
        return regions_of_build(run_for(run, rule), manifest, rule, options.out)


def _methods() -> list[dict[str, Any]]:
    from evenly.features.dense.methods import REGION_METHODS

    return [
        {
            "method": name,
            "needs": ", ".join(sorted(kind().needs)),
            "options": ", ".join(f"{entry.name}={getattr(kind(), entry.name)}" for entry in fields(kind)),
            "finds": (kind.__doc__ or "").partition("\n")[0],
        }
        for name, kind in REGION_METHODS.items()
    ]


def _print_regions(facts: dict[str, Any]) -> None:
    if "methods" in facts:
        print_rows("methods", facts["methods"])
        return
    labels, left_out = facts.pop("labels"), facts.pop("left_out")
    print_facts(facts)
    counts = [{"label": name or "-", "regions": count} for name, count in labels.items()]
    counts += [{"label": f"left out: {reason}", "regions": count} for reason, count in left_out.items()]
    if counts:
        print_rows("regions", counts)


COMMANDS = {"regions": typed(regions_command, _print_regions)}
