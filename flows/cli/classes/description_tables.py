"""A described class list as the tables that `evenly describe` prints."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evenly.descriptions.descriptions import ACCEPTED
from evenly.flows.cli.output import print_rows, print_text, printable


def print_described(facts: Mapping[str, Any], *, verbose: bool = False) -> None:
    """Print what became of the texts of each class, what it took, and what nothing came of; see Descriptions.summary.

    verbose: every text as well.
    """
    if verbose:
        print_rows("descriptions", [_row(row, with_other=_has_others(facts)) for row in facts["descriptions"]])
    print_rows("texts per class", _of_classes(facts["descriptions"]))
    for line in _lines(facts):
        print_text(printable(line))
    if facts["undescribed"]:
        rows = [
            {"class": name or "(the list)", "method": method, "reasons": _counted(reasons)}
            for name, method, reasons in facts["undescribed"]
        ]
        print_rows("without a text", rows)


def _of_classes(texts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per class: accepted texts by method, and the others by reason."""
    classes: dict[str, tuple[Counter[str], Counter[str]]] = {}
    for text in texts:
        accepted, refused = classes.setdefault(text["class"], (Counter(), Counter()))
        if text["verdict"] == ACCEPTED:
            accepted[text["method"]] += 1
        else:
            refused[text["reason"] or text["verdict"]] += 1
    return [
        {
            "class": name or "(the list)",
            "accepted": accepted.total(),
            "by method": _counted(accepted),
            "refused": refused.total(),
            "by reason": _counted(refused),
        }
        for name, (accepted, refused) in classes.items()
    ]


def _has_others(facts: Mapping[str, Any]) -> bool:
    return any(row["other"] is not None for row in facts["descriptions"])


def _row(row: Mapping[str, Any], *, with_other: bool) -> dict[str, Any]:
    """The columns that fit a terminal; the rest is in the JSON."""
    shown = {"class": row["class"], "method": row["method"], "text": row["text"]}
    pair = {"other": row["other"]} if with_other else {}
    return shown | pair | {"verdict": row["verdict"] + (f": {row['reason']}" if row["reason"] else "")}


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{facts['class_list']}: {facts['accepted']:,} texts accepted for {facts['classes']:,} classes, "
        f"{_in_all(facts['rejected'])} rejected, {_in_all(facts['failed'])} failed"
    )
    cost = "" if facts["account"] is None else f", ${facts['cost_usd']:.6f}"
    yield (
        f"{facts['requests_sent']:,} requests sent, {facts['cache_hits']:,} replies known before; "
        f"{facts['prompt_tokens']:,} + {facts['completion_tokens']:,} tokens{cost}"
    )
    if facts["lost_attempts"]:
        yield (
            f"{facts['lost_attempts']:,} attempts brought no reply and may have been billed: at most "
            f"${facts['lost_usd']:.6f} more"
        )
    if (account := facts["account"]) is not None:
        limit = "" if account["limit_usd"] is None else f" of ${account['limit_usd']:.6f}"
        yield f"all runs on {facts['class_list']}: ${account['spent_usd']:.6f} spent{limit}"
    if facts["ungrounded"]:
        yield f"without a WordNet sense: {', '.join(facts['ungrounded'])}"
    if facts["unanswered"]:
        yield f"requests without an answer: {_in_all(facts['unanswered'])}. Run again: only these are asked"
    yield f"step {facts['step']}"


def _in_all(reasons: Mapping[str, int]) -> str:
    """A number, with the reasons that it is made of."""
    named = f" ({_counted(reasons)})" if reasons else ""
    return f"{sum(reasons.values()):,}{named}"


def _counted(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in reasons.items())
