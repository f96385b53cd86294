"""The tables of an evaluation, arranged for people: one row per adapter, or per score, or per pair."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa


def plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as dicts, None in place of NaN."""
    return [{name: _plain(value) for name, value in row.items()} for row in table.to_pylist()]


def _plain(value: Any) -> Any:  # noqa: ANN401 - a cell of any table
    return None if isinstance(value, float) and math.isnan(value) else value


Row = Mapping[str, Any]

ALPHA = 0.05
ALL = "all"
"""The sets of pictures of no class together, each counted alike."""
MOST_PAIRED = 24
"""Adapters in the square of pairs."""
NO_TEXTS = " none"
_WORD = re.compile(r"\w+")
REMEDIES = {
    "class_texts": "`methods: [description]` with the class list",
    "descriptor_texts": "`methods: [description]` with the class list",
    "pair_texts": "`methods: [differential]` with the class list",
    "context_prototypes": '`contexts: ["a drawing of a {}", "a photo of a {}"]` with the class list',
    "negation_prototypes": '`negations: ["a photo with no {}"]` with the class list',
    "rejection_prototypes": "`rejections: [NAME, NAME]`, of what is no class, with the class list",
    "second": "`features: {second: {}}`",
    "unlabelled_second": "`features: {second: {}}`",
}
"""The line of a recipe that brings a field of features, which an adapter or a score needs."""


def by_adapter(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows of `head_tail`, one per adapter in their order: name, texts, and the rows head, tail and gap."""
    adapters: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        adapter = {"name": row["name"], "texts": row["texts"]}
        adapters.setdefault((row["name"], row["texts"]), adapter)[row["part"]] = row
    return list(adapters.values())


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """Scores of one classifier that tell the same `n` test pictures from the same ones of no class, and how well.

    `classifier` is in words. `baseline`: the score that the others are compared to. `sets`: name, kind, n of each
    set of pictures, "near" ones first as they come. `scores`: score, note, `by_set` (set -> row of `ood`), and `mean`,
    the row of the mean over near and far where there is more than one set.
    """

    classifier: str
    baseline: str
    n: int
    sets: list[dict[str, Any]]
    scores: list[dict[str, Any]]

    @property
    def is_compared(self) -> bool:
        """Whether its rows have differences to the baseline, which those of earlier versions have not."""
        return len(self.scores) > 1 and all(
            "auroc_difference" in row for score in self.scores for row in score["by_set"].values()
        )


@dataclass(frozen=True, kw_only=True)
class UnseenTables:
    """A table per classifier and rows; `skipped`: score, what it needs, and the `remedy` in words.

    `name` and `texts` are those of the adapter that gave the logits.
    """

    name: str
    texts: str
    tables: list[ScoreTable]
    skipped: list[dict[str, str]]


def unseen_of(rows: Sequence[Row]) -> UnseenTables | None:
    """The rows of `ood`, those of one classifier on the same pictures together; None where no score was measured."""
    from evenly.adapters.ood import BASELINES, OOD_SCORES  # here, for it loads pandas

    scored = [row for row in rows if not row["skipped"]]
    if not scored:
        return None
    sizes: dict[str, tuple[Any, ...]] = {}
    for row in (row for row in scored if not _mean(row)):
        sizes[row["score"]] = (*sizes.get(row["score"], ()), (row["set"], row["n_id"], row["n_ood"]))
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in scored:
        groups.setdefault((OOD_SCORES[row["score"]].classifier, sizes[row["score"]]), []).append(row)
    adapter = scored[0]
    words = {"adapter": f"logits of {label_of(adapter)}", "zero-shot": "zero-shot by the same texts"}
    words |= {"cooked": "COOkeD's ensemble"}
    return UnseenTables(
        name=adapter["name"],
        texts=adapter["texts"],
        tables=[_score_table(group, words[kind], BASELINES[kind]) for (kind, _), group in groups.items()],
        skipped=[
            {"score": row["score"], "needs": row["skipped"], "remedy": recipe_remedy(row["skipped"])}
            for row in rows
            if row["skipped"]
        ],
    )


def _score_table(scored: Sequence[Row], classifier: str, baseline: str) -> ScoreTable:
    sets = {
        row["set"]: {"name": row["set"], "kind": row["kind"], "n": row["n_ood"]} for row in scored if not _mean(row)
    }
    scores: dict[str, dict[str, Any]] = {}
    for row in scored:
        score = scores.setdefault(
            row["score"], {"score": row["score"], "note": row["note"], "by_set": {}, "mean": None}
        )
        if not _mean(row):
            score["by_set"][row["set"]] = row
        elif row["kind"] == "mean" and len(sets) > 1:
            score["mean"] = row
    return ScoreTable(
        classifier=classifier,
        baseline=baseline,
        n=scored[0]["n_id"],
        sets=list(sets.values()),
        scores=list(scores.values()),
    )


def _mean(row: Row) -> bool:
    return bool(row["set"] == "mean")


def recipe_remedy(needs: str) -> str:
    """Lines for a recipe so that fields of features are there, which a text names; "" for none of them."""
    words = {*_WORD.findall(needs)}
    lines = dict.fromkeys(line for field, line in REMEDIES.items() if field in words)
    return f"write {' and '.join(lines)} in the recipe, and rebuild" if lines else ""


def notes_of(unseen: UnseenTables) -> dict[str, list[str]]:
    """Notes on scores, each with the scores that it is about."""
    notes: dict[str, list[str]] = {}
    for score in (score for table in unseen.tables for score in table.scores):
        if score["note"]:
            notes.setdefault(score["note"], []).append(score["score"])
    return notes


def ensembles_of(rows: Sequence[Row]) -> dict[str, dict[str, list[Row]]]:
    """Rows of `ensembles` by adapter with its texts, then by classifier: a row per set of pictures of no class.

    Means over sets are left out.
    """
    ensembles: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        if not _mean(row):
            adapter = f"{row['name']} {row['texts']}".removesuffix(NO_TEXTS)
            ensembles.setdefault(adapter, {}).setdefault(row["part"], []).append(row)
    return ensembles


def better_and_worse(pairs: Sequence[Row]) -> list[tuple[str, str]]:
    """The better and the worse adapter, in words, of each row of `pairs` whose Holm p is below ALPHA."""
    named = [(row, row["a"].removesuffix(NO_TEXTS), row["b"].removesuffix(NO_TEXTS)) for row in pairs]
    return [(b, a) if row["difference"] > 0 else (a, b) for row, a, b in named if row["p_holm"] < ALPHA]


def label_of(row: Row) -> str:
    """An adapter with its texts, in words."""
    texts = row.get("texts")
    name = str(row.get("name")).replace("_", " ")
    return f"{name} ({texts})" if texts and texts != "none" else name


def pairs_square(rows: Sequence[Row], results: Sequence[Row]) -> dict[str, Any] | None:
    """A square of differences, row minus column, of the most accurate adapters."""
    shown = results[:MOST_PAIRED]
    names = [f"{row['name']} {row['texts']}" for row in shown]
    by_pair = {(row["a"], row["b"]): (row, -1.0) for row in rows} | {(row["b"], row["a"]): (row, 1.0) for row in rows}
    if not rows or not all((a, b) in by_pair for a in names for b in names if a != b):
        return None
    return {
        "labels": [label_of(row) for row in shown],
        "cells": [[_cell(*by_pair[a, b]) if a != b else None for b in names] for a in names],
        "left_out": len(results) - len(shown),
        "significant": sum(row["p_holm"] < ALPHA for row in rows),
        "all": len(rows),
        "n": rows[0]["n"],
        "groups": rows[0]["groups"],
    }


def _cell(row: Row, sign: float) -> dict[str, Any]:
    """The difference to the other adapter, its interval, and whether it is told apart."""
    ends = [None if row[end] is None else sign * row[end] + 0.0 for end in ("low", "high")]  # + 0.0: no minus zero
    low, high = ends if sign > 0 else ends[::-1]
    return {"difference": sign * row["difference"] + 0.0, "low": low, "high": high, "differs": row["p_holm"] < ALPHA}


def spans_zero(row: Mapping[str, Any]) -> bool | None:
    """Whether the interval of the difference holds zero; None where there is no interval."""
    low, high = row.get("difference_low"), row.get("difference_high")
    return None if low is None or high is None else bool(low <= 0 <= high)


def lost_on_test(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows below zero-shot on test, the largest loss first: what names a row, and its difference.

    A row of a leaderboard, of results or of a fit, with name, texts (shots, list) and the difference with its ends.
    """
    names = ("list", "name", "texts", "shots", "difference", "difference_low", "difference_high")
    lost = [{name: _plain(row[name]) for name in names if name in row} for row in rows if _below(row)]
    return sorted(lost, key=lambda row: row["difference"])


def losses_in_words(rows: Sequence[Row]) -> str:
    """The foot of a table of adapters: which lost against zero-shot on test, and by how much, or that none did."""
    judged = [row for row in rows if _plain(row.get("difference")) is not None]
    if not judged:
        return "lost against zero-shot on test: nothing is known, there are no test rows"
    lost = lost_on_test(judged)
    if not lost:
        return "lost against zero-shot on test: none"
    n_surely = sum(_surely_below(row) for row in lost)
    counts = f"{len(lost)} of {len(judged)} rows, {n_surely} with the whole interval below"
    return f"lost against zero-shot on test, with 95 % intervals: {', '.join(map(_loss, lost))} ({counts})"


def _below(row: Row) -> bool:
    difference = _plain(row.get("difference"))
    return difference is not None and difference < 0


def _surely_below(row: Row) -> bool:
    return row["difference_high"] is not None and row["difference_high"] < 0


def _loss(row: Row) -> str:
    low, high = row["difference_low"], row["difference_high"]
    shots = f" at {row['shots']} shot{'s' * (row['shots'] != 1)}" if "shots" in row else ""
    ends = "" if low is None or high is None else f" [{low:+.3f}, {high:+.3f}]"
    return f"{label_of(row)}{shots} {row['difference']:+.3f}{ends}"
