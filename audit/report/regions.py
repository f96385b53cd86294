"""Regions: counts and sizes by label, reasons of those that do not count, and pictures with regions drawn on them."""

from collections import Counter
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, ImageDraw

from evenly.audit.published import PublishedBuild, ReadBytes, each_image
from evenly.audit.regions import CORNERS, REGION_TABLE, counting, regions_of
from evenly.audit.report.gallery import kept_cards, label_font, small_picture, webp_uri
from evenly.audit.safe_text import visible
from evenly.features.dense.regions import Regions, decoded_mask
from evenly.features.pictures.rgb import open_rgb
from evenly.storage.ledger import StepRecord

SHOWN, LABELS, DRAWN = 12, 30, 50
"""Pictures and labels in a report, and regions on a picture, the largest."""
_SIDE, _LETTERS, _OPACITY = 320, 28, 110
_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")
_GREY = "#8a8a8a"


def count_regions(build: PublishedBuild, record: StepRecord, read_bytes: ReadBytes) -> dict[str, Any]:
    """The section's facts, of the pairs of the build.

    labels: the most frequent, with regions, pairs and the median share of the picture that boxes cover. attributes: the
    most frequent of regions that count, with how many have each.
    """
    tables, pairs = list[pa.Table](), 0
    for batch in build.batches(["uid", "width", "height"], build.is_kept):
        tables.append(
            _with_shares(build.ledger.rows_of(record, REGION_TABLE, batch["uid"].combine_chunks()), batch, pairs)
        )
        pairs += len(batch)
    regions = pa.concat_tables(tables)
    counts = {name: Counter(regions[name].to_pylist()) for name in ("reason", "source")}
    sums = [("pair", "count"), ("pair", "count_distinct"), ("share", "approximate_median")]
    attributes = Counter(counting(regions)["attributes"].combine_chunks().flatten().to_pylist())
    by_label = counting(regions).group_by("label", use_threads=False).aggregate(sums)
    labels = by_label.rename_columns(["label", "regions", "pairs", "share"]).sort_by(
        [("regions", "descending"), ("label", "ascending")]
    )
    return {
        "pairs": pairs,
        "counting": counts["reason"].pop("", 0),
        "reasons": counts["reason"].most_common(),
        "sources": counts["source"].most_common(),
        "labels": labels.slice(0, LABELS).to_pylist(),
        "attributes": attributes.most_common(LABELS),
        "more": max(0, len(labels) - LABELS),
        "learned": record.notes.get("learned"),
        "cards": _cards(build, record, read_bytes),
    }


def _with_shares(regions: pa.Table, batch: pa.Table, first: int) -> pa.Table:
    """Label, reason, source, attributes, pair (numbered from `first`) and share of the picture of regions."""
    places = pc.index_in(regions["uid"].combine_chunks(), batch["uid"].combine_chunks()).to_numpy()
    x0, y0, x1, y1 = (regions[side].to_numpy() for side in CORNERS)
    pixels = batch["width"].to_numpy().astype(np.float64) * batch["height"].to_numpy()
    columns = {"pair": places + first, "share": (x1 - x0) * (y1 - y0) / pixels[places]}
    empty = pa.array([[]] * len(regions), pa.list_(pa.string()))
    columns |= {"attributes": regions["attributes"] if "attributes" in regions.column_names else empty}
    return pa.table({name: regions[name] for name in ("label", "reason", "source")} | columns)


def _cards(build: PublishedBuild, record: StepRecord, read_bytes: ReadBytes) -> list[dict[str, Any]]:
    cards = kept_cards(build, SHOWN, "region_count > 0")
    pictures = dict(each_image(read_bytes, sorted({card["image_id"] for card in cards})))
    for card in cards:
        rows = counting(build.ledger.rows_of(record, REGION_TABLE, pa.array([card["uid"]])))
        content = pictures[card["image_id"]]
        picture = None if isinstance(content, str) else overlaid(content, regions_of(rows.to_pylist()), side=_SIDE)
        card["image"] = None if picture is None else webp_uri(picture)
    return cards


def overlaid(content: bytes, regions: Regions, *, side: int) -> Image.Image | None:
    """The picture of a file's bytes, upright, its longer side of so many pixels, with its DRAWN largest regions.

    Masks are translucent; boxes have label and score, and are grey where they do not count. None for what is no
    picture, or has too many pixels.
    """
    if small_picture(content, side=1) is None:
        return None
    whole = open_rgb(content)
    scale = side / max(whole.size)
    picture = whole.resize((max(1, round(whole.width * scale)), max(1, round(whole.height * scale))))
    areas = (regions.boxes[:, 2] - regions.boxes[:, 0]) * (regions.boxes[:, 3] - regions.boxes[:, 1])
    largest = regions[np.argsort(-areas, kind="stable")[:DRAWN]]
    for place, label in enumerate(largest.labels):
        colour = _GREY if largest.reasons[place] else _COLOURS[crc32(label.encode()) % len(_COLOURS)]
        if largest.masks[place] and not largest.reasons[place]:
            mask = Image.fromarray(decoded_mask(largest.masks[place], whole.size).astype(np.uint8) * _OPACITY)
            picture.paste(colour, mask=mask.resize(picture.size))
        _frame(picture, largest.boxes[place] * scale, _title(label, largest.scores[place]), colour)
    return picture


def _title(label: str, score: float) -> str:
    text = visible(label)
    text = text if len(text) <= _LETTERS else f"{text[:_LETTERS]}…"
    return text if np.isnan(score) else f"{text} {score:.2f}".strip()


def _frame(picture: Image.Image, box: npt.NDArray[np.float64], title: str, colour: str) -> None:
    """Draw a box, and its title in its upper corner."""
    draw, font = ImageDraw.Draw(picture), label_font(max(11, max(picture.size) // 50))
    x0, y0, x1, y1 = (float(side) for side in box)
    draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=2)
    if title:
        place = (min(x0, max(0, picture.width - draw.textlength(title, font=font))) + 2, y0 + 1)
        draw.rectangle(draw.textbbox(place, title, font=font), fill=colour)
        draw.text(place, title, "white", font=font)
