"""Captions: what came of each captioner, with pictures before and after, and scores of pairs kept and dropped."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.captions import read_origins
from evenly.audit.published import PublishedBuild, ReadBytes
from evenly.audit.report.gallery import read_thumbnails
from evenly.audit.report.plots.figures import before_after_plot, score_histogram
from evenly.curation.captions.outcomes import OriginFacts, all_disagreement
from evenly.storage.ledger import StepRecord
from evenly.storage.samples import sql_in

_UNSEEN_SHOWN = 8
_NAMED = ("uid", "source_id", "file_name", "image_id")
_RULES = {
    "score": "fits the picture best",
    "reward": "has the largest reward, of score and grammar",
    "draw": "is of the captioner that is drawn for it, by hash",
    "original": "is the original: what captioners offer is recorded alone",
}


def read_recaptioning(build: PublishedBuild, record: StepRecord, read_bytes: ReadBytes) -> dict[str, Any] | None:
    """The section's facts, by the record of `recaption`; None where no captions were chosen among candidates.

    rows: for each origin what was offered, refused, flagged and chosen, with mean scores of the original and the chosen
    captions. captioners: those of which captions were chosen or refused, each with plot, cost and cards.
    """
    origins = read_origins(build)
    if not origins:
        return None
    pairs = sum(origin.chosen for origin in origins)
    encoders = {"chooser": str(build.manifest["encoder"]["model"])}
    if record.rule.get("judge"):
        encoders["judge"] = f"the judge, {record.rule['judge']['model']}"
    accounts = record.notes.get("accounts") or {}
    captioners = [_captioner(origin, encoders, accounts.get(origin.name)) for origin in origins]
    _picture(build, read_bytes, [card for captioner in captioners for card in _cards_of(captioner)])
    rule = record.rule.get("choose") or {}
    return {
        "pairs": pairs,
        "changed": sum(origin.chosen for origin in origins if origin.name != "original"),
        "rule": _RULES.get(rule.get("by", "score"), ""),
        "margin": rule.get("margin") or None,
        "encoders": encoders,
        "has_references": any(origin.scores["references"][1].mean is not None for origin in origins),
        "disagreement": all_disagreement(origins),
        "rows": [_row(origin, pairs) for origin in origins if origin.offered or origin.kind],
        "captioners": [captioner for captioner in captioners if captioner["is_shown"]],
        "grammar": _grammar(record.notes.get("grammar")),
        "unseen": record.notes.get("unseen"),
    }


def _row(origin: OriginFacts, pairs: int) -> dict[str, Any]:
    means = {name: (original.mean, chosen.mean) for name, (original, chosen) in origin.scores.items()}
    return {
        "name": origin.name,
        "kind": origin.kind if origin.kind != origin.name else "",
        "offered": origin.offered,
        "refused": sum(origin.refused.values()),
        "flagged": sum(origin.flags.values()),
        "chosen": origin.chosen,
        "share": origin.chosen / pairs if pairs else 0.0,
        "means": means,
    }


def _captioner(origin: OriginFacts, encoders: Mapping[str, str], account: Mapping[str, Any] | None) -> dict[str, Any]:
    """Details of one origin, shown below the table: all but for the original."""
    panels = {
        name: origin.scores[encoder] for encoder, name in encoders.items() if origin.scores[encoder][1].mean is not None
    }
    return {
        "name": origin.name,
        "kind": origin.kind,
        "is_shown": origin.name != "original" and bool(origin.chosen or origin.offered or origin.refused),
        "refused": list(origin.refused.items()),
        "flags": list(origin.flags.items()),
        "unseen": list(origin.unseen.items())[:_UNSEEN_SHOWN],
        "account": account,
        "disagreement": origin.disagreement,
        "plot": before_after_plot(panels) if panels else None,
        "cards": {title: [dict(row) for row in rows] for title, rows in origin.examples.items()},
    }


def _cards_of(captioner: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for cards in captioner["cards"].values():
        yield from cards


def _picture(build: PublishedBuild, read_bytes: ReadBytes, cards: Sequence[dict[str, Any]]) -> None:
    """Give cards what people know their pairs by, and their pictures."""
    uids = {card["uid"] for card in cards}
    named = {row["uid"]: row for row in build.samples(_NAMED, sql_in("uid", sorted(uids))).to_pylist()}
    for card in cards:
        card.update(dict.fromkeys(_NAMED) | named[card["uid"]])
    images = read_thumbnails(read_bytes, (card["image_id"] for card in cards if card["image_id"]))
    for card in cards:
        card["image"] = images.get(card["image_id"] or "")


def _grammar(caught: Mapping[str, float | None] | None) -> dict[str, Any] | None:
    """Grammar scores, judged: the share of captions as written that they suspect, and what they catch, by kind."""
    if not caught:
        return None
    kinds = {name: share for name, share in caught.items() if name != "false_alarms" and share is not None}
    return {"false_alarms": caught.get("false_alarms"), "kinds": kinds}


def read_scores(build: PublishedBuild, record: StepRecord) -> list[dict[str, Any]]:
    """The figures of scores, by the record of `align`: title, text and plot each."""
    table = build.ledger.decisions(record, ["verdict", "value"])
    kept = pc.equal(table["verdict"], "kept")
    series = {
        "kept": _scores(table.filter(kept)["value"]),
        "dropped": _scores(table.filter(pc.invert(kept))["value"]),
    }
    threshold = record.notes.get("threshold")
    text = f"Image-text score of the chosen caption, {table.num_rows:,} pairs."
    if isinstance(threshold, int | float):
        text += f" The line is the threshold, {threshold:.4f}; it acts on the stored score."
    else:
        threshold = None
    plot = score_histogram(series, threshold=threshold)
    return [{"title": "Do picture and caption belong together?", "text": text, "plot": plot}]


def _scores(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    return np.asarray(column.drop_null().to_numpy(zero_copy_only=False), dtype=np.float64)
