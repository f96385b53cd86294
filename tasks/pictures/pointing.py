"""Regions by a vision model of a chat endpoint, asked as captioners ask: each request once, within a budget."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from evenly.curation.regions.judgement import RegionRule
from evenly.descriptions.captions.asked import UNSTORED, Question, each_row
from evenly.descriptions.captions.pointing import INSTRUCTION, PointingRule, about_things, read_boxes_of_reply
from evenly.features.dense.given import Size, region_entries
from evenly.features.dense.regions import Regions
from evenly.storage.records import content_hash
from evenly.tasks.captions.captioner import Captioner, SentPictures, Shown, ask_captions
from evenly.tasks.chat.endpoints import endpoint_identity
from evenly.tasks.run import Run

ASKING = "regions of pictures"
"""The name under which pictures are asked about, as that of a captioner, none of which can be called so."""
NO_REPLY = "no_reply_"
"""The beginning of the reason of a picture that may get a reply another time."""
OUTSIDE_REGIONS = {"PointingRule": " ".join(UNSTORED), **dict.fromkeys(("RegionRule", "PictureRegionRule"), "dense")}
"""Fields that change no region."""


@dataclass(frozen=True, kw_only=True)
class PictureRegionRule(RegionRule):
    """The rule of regions as recipes have it: its `endpoint` is a model that is shown pictures."""

    endpoint: PointingRule | None = None


def pointing(names: Sequence[str]) -> Captioner[PointingRule]:
    """The captioner that asks where things of these names are; its captions are entries of regions, as JSON."""
    return Captioner(rule=PointingRule, offer=partial(ask_regions, names=names), identity=partial(_identity, names))


def ask_regions(run: Run, rule: PointingRule, shown: Shown, *, names: Sequence[str]) -> pa.Table:
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


def replied_regions(
    replies: Iterable[Mapping[str, Any]], sizes: Sequence[Size], *, model: str, names: Sequence[str]
) -> Regions:
    """The regions in replies (rows of MADE) about pictures of these sizes.

    A reply that was refused is a row with that reason, after NO_REPLY where there may be one another time; a thing of a
    name that was not asked for is `another_name`.
    """
    rows = []
    for picture, (reply, size) in enumerate(zip(replies, sizes, strict=True)):
        refusal = f"{NO_REPLY if reply['passing'] else ''}{reply['refused']}"
        entries = [{"reason": refusal}] if refusal else region_entries(reply["caption"], size)
        for entry in entries:
            reason = entry.get("reason") or ("" if entry["label"] in names else "another_name")
            rows.append({**entry, "picture": picture, "source": f"endpoint:{model}", "reason": reason})
    return Regions.from_rows(rows)


def _identity(names: Sequence[str], run: Run, rule: PointingRule) -> str:
    asked = {"instruction": INSTRUCTION, "names": names, "sampling": asdict(rule.sampling), "max_side": rule.max_side}
    return f"{endpoint_identity(run, rule)} {content_hash(asked)}"
