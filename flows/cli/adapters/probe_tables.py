"""The results of probes as tables that fit a terminal of 80 columns."""

from collections.abc import Mapping, Sequence
from typing import Any

from evenly.flows.cli.adapters.evaluation_tables import measured, who
from evenly.flows.cli.output import print_rows, print_text, with_interval

Row = Mapping[str, Any]


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
    print_rows(
        "which colour is found for each of the objects of a picture",
        [
            {
                "part": row["part"],
                "asked": row["questions"],
                "own colour": measured(row, "own"),
                "the other's": measured(row, "swap"),
                "ahead": row["beats"],
            }
            for row in rows
            if row["questions"] and row["part"] != "all"
        ],
    )
    print_text('"ahead": how often the own colour scores above that of the other object; 0.5 is chance')


def _print_retrieval(rows: Sequence[Row]) -> None:
    print_rows(
        "what captions and pictures find, 95 % intervals",
        [
            {
                "direction": row["direction"],
                "queries": row["queries"],
                "R@1": measured(row, "r_at_1"),
                "R@10": measured(row, "r_at_10"),
                "auc": measured(row, "auc"),
            }
            for row in rows
        ],
    )


def _print_corruptions(facts: Row) -> None:
    print_text(f"\nClass list {facts['list']}: test pictures under corruptions")
    for line in facts["skipped"]:
        print_text(f"skipped: {line}")
    if not facts["models"]:
        print_text("no adapter was judged: there are no test pictures, or all adapters were skipped")
        return
    state = facts["models"][0]["state"] if all(row["state"] for row in facts["models"]) else ""
    print_rows(
        "mean over corruptions and strengths",
        [
            {
                "adapter": who(row),
                "clean": row["clean"],
                "corrupted": measured(row, "corrupted"),
                "lost": row["relative_drop"],
                **({} if state else {"line": row["expected"], "beyond": row["effective_robustness"]}),
            }
            for row in facts["models"]
        ],
    )
    print_text(state or '"line": what accuracy on clean pictures lets expect, by a line through all adapters\' logits')
    _print_per_corruption(facts)
    _print_sources(facts)


def _print_sources(facts: Row) -> None:
    """A linear probe per training source at its whole size, and what lies beyond the line through all such models."""
    if not facts["sources"]:
        return
    lines = {row["source"]: row for row in facts["source_lines"]}
    print_rows(
        "linear probes trained on one source alone, and on all",
        [
            {
                "source": row["source"],
                "train": row["rows"],
                "clean": measured(row, "clean"),
                "corrupted": measured(row, "corrupted"),
                "slope": lines[row["source"]]["slope"],
                "beyond": lines[row["source"]]["effective_robustness"],
            }
            for row in facts["sources"]
            if row["share"] == 1
        ],
    )
    print_text(
        '"beyond": mean over shares of its pictures of accuracy minus the line through the models of all sources'
    )


def _print_per_corruption(facts: Row) -> None:
    """Mean over strengths for those that are shown."""
    rows: dict[str, dict[str, Any]] = {}
    for shown in facts["shown"]:
        for row in facts["corruptions"]:
            if who(row) == who(shown):
                line = rows.setdefault(row["corruption"], {"corruption": row["corruption"]})
                line[who(shown)] = with_interval(row["accuracy"], row["low"], row["high"])
    print_rows("accuracy per corruption, mean over strengths", list(rows.values()))
