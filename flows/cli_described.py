"""What `evenly describe` says of a described class list, for people."""

from collections.abc import Iterator, Mapping
from typing import Any

from flows.cli_output import print_rows, print_text, printable


def print_described(facts: Mapping[str, Any]) -> None:
    """Print what has become of all texts, what it took, and what nothing came of; see Descriptions.summary."""
    for line in _lines(facts):
        print_text(printable(line))
    if facts["undescribed"]:
        rows = [
            {"class": name or "(the list)", "method": method, "reasons": _counted(reasons)}
            for name, method, reasons in facts["undescribed"]
        ]
        print_rows("without a text", rows)


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{facts['class_list']}: {facts['accepted']:,} texts accepted for {facts['classes']:,} classes, "
        f"{_in_all(facts['rejected'])} rejected, {_in_all(facts['failed'])} failed"
    )
    yield (
        f"{facts['requests_sent']:,} requests sent, {facts['cache_hits']:,} replies known before; "
        f"{facts['prompt_tokens']:,} + {facts['completion_tokens']:,} tokens, ${facts['cost_usd']:.6f}"
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
