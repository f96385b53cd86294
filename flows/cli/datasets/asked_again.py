"""The failed downloads that a rebuild would ask again now by its recipe's schedule, and when further ones follow."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.flows.recipe import Recipe
from evenly.signatures import Place
from evenly.storage.web.shards import failures_due, is_due
from evenly.storage.workspace import Workspace


def asked_again(
    recipe: Recipe, *, root: Place | None = None, urls: Iterable[pa.Array] | None = None
) -> dict[str, Any] | None:
    """Of `urls`, or without them of all that the workspace recorded: `now`, URLs that are due, by reason.

    `later` counts those that become due, the first of them at `next`. None where the recipe asks nothing again.
    """
    started = datetime.now(UTC)
    retry = recipe.retry_at(started)
    if retry is None or retry.until is None or not recipe.has_pictures:
        return None
    failures = failures_due(Workspace.at(root).downloads, replace(retry, until=None), urls)
    due = is_due(failures, retry)
    waiting = failures.filter(pc.invert(due))
    first = pc.min(waiting["fetched_at"]).as_py()
    return {
        "now": dict(Counter(failures["outcome"].filter(due).to_pylist()).most_common()),
        "later": waiting.num_rows,
        "next": None if first is None else (first + (started - retry.until)).isoformat(timespec="minutes"),
    }


def retry_lines(retries: dict[str, Any] | None) -> list[str]:
    """The same in a line; none where nothing failed that is asked again."""
    if retries is None or not (retries["now"] or retries["later"]):
        return []
    line = f"failed downloads that are asked again: {sum(retries['now'].values()):,} now"
    if retries["now"]:
        line += f" ({', '.join(f'{reason} {count:,}' for reason, count in retries['now'].items())})"
    if retries["later"]:
        line += f", {retries['later']:,} later, the first on {retries['next'][:16].replace('T', ' ')} UTC"
    return [line]
