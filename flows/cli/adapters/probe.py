"""`evenly probe`: run the probes of a recipe's latest build and write what they found as tables and plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from evenly.audit.report.plots.curves import corruption_plot
from evenly.audit.report.plots.drawing import standing_alone
from evenly.flows.cli.adapters.own_features.fit import plain
from evenly.flows.cli.datasets.outcome import best_on_validation, evaluations_of
from evenly.flows.probe_adapters import probe_adapters
from evenly.flows.process.prefect_api import prefect_api
from evenly.flows.recipe import read_recipe
from evenly.signatures import Place
from evenly.storage.builds import open_build
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.records import replace_text
from evenly.storage.workspace import Workspace

PROBES = ("corruptions", "diversity", "binding", "retrieval")
Rows = list[dict[str, Any]]


def probe_latest(recipe: Place, *, root: Place | None, out: Path | None, probes: Mapping[str, bool]) -> dict[str, Any]:
    """The build, the folder where tables lie as .csv with a plot per curve, and what each probe found.

    `probes`: which of PROBES are asked for, whose names are those of what they give; others are not there. `diversity`,
    `binding` and `retrieval` are rows; `corruptions` holds per class list the tables `curves`, `corruptions`, `models`,
    `sources` and `source_lines` (empty with one source), the adapters that were `skipped` and why, and the two that are
    `shown`: zero-shot with names, and of those that were judged the one that validation liked best.
    """
    workspace, manifest = open_build(f"{read_recipe(recipe).name}-latest", root=root)
    with prefect_api():
        keys = probe_adapters(
            recipe=str(recipe),
            build=str(manifest["build"]),
            root=str(workspace.root),
            **probes,
        )
    ledger = Ledger(workspace)
    folder = out or workspace.reports / f"{manifest['build']}-probes"
    folder.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {"build": manifest["build"], "out": str(folder)}
    records = [record for key in keys if (record := ledger.find(key)) is not None]
    for record in records:
        tables = {name: plain(ledger.table(record, name).to_pylist()) for name in record.hashes}
        for name, rows in tables.items():
            title = "-".join([name, *([record.rule["list"]] if "list" in record.rule else [])])
            replace_text(folder / f"{title}.csv", pd.DataFrame(rows).to_csv(index=False))
        if record.name != "corrupt_pictures":
            facts |= tables
    if probes["corruptions"]:
        evaluations = {record.rule["list"]: record for record in evaluations_of(recipe, workspace, manifest)}
        facts["corruptions"] = [
            _corrupted(workspace, record, evaluations[record.rule["list"]], folder)
            for record in records
            if record.name == "corrupt_pictures"
        ]
    return facts


def _corrupted(workspace: Workspace, record: StepRecord, evaluation: StepRecord, folder: Path) -> dict[str, Any]:
    """The losses of one class list's adapters on corrupted pictures; draws the curves of those that are shown."""
    ledger = Ledger(workspace)
    names = ("curves", "corruptions", "models", "sources", "source_lines")
    tables: dict[str, Rows] = {
        name: plain(ledger.table(record, name).to_pylist()) if name in record.hashes else [] for name in names
    }
    judged = {(row["name"], row["texts"]) for row in tables["models"]}
    results = plain(ledger.table(evaluation, "results").to_pylist())
    best = best_on_validation([row for row in results if (row["name"], row["texts"]) in judged])
    shown = [] if best is None else list(dict.fromkeys([("zero_shot", "names"), (best["name"], best["texts"])]))
    for name, texts in shown:
        curves = [row for row in tables["curves"] if (row["name"], row["texts"]) == (name, texts)]
        _plot(folder, curves, title=f"{name} with {texts}, {record.rule['list']}")
    return {
        "list": record.rule["list"],
        "skipped": list(record.notes["skipped"]),
        "shown": [{"name": name, "texts": texts} for name, texts in shown],
        **tables,
    }


def _plot(folder: Path, curves: Sequence[Mapping[str, Any]], *, title: str) -> None:
    clean = next(row["accuracy"] for row in curves if row["corruption"] == "clean")
    figure = corruption_plot([row for row in curves if row["corruption"] != "clean"], clean=clean, title=title)
    words = title.replace(" with ", "-").replace(", ", "-").replace(" ", "-")
    replace_text(folder / f"corruptions-{words}.svg", standing_alone(figure))
