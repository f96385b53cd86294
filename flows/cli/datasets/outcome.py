"""Builds that exist, as commands use them: their outcome, exports, and adapters that are fitted on them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evenly.adapters.evaluation.tables import lost_on_test
from evenly.audit.publication.cards import about_build
from evenly.audit.publication.reading import read_facts
from evenly.audit.published import PublishedBuild
from evenly.audit.regions import with_regions
from evenly.flows.cli.errors import UsageError
from evenly.flows.recipe import Recipe, read_recipe
from evenly.flows.recipe.needs import refuse_missing
from evenly.flows.runs import as_flow, in_shared_use, with_engine
from evenly.options import RebuildOptions
from evenly.signatures import Place
from evenly.storage.builds import funnel_of, latest_made, open_build
from evenly.storage.exports import EXPORTS
from evenly.storage.journals import record_departure
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.samples import BuildSamples
from evenly.storage.web.images import reader
from evenly.storage.workspace import Workspace
from evenly.tasks import verify_and_report as audit

Root = Place | None


def check_rebuild(recipe: Recipe, options: RebuildOptions) -> None:
    """Raise for a recipe that does not have here what it needs."""
    from evenly.tasks.partitioning import allowed_memory

    refuse_missing(with_engine(recipe, options.engine), limit=options.limit)
    allowed_memory(options.memory)


def outcome_of(build: str, *, root: Root = None) -> dict[str, Any]:
    """Build id, content hash, report, funnel, confusable pairs per class list and evaluated adapters of a build."""
    workspace, manifest = open_build(build, root=root)
    confusable = latest_made(Ledger(workspace), "find_confusable", build=str(manifest["build"]))
    report, sources = audit.report_of(workspace, manifest)
    adapters = adapter_rows(workspace, manifest)
    return {
        "build": manifest["build"],
        "content_hash": manifest["content_hash"],
        "kept": manifest["samples"]["kept"],
        "report": str(report),
        "funnel": funnel_of(manifest),
        "sources": sources,
        "adapters": adapters,
        "lost_on_test": adapters and lost_on_test(adapters),
        "pairs": [{"list": record.rule["list"], **record.notes} for record in confusable],
    }


def adapter_rows(workspace: Workspace, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The evaluated adapters of a build, one row each."""
    records = latest_made(Ledger(workspace), "evaluate_adapters", build=str(manifest["build"]))
    return _results(workspace, records)


def _results(workspace: Workspace, records: Sequence[StepRecord]) -> list[dict[str, Any]]:
    ledger = Ledger(workspace)
    return [
        {"list": record.rule["list"], **row}
        for record in records
        for row in ledger.table(record, "results").to_pylist()
    ]


@in_shared_use
def export_build(build: str, *, format_name: str, out: Path | None, root: Root = None) -> dict[str, Any]:
    """Write the kept pairs of a build in a format, and a receipt in its workspace; what was written."""
    if format_name not in EXPORTS:
        raise UsageError(
            f"`--to` must be one of {', '.join(sorted(EXPORTS))}; got `{format_name}`. Choose one of these."
        )
    workspace, manifest = open_build(build, root=root)
    samples = BuildSamples(workspace, manifest)
    folder = out or workspace.exports / manifest["build"] / format_name
    published = PublishedBuild(workspace, manifest)
    export = EXPORTS[format_name].telling(lambda: about_build(read_facts(published)))
    summary = export(
        lambda: with_regions(published, samples.batches(where=samples.kept)),
        folder,
        read_bytes=reader(workspace.downloads),
        name=manifest["build"],
        seed=manifest["seed"],
    )
    record_departure(
        workspace,
        kind=format_name,
        build=summary.build,
        place=folder,
        content=summary.content_hash,
        files=len(summary.files),
    )
    return {"build": manifest["build"], "format": format_name, **summary.to_dict()}


def check_has_classes(recipe: Place) -> None:
    """Raise UsageError for a recipe without a class list: there is nothing to fit adapters for."""
    if not read_recipe(recipe).classes:
        raise UsageError(f"`classes` must name a class list to fit adapters for; `{recipe}` names none. Add one.")


def fit_latest(recipe: Place, *, root: Root = None) -> list[dict[str, Any]]:
    """Fit the adapters of a recipe on its latest build; what validation chose, and where they are saved."""
    check_has_classes(recipe)
    names = ["list", "name", "texts", "chosen", "validation_accuracy", "validation_rows", "kept_zero_shot", "why"]
    names += ["difference", "difference_low", "difference_high"]
    workspace, manifest = open_build(f"{read_recipe(recipe).name}-latest", root=root)
    rows = _results(workspace, evaluations_of(recipe, workspace, manifest))
    folder = workspace.adapters / str(manifest["build"])
    return [
        {
            **{name: row[name] for name in names},
            "saved": str(folder / row["list"] / f"{row['name']}-{row['texts']}.json"),
        }
        for row in rows
    ]


def evaluations_of(recipe: Place, workspace: Workspace, manifest: Mapping[str, Any]) -> list[StepRecord]:
    """The evaluation of each class list of a recipe on a build, made where it is not there yet."""
    from evenly.flows.fit_adapters import fit_adapters  # here, for it loads pandas

    keys = as_flow(fit_adapters)(recipe=str(recipe), build=str(manifest["build"]), root=str(workspace.root))
    ledger = Ledger(workspace)
    return [record for key in keys if (record := ledger.find(key)) is not None]


def best_on_validation(results: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The row with the highest validation accuracy, the first of equal ones; None where there are none."""
    return max(results, key=lambda row: row["validation_accuracy"] or -1.0, default=None)
