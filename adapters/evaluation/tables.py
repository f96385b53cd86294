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
class UnseenTables:
    """Scores that tell test pictures from those of no class, and how well.

    `sets`: name, kind, n of each set of pictures, "near" ones first as they come. `scores`: score, note, `by_set` (set
    -> row of `ood`), and `mean`, the row of the mean over near and far where there is more than one set. `skipped`:
    score, what it needs, and the `remedy` in words. `name` and `texts` are those of the adapter that gave the logits.
    """

    n: int
    name: str
    texts: str
    sets: list[dict[str, Any]]
    scores: list[dict[str, Any]]
    skipped: list[dict[str, str]]


def unseen_of(rows: Sequence[Row]) -> UnseenTables | None:
    """The rows of `ood`, one per score; None where no score was measured."""
    scored = [row for row in rows if not row["skipped"]]
    if not scored:
        return None
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
    return UnseenTables(
        n=scored[0]["n_id"],
        name=scored[0]["name"],
        texts=scored[0]["texts"],
        sets=list(sets.values()),
        scores=list(scores.values()),
        skipped=[
            {"score": row["score"], "needs": row["skipped"], "remedy": recipe_remedy(row["skipped"])}
            for row in rows
            if row["skipped"]
        ],
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
    for score in unseen.scores:
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


def better_and_worse(pairs: Sequence[Row], *, alpha: float) -> list[tuple[str, str]]:
    """The better and the worse adapter, in words, of each row of `pairs` whose Holm p is below `alpha`."""
    named = [(row, row["a"].removesuffix(NO_TEXTS), row["b"].removesuffix(NO_TEXTS)) for row in pairs]
    return [(b, a) if row["difference"] > 0 else (a, b) for row, a, b in named if row["p_holm"] < alpha]
