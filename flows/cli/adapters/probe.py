"""`evenly probe`: run the probes of a recipe's latest build; what they found as tables and plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from evenly.audit.report.plots.curves import corruption_plot
from evenly.audit.report.plots.figures import standing_alone
from evenly.flows.cli.adapters.evaluation import who
from evenly.flows.cli.adapters.own_features.fit import plain
from evenly.flows.cli.datasets.outcome import best_on_validation, evaluations_of
from evenly.flows.cli.output import Columns, Row, interval, measured, print_rows, print_text
from evenly.flows.probe_adapters import probe_adapters
from evenly.flows.recipe import read_recipe
from evenly.flows.runs import as_flow
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
    keys = as_flow(probe_adapters)(
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


def print_probes(facts: Row) -> None:
    """Every probe that was asked for, and where its tables and plots lie."""
    if "diversity" in facts:
        _print_diversity(facts["diversity"][0])
    if "binding" in facts:
        _print_binding(facts["binding"])
    if "retrieval" in facts:
        _print_retrieval(facts["retrieval"])
    for corrupted in facts.get("corruptions", ()):
        _print_corruptions(corrupted)
    print_text(f"tables and plots in {facts['out']}")


def _print_diversity(row: Row) -> None:
    measures = {
        "given_texts": "diversity given the captions",
        "by_texts": "diversity that captions explain",
        "unexplained": "share that captions leave open",
    }
    print_rows(
        f"diversity of {row['n']:,} pictures (Schur complement entropy, sigma {row['sigma']:g})",
        [
            {"": words, "own captions": row[name], "captions of others": row[f"dealt_{name}"]}
            for name, words in measures.items()
        ],
    )


def _print_binding(rows: Sequence[Row]) -> None:
    columns: Columns = {
        "part": "part",
        "asked": "questions",
        "own colour": interval("own"),
        "the other's": interval("swap"),
        "ahead": "beats",
    }
    rows = [row for row in rows if row["questions"] and row["part"] != "all"]
    print_rows("which colour is found for each of the objects of a picture", rows, columns)
    print_text('"ahead": how often the own colour scores above that of the other object; 0.5 is chance')


def _print_retrieval(rows: Sequence[Row]) -> None:
    measures = {"R@1": interval("r_at_1"), "R@10": interval("r_at_10"), "auc": interval("auc")}
    columns: Columns = {"direction": "direction", "queries": "queries", **measures}
    print_rows("what captions and pictures find, 95 % intervals", rows, columns)


def _print_corruptions(facts: Row) -> None:
    print_text(f"\nClass list {facts['list']}: test pictures under corruptions")
    for line in facts["skipped"]:
        print_text(f"skipped: {line}")
    if not facts["models"]:
        print_text("no adapter was judged: there are no test pictures, or all adapters were skipped")
        return
    state = facts["models"][0]["state"] if all(row["state"] for row in facts["models"]) else ""
    columns: Columns = {
        "adapter": who,
        "clean": "clean",
        "corrupted": interval("corrupted"),
        "lost": "relative_drop",
        **({} if state else {"line": "expected", "beyond": "effective_robustness"}),
    }
    print_rows("mean over corruptions and strengths", facts["models"], columns)
    print_text(state or '"line": what accuracy on clean pictures lets expect, by a line through all adapters\' logits')
    _print_per_corruption(facts)
    _print_sources(facts)


def _print_sources(facts: Row) -> None:
    """A linear probe per training source at its whole size, and what lies beyond the line through all such models."""
    if not facts["sources"]:
        return
    lines = {row["source"]: row for row in facts["source_lines"]}
    columns: Columns = {
        "source": "source",
        "train": "rows",
        "clean": interval("clean"),
        "corrupted": interval("corrupted"),
        "slope": lambda row: lines[row["source"]]["slope"],
        "beyond": lambda row: lines[row["source"]]["effective_robustness"],
    }
    rows = [row for row in facts["sources"] if row["share"] == 1]
    print_rows("linear probes trained on one source alone, and on all", rows, columns)
    print_text(
        '"beyond": mean over shares of its pictures of accuracy minus the line through the models of all sources'
    )


def _print_per_corruption(facts: Row) -> None:
    """Mean over strengths for those that are shown."""
    rows: dict[str, dict[str, Any]] = {}
    for name in map(who, facts["shown"]):
        for row in facts["corruptions"]:
            if who(row) == name:
                rows.setdefault(row["corruption"], {"corruption": row["corruption"]})[name] = measured(row, "accuracy")
    print_rows("accuracy per corruption, mean over strengths", list(rows.values()))
