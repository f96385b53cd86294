"""`evenly probe`: run the probes of a recipe's latest build and write what they found as tables and plots."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from audit.report.curve_plots import corruption_plot
from audit.report.drawing import standing_alone
from flows.array_fitting import plain
from flows.outcome import adapter_rows, open_build
from flows.probe_adapters import probe_adapters
from flows.recipe import read_recipe
from storage.ledger import Ledger, StepRecord
from storage.records import replace_text
from storage.workspace import Workspace


def probe_latest(
    recipe: Path, *, root: Path | None, out: Path | None, corruptions: bool, diversity: bool, binding: bool
) -> dict[str, Any]:
    """Tables of the probes by name, as rows, and the folder where they lie as .csv, with a plot per curve.

    The plots show zero-shot and the adapter that validation liked best.
    """
    chosen = read_recipe(recipe)
    workspace, manifest = open_build(f"{chosen.name}-latest", root=root)
    keys = probe_adapters(
        recipe=str(recipe),
        build=str(manifest["build"]),
        root=str(workspace.root),
        corruptions=corruptions,
        diversity=diversity,
        binding=binding,
    )
    ledger = Ledger(workspace)
    records = [record for key in keys if (record := ledger.find(key)) is not None]
    folder = out or workspace.reports / f"{manifest['build']}-probes"
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        for name in record.hashes:
            rows = plain(ledger.table(record, name).to_pylist())
            title = f"{name} {record.rule['list']}" if record.rule.get("list") else name
            tables[title] = rows
            replace_text(
                folder / f"{title.replace(' ', '-')}.csv", pa.Table.from_pylist(rows).to_pandas().to_csv(index=False)
            )
        if record.name == "corrupt_pictures":
            _plot(folder, ledger, record, workspace, manifest)
    return {"build": manifest["build"], "out": str(folder), "tables": tables}


def _plot(folder: Path, ledger: Ledger, record: StepRecord, workspace: Workspace, manifest: dict[str, Any]) -> None:
    """Curves of zero-shot with names, and of the best on validation among those that were judged."""
    curves = ledger.table(record, "curves").to_pylist()
    judged = {(row["name"], row["texts"]) for row in curves}
    here = [row for row in adapter_rows(workspace, manifest) if row["list"] == record.rule["list"]]
    best = max(
        (row for row in here if (row["name"], row["texts"]) in judged), key=lambda row: row["validation_accuracy"]
    )
    for name, texts in {("zero_shot", "names"), (best["name"], best["texts"])}:
        rows = [row for row in curves if (row["name"], row["texts"]) == (name, texts)]
        clean = next(row["accuracy"] for row in rows if row["corruption"] == "clean")
        shown = [row for row in rows if row["corruption"] != "clean"]
        figure = corruption_plot(shown, clean=clean, title=f"{name} with {texts}, {record.rule['list']}")
        replace_text(folder / f"corruptions-{record.rule['list']}-{name}-{texts}.svg", standing_alone(figure))
