"""Regions by a vision model of a chat endpoint, asked as captioners ask: each request once, within a budget."""

from collections.abc import Sequence

import pyarrow as pa

from evenly.descriptions.captions.asked import Question, each_row
from evenly.descriptions.captions.pointing import PointingRule, about_things, read_boxes_of_reply
from evenly.features.dense.given import Size, region_entries
from evenly.features.dense.regions import Regions
from evenly.tasks.captions.captioner import SentPictures, Shown, ask_captions
from evenly.tasks.run import Run


def ask_regions(run: Run, rule: PointingRule, shown: Shown, names: Sequence[str]) -> pa.Table:
    """The replies (MADE) about where things of these names are in the pictures of `shown`, a row for each pair.

    `caption` holds the entries as JSON. Raises EndpointError and BudgetExceededError as captioners do.
    """
    pictures = SentPictures(run, shown, max_side=rule.max_side)
    requests = (
        about_things(pictures[row["image_id"]], names, rule.sampling)
        for row in each_row(shown.pairs.select(["image_id"]))
    )
    questions = (Question(place=place, request=request) for place, request in enumerate(requests))
    return ask_captions(run, rule, shown, questions, shown.pairs.num_rows, read=read_boxes_of_reply)


def replied_regions(replies: pa.Table, sizes: Sequence[Size], *, model: str, names: Sequence[str]) -> Regions:
    """The regions in replies about pictures of these sizes.

    A reply that was refused is a row with that reason; a thing of a name that was not asked for is `another_name`.
    """
    rows = []
    for picture, (reply, size) in enumerate(zip(each_row(replies), sizes, strict=True)):
        entries = [{"reason": reply["refused"]}] if reply["refused"] else region_entries(reply["caption"], size)
        for entry in entries:
            reason = entry.get("reason") or ("" if entry["label"] in names else "another_name")
            rows.append({**entry, "picture": picture, "source": f"endpoint:{model}", "reason": reason})
    return Regions.from_rows(rows)
