"""`evenly evaluate`: results on the test part of a recipe's latest build, and their tables of 80 columns."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from evenly.adapters.evaluation.measures.slices import worst_slices
from evenly.adapters.evaluation.tables import (
    ALPHA,
    ScoreTable,
    better_and_worse,
    by_adapter,
    ensembles_of,
    lost_on_test,
    notes_of,
    unseen_of,
)
from evenly.flows.cli.adapters.own_features.fit import plain
from evenly.flows.cli.datasets.outcome import Root, best_on_validation, check_has_classes, evaluations_of
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import (
    Columns,
    Row,
    interval,
    measured,
    print_rows,
    print_test_losses,
    print_text,
    with_interval,
)
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
        "lost_on_test": lost_on_test(tables["results"]),
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


MOST_ROWS = 20  # of a table of slices on the terminal; --json has them all
MOST_PAIRS = 8
MEASURES = {"auroc": "AUROC: 1 is best, 0.5 is chance", "fpr95": "FPR95: 0 is best"}


def print_evaluation(facts: Row) -> None:
    """Everything of one class list."""
    rows = facts["results"]
    print_text(f"\nClass list {facts['list']}: {rows[0]['n']:,} test pictures of {rows[0]['groups']:,} groups")
    columns: Columns = {
        "adapter": who,
        "accuracy": interval("accuracy"),
        "against zero-shot": lambda row: "the baseline" if row is rows[0] else measured(row, "difference", sign="+"),
    }
    print_rows("accuracy on test, with 95 % intervals", rows, columns)
    print_test_losses(rows)
    print_rows("on test, ECE as fitted and at temperature T; on val, accuracy", rows, FURTHER)
    for reason in dict.fromkeys(filter(None, (row.get("temperature_why") for row in rows))):
        named = [who(row) for row in rows if row.get("temperature_why") == reason]
        print_text(f"temperature T is {reason}: {', '.join(named)}")
    best = _chosen(facts)
    if best is not None:
        accuracy = with_interval(best["validation_accuracy"], None, None)
        validation = f"{accuracy} on {best['validation_rows'] or 0:,} validation pictures"
        print_text(f"chosen on validation: {who(best)}, {validation}")
    for note in facts["notes"]:
        print_text(f"note: {note}")
    _print_head_tail(facts["head_tail"])
    _print_unseen(facts["ood"])
    print_ensembles(facts["ensembles"])
    _print_pairs(facts["pairs"])
    for column in dict.fromkeys(row["column"] for row in facts.get("slices", ())):
        _print_slices(facts, column)


def who(row: Row) -> str:
    """An adapter and its texts, in words."""
    return str(row["name"]) if row["texts"] == "none" else f"{row['name']} {row['texts']}"


FURTHER: Columns = {
    "adapter": who,
    "top 5": "top5",
    "per class": "mean_per_class",
    "ECE": "calibration_error",
    "at T": "calibrated_error",
    "T": "temperature",
    "on val": "validation_accuracy",
}


def _print_head_tail(rows: Sequence[Row]) -> None:
    """Both parts without their intervals, which --json has: that of the gap is what tells."""
    adapters = by_adapter(rows)
    if not adapters:
        return
    sizes = [
        f"{part} {adapters[0][part]['classes']} ({adapters[0][part]['n']:,} pictures)" for part in ("head", "tail")
    ]
    print_text(f"\nClasses by how many captions of the pool name them: {', '.join(sizes)}")
    columns: Columns = {
        "adapter": who,
        "head": lambda row: row["head"]["accuracy"],
        "tail": lambda row: row["tail"]["accuracy"],
        "gap": lambda row: measured(row["gap"], "accuracy", sign="+"),
    }
    print_rows("mean accuracy per class; the gap is head minus tail", adapters, columns)


def _print_unseen(rows: Sequence[Row]) -> None:
    """Every score on each set of pictures of no class, what must be said of it, and what was left out."""
    unseen = unseen_of(rows)
    if unseen is None:
        print_text(
            "no out-of-distribution scores: the recipe names no labels outside the class list. To see whether their "
            "pictures would be refused, write `unseen: {near: [LABEL], far: [LABEL]}` with the class list."
        )
        return
    for table in unseen.tables:
        sizes = [f"{row['n']:,} {_set(row)}" for row in table.sets]
        print_text(f"\n{table.n:,} test pictures against pictures of no class: {', '.join(sizes)}; {table.classifier}")
        for measure, title in MEASURES.items():
            print_rows(title, _score_lines(table, measure))
            if table.is_compared:
                compared = f"{title.partition(':')[0]} minus that of {table.baseline}, on the same resamples"
                print_rows(compared, _score_lines(table, f"{measure}_difference", sign="+")[1:])
    print_text("compare scores of one classifier only. The adapter is the one that was chosen on validation")
    for note, scores in notes_of(unseen).items():
        print_text(f"{', '.join(scores)}: {note}")
    for row in unseen.skipped:
        print_text(f"skipped: {row['score']} needs {row['needs']}{': ' if row['remedy'] else ''}{row['remedy']}")


def _score_lines(table: ScoreTable, measure: str, *, sign: str = "") -> list[dict[str, Any]]:
    """A line per score; signed differences have no mean, for which 80 columns leave no room."""
    return [
        {"score": row["score"]}
        | {_set(dataset): measured(row["by_set"][dataset["name"]], measure, sign=sign) for dataset in table.sets}
        | ({"mean": row["mean"][measure]} if row["mean"] and not sign else {})
        for row in table.scores
    ]


def print_rejection(facts: Row) -> None:
    """Open-set accuracy of each score at the threshold that validation chose."""
    rows = facts["open_set"]
    if not rows:
        print_text(
            f"no open-set accuracy for {facts['list']}: it needs validation pictures, and `unseen` sets in the recipe "
            "with groups on both sides of the half that chooses"
        )
        return
    columns: Columns = {
        "score": lambda row: row["score"] + (" *" if row["chosen"] else ""),
        "set": "set",
        "known": interval("closed"),
        "unknown": interval("opened"),
        "H": interval("h"),
    }
    title = "rejected below a threshold: known told right, unknown rejected, and their harmonic mean H"
    print_rows(f"{facts['list']}, {title}", rows, columns)
    print_text(
        "thresholds make H largest on validation pictures and half of the groups of no class; the other half is "
        "judged. * the score with the largest H there"
    )


def print_ensembles(rows: Sequence[Row]) -> None:
    """Each ensemble's classifiers: accuracy, and the AUROC of their entropy on each set of pictures of no class."""
    for ensemble, parts in ensembles_of(rows).items():
        classifiers = [
            {"classifier": part, "accuracy": measured(measures[0], "accuracy")}
            | {_set(row, name="set"): measured(row, "auroc") for row in measures if row["set"]}
            for part, measures in parts.items()
        ]
        print_rows(f"classifiers that {ensemble} is the mean of: accuracy; AUROC by the entropy of each", classifiers)


def _set(row: Row, name: str = "name") -> str:
    return str(row[name]) if row[name] == row["kind"] else f"{row[name]} ({row['kind']})"


def _print_pairs(rows: Sequence[Row]) -> None:
    """The pairs that differ, or where there are many how many others each adapter is ahead of."""
    if not rows:
        return
    differ = better_and_worse(rows)
    print_text(f"\npairs of adapters with Holm's p < {ALPHA:g}: {len(differ)} of {len(rows)}")
    if len(differ) <= MOST_PAIRS:
        for first, second in differ:
            print_text(f"  {first} is ahead of {second}")
    else:
        for n, names in _ahead_of(differ).items():
            print_text(f"  ahead of {n} others: {', '.join(names)}")
    print_text("(exact McNemar, which takes pictures as independent; intervals by groups are in --json)")


def _ahead_of(differ: Sequence[tuple[str, str]]) -> dict[int, list[str]]:
    """The adapters by how many others they are ahead of, the most first."""
    texts: dict[int, list[str]] = {}
    for name, n in Counter(first for first, _ in differ).most_common():
        texts.setdefault(n, []).append(name)
    return texts


def _print_slices(facts: Row, column: str) -> None:
    """Zero-shot and the chosen adapter per value of a column, and the worst slice of both."""
    judged_rows = {who(row): row for row in (facts["results"][0], _chosen(facts)) if row is not None}
    slices = [row for row in facts["slices"] if row["column"] == column and who(row) in judged_rows]
    columns: dict[str, dict[str, Any]] = {}
    for row in slices:
        shown = columns.setdefault(row["value"], {"value": row["value"], "n": row["n"]})
        has_value = row["accuracy"] is not None
        shown[who(row)] = measured(row, "accuracy") if has_value else row["state"]
    print_text("")
    print_rows(f"accuracy by {column}", list(columns.values())[:MOST_ROWS])
    if len(columns) > MOST_ROWS:
        print_text(f"and {len(columns) - MOST_ROWS:,} more: `--json` has them all")
    if column in facts["binned"]:
        print_text(f"{column} has many values: Q1 to Q4 are the quarters of all labelled pictures")
    empty = [value for value, row in columns.items() if not row["n"]]
    if empty:
        print_text(
            f"{len(empty)} empty, without a test picture: {', '.join(empty[:8])}{', …' if len(empty) > 8 else ''}"
        )
    for row in facts["worst_slices"]:
        if row["column"] == column and who(row) in judged_rows:
            n, value = row["n"], measured(row, "accuracy")
            print_text(f"worst for {who(row)}: {row['value']}, {value} on {n:,} picture{'s' * (n != 1)}")


def _chosen(facts: Row) -> Row | None:
    """The row of results that validation chose."""
    wanted = facts["chosen_on_validation"]
    return next((row for row in facts["results"] if wanted and who(row) == who(wanted)), None)
