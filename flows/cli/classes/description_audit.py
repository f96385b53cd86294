"""`evenly descriptions audit`: which lists and methods are audited, on which build, and what was found."""

from pathlib import Path
from typing import Any, cast, get_args

from evenly.adapters.methods.vcd import Aggregate
from evenly.flows.audit_descriptions import audit_descriptions
from evenly.flows.cli.classes.description_versions import Version, find_version
from evenly.flows.cli.errors import UsageError
from evenly.flows.recipe import read_recipe
from evenly.flows.runs import as_flow, build_run
from evenly.signatures import Place
from evenly.storage.builds import open_build
from evenly.storage.errors import NotFoundError
from evenly.storage.ledger import Ledger
from evenly.tasks.classes.audit import DescriptionAuditRule
from evenly.tasks.splits import split_of_build

DESCRIBING = ("description", "prompts", "questions", "analogies", "attributes")
"""Methods whose texts say what a class looks like; those of others are names, denials or other classes' texts."""
DEFAULT_AGGREGATE: Aggregate = "mean_similarity"


def audit_latest(
    source: str, *, build: str, methods: list[str] | None, aggregate: str | None, draws: int, root: Place | None
) -> list[dict[str, Any]]:
    """One finding per class list and method: its notes, and the tables `accuracies` and `differences` as rows.

    `source` is a recipe, of which every list counts, on its latest build; or a class list file, list name or step key,
    on `build`. Texts are the newest version of the list's content.
    """
    chosen = _checked(aggregate)
    if source.endswith((".yaml", ".yml")):
        build_name, targets = _of_recipe(Path(source), build, aggregate=chosen, root=root)
    else:
        build_name = build
        targets = [(find_version(source, root=root), {"aggregate": chosen or DEFAULT_AGGREGATE, "split": None})]
    workspace, manifest = open_build(build_name, root=root)
    split = None
    if any(options["split"] is None for _, options in targets):
        split = split_of_build(build_run(manifest["build"], root=str(workspace.root), quiet=True), manifest)
    rules = [
        DescriptionAuditRule(
            build=manifest["build"],
            draws=draws,
            aggregate=options["aggregate"],
            list=version.class_list.name,
            classes=version.class_list.classes,
            describe=version.record.key,
            method=method,
            split=options["split"] or split,
        )
        for version, options in targets
        for method in version.record.rule["methods"]
        if method in (methods or DESCRIBING)
    ]
    if not rules:
        lists = ", ".join(version.class_list.name for version, _ in targets)
        raise UsageError(
            f"a list must have texts of one of {', '.join(DESCRIBING)} to be audited; {lists} has none of them. "
            "Name a method with --method, or describe the list by one of these."
        )
    keys = as_flow(audit_descriptions)(build=manifest["build"], rules=rules, root=str(workspace.root))
    return [_finding(Ledger(workspace), key) for key in keys]


def _of_recipe(
    path: Path, build: str, *, aggregate: Aggregate | None, root: Place | None
) -> tuple[str, list[tuple[Version, dict[str, Any]]]]:
    """The build of a recipe, and each of its lists that has been described."""
    recipe = read_recipe(path)
    targets, missing = [], []
    for listing in recipe.classes:
        try:
            version = find_version(str(path.resolve().parent / listing.list), root=root)
        except NotFoundError as error:
            missing.append(str(error))
            continue
        options = {
            "aggregate": aggregate or listing.aggregate or DEFAULT_AGGREGATE,
            "split": None if recipe.labels is None else recipe.labels.split,
        }
        targets.append((version, options))
    if not targets:
        raise NotFoundError("\n".join(missing) or f"recipe `{path}` must name a class list; it names none. Add one.")
    return f"{recipe.name}-latest" if build == "latest" else build, targets


def _checked(aggregate: str | None) -> Aggregate | None:
    aggregates = get_args(Aggregate)
    if aggregate is not None and aggregate not in aggregates:
        raise UsageError(
            f"`--aggregate` must be one of {', '.join(aggregates)}; got `{aggregate}`. Choose one of these."
        )
    return cast("Aggregate | None", aggregate)


def _finding(ledger: Ledger, key: str) -> dict[str, Any]:
    record = ledger.get(key)
    tables = {name: ledger.table(record, name).to_pylist() for name in ("accuracies", "differences")}
    return {"step": key, **record.notes, **tables}
