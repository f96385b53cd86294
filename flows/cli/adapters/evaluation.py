"""`evenly evaluate`: what a recipe's evaluation found on the test part of its latest build, in tables and slices."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from evenly.adapters.evaluation.measures.slices import worst_slices
from evenly.flows.cli.adapters.own_features.fit import plain
from evenly.flows.cli.datasets.outcome import Root, best_on_validation, check_has_classes, evaluations_of
from evenly.flows.cli.errors import UsageError
from evenly.flows.recipe import read_recipe
from evenly.signatures import Place
from evenly.storage.builds import open_build
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.workspace import Workspace
from evenly.tasks.adapters.slices import crossed_columns, slice_predictions, sliceable_columns

TABLES = (
    "results",
    "head_tail",
    "frequencies",
    "ood",
    "open_set",
    "ensembles",
    "pairs",
    "reliability",
    "per_class",
    "texts",
)
"""Of an evaluation, as rows; those of single pictures and of the search's points stay in the ledger."""

OF_VERDICTS = ("_verdict", "_reason", "_into", "_step_id")
"""Columns that say the same of every kept pair end so: they can be asked for, and are not offered."""


def evaluate_latest(recipe: Place, *, root: Root = None, slices: Sequence[str] = ()) -> dict[str, Any]:
    """The build, and per class list its TABLES, notes, the adapter that validation chose, and slices by column.

    `slices` are columns of the sample table, or several with commas between, which are crossed; a column that the
    table has not is a usage error.
    """
    check_has_classes(recipe)
    chosen = read_recipe(recipe)
    workspace, manifest = open_build(f"{chosen.name}-latest", root=root)
    columns = sliceable_columns(workspace, manifest) if slices else []
    unknown = [column for column in crossed_columns(slices) if column not in columns]
    if unknown:
        raise UsageError(
            f"`--slice` must be a column of the build's sample table; got `{unknown[0]}`. "
            f"Choose one of these: {', '.join(column for column in columns if not column.endswith(OF_VERDICTS))}."
        )
    evaluations = []
    for record in evaluations_of(recipe, workspace, manifest):
        facts = _facts(workspace, record)
        if slices:
            table, binned = slice_predictions(workspace, manifest, record, slices, seed=chosen.seed)
            facts |= {"slices": _rows(table), "worst_slices": _worst(table), "binned": binned}
        evaluations.append(facts)
    return {"build": manifest["build"], "lists": evaluations}


def _facts(workspace: Workspace, record: StepRecord) -> dict[str, Any]:
    ledger = Ledger(workspace)
    tables = {name: plain(ledger.table(record, name).to_pylist()) for name in TABLES if name in record.hashes}
    best = best_on_validation(tables["results"])
    return {
        "list": record.rule["list"],
        "chosen_on_validation": None if best is None else {name: best[name] for name in ("name", "texts")},
        "notes": list(record.notes.get("notes", ())),
        **{name: tables.get(name, []) for name in TABLES},
    }


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return list(plain(table.to_dict("records")))


def _worst(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The worst slice of each column for each adapter."""
    if table.empty:
        return []
    return [row for _, mine in table.groupby(["name", "texts"], sort=False) for row in _rows(worst_slices(mine))]
