"""Two builds as a page: what moved and by which cause, both funnels, results of models, and examples with pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenly.audit.diff import Difference
from evenly.audit.published import PublishedBuild, ReadBytes
from evenly.audit.report.gallery import read_thumbnails
from evenly.audit.report.page import KINDS, page_environment
from evenly.storage.journals import record_page
from evenly.storage.samples import sql_in
from evenly.storage.web.images import reader

_COLUMNS = ("uid", "url", "file_name", "source_id", "caption", "image_id")
_VERDICTS = {"entered": "kept", "left": "dropped", "changed": "merged"}
"""The colour of a move."""


def difference_page(difference: Difference, older: PublishedBuild, newer: PublishedBuild, read_bytes: ReadBytes) -> str:
    """One HTML page that loads nothing: every text is escaped, every picture shrunk and encoded anew.

    A picture whose bytes are not at hand is left out.
    """
    groups: list[dict[str, Any]] = [
        {
            "kind": kind,
            "verdict": _VERDICTS[kind],
            "changes": [{**vars(change)} for change in getattr(difference, kind)],
        }
        for kind in KINDS
    ]
    for group in groups:
        build = older if group["kind"] == "left" else newer
        uids = sorted({row["uid"] for change in group["changes"] for row in change["examples"]})
        pairs = build.samples(_COLUMNS, sql_in("uid", uids)).to_pylist() if uids else []
        columns = {row["uid"]: row for row in pairs}
        images = read_thumbnails(read_bytes, (row["image_id"] for row in pairs if row.get("image_id")))
        for change in group["changes"]:
            change["title"] = f"{change['cause']} of {change['origin']}" if change["origin"] else change["cause"]
            change["cards"] = [
                _card({**row, **columns.get(row["uid"], {})}, change, group["verdict"], images)
                for row in change["examples"]
            ]
    template = page_environment().get_template("difference.html.j2")
    funnels = [{step["name"]: step for step in build.manifest["steps"] if step["counts"]} for build in (older, newer)]
    steps = [
        {**step, "before": funnels[0].get(step["step"]), "after": funnels[1].get(step["step"])}
        for step in difference.steps
        if step["step"] in funnels[0] or step["step"] in funnels[1]
    ]
    return template.render(difference=difference, groups=groups, steps=steps)


def write_difference(path: Path, difference: Difference, older: PublishedBuild, newer: PublishedBuild) -> None:
    """Write the page, and a receipt of it in the workspace."""
    page = difference_page(difference, older, newer, reader(newer.workspace.downloads))
    record_page(newer.workspace, path, page, kind="diff", build=newer.name)


def _card(row: Mapping[str, Any], change: Mapping[str, Any], verdict: str, images: Mapping[str, str]) -> dict[str, Any]:
    shown: dict[str, Any] = {**dict.fromkeys((*_COLUMNS, "value")), **row}
    image = images.get(shown["image_id"] or "")
    return shown | {"image": image, "verdict": verdict, "step": change["step"], "reason": change["reason"]}
