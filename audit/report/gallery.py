"""Samples to look at, with small pictures: kept, merged with their twins, and one or two that went by each reason."""

import base64
import io
import struct
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from zlib import error as zlib_error

from PIL import Image, ImageFont

from evenly.audit.published import PublishedBuild, ReadBytes, each_image
from evenly.curation.align import ALIGN, RANK
from evenly.curation.steps import STEPS
from evenly.storage.decoders.structure import excess
from evenly.storage.ledger import StepRecord
from evenly.storage.samples import sql_equals, sql_in
from evenly.storage.stores.files import each_stored
from evenly.storage.web.decoding import sniff_format

KEPT = 10
PER_REASON = 2
_LOOK_AT = 40  # rows read per card wanted, to find some of different groups
_AT_ONCE = 4  # files of the sample table whose rows may be in memory
_COLUMNS = (
    "uid",
    "url",
    "file_name",
    "source_id",
    "caption",
    "group",
    "image_id",
    "chosen_caption",
    "evidence",
)
Card = dict[str, Any]


def read_gallery(build: PublishedBuild, read_bytes: ReadBytes) -> dict[str, Any]:
    """Cards under kept, merged (each with `twin`) and gone, with `shown` and `total` of each."""
    gallery = {
        "kept": kept_cards(build, KEPT),
        "merged": list(_lost_cards(build, merged=True)),
        "gone": list(_lost_cards(build, merged=False)),
    }
    cards = [card for group in gallery.values() for card in group]
    cards += [card["twin"] for card in gallery["merged"] if card["twin"] is not None]
    images = read_thumbnails(read_bytes, (card["image_id"] for card in cards if card["image_id"]))
    for card in cards:
        card["image"] = images.get(card["image_id"] or "")
    return gallery


def kept_cards(build: PublishedBuild, n: int, condition: str = "true") -> list[Card]:
    """Cards of n kept pairs that meet an SQL condition; fewer where there are fewer."""
    rows = build.first(_COLUMNS, f"{build.is_kept} AND {condition}", n * _LOOK_AT).to_pylist()
    return [_card(row) for row in _varied(rows, n)]


def _lost_cards(build: PublishedBuild, *, merged: bool) -> Iterator[Card]:
    """Up to PER_REASON pairs for every step and reason; those merged come with the pair that stands for them."""

    def gone_for(step_and_reason: tuple[StepRecord, str]) -> list[Card]:
        record, name = step_and_reason
        verdict, reason, value, target = (f"{record.name}_{end}" for end in ("verdict", "reason", "value", "into"))
        condition = f"{sql_equals(reason, name)} AND {verdict} {'=' if merged else '<>'} 'merged'"
        rows = build.first((*_COLUMNS, verdict, value, target), condition, PER_REASON * _LOOK_AT).to_pylist()
        cards = []
        for row in _varied(rows, PER_REASON):
            judged = {"verdict": row[verdict], "step": record.name, "reason": name, "value": row[value]}
            twin = {"twin": _twin(build, row[target])} if merged else {}
            cards.append(_card(row) | judged | _meaning(record, row[value]) | twin)
        return cards

    steps = [record for record in build.deciding if "arrivals" not in record.hashes]  # else what goes is no pair
    went = ("merged",) if merged else ("dropped", "failed")
    reasons = [(record, name) for record in steps if any(map(record.counts.get, went)) for name in record.reasons]
    for cards in each_stored(gone_for, reasons, build.workspace.root, at_once=_AT_ONCE):
        yield from cards


def _meaning(record: StepRecord, value: float | None) -> dict[str, Any]:
    """The label of a step's value, with the threshold or other number that it was compared with."""
    threshold = record.notes.get("threshold") if record.name in (ALIGN.name, RANK.name) else None
    step = STEPS.get(record.name)
    name = None if value is None else "value" if step is None else step.value
    return {"value_name": name, "threshold": threshold}


def _twin(build: PublishedBuild, uid: str) -> Card | None:
    rows = build.samples(_COLUMNS, sql_in("uid", [uid])).to_pylist()
    return _card(rows[0]) if rows else None


def _card(row: Mapping[str, Any]) -> Card:
    empty = dict.fromkeys((*_COLUMNS, "verdict", "step", "reason", "value", "value_name", "threshold"))
    return empty | {name: row.get(name) for name in _COLUMNS if name in row} | {"image": None}


def _varied(rows: Sequence[Mapping[str, Any]], n: int) -> list[Mapping[str, Any]]:
    """`n` of the rows in their order, those of a group not seen before taken first: skin tones are one group."""
    fresh: list[Mapping[str, Any]] = []
    shown: set[Any] = set()
    for row in rows:
        name = row.get("group") or row["uid"]
        if name not in shown:
            shown.add(name)
            fresh.append(row)
    fresh_uids = {row["uid"] for row in fresh[:n]}
    remaining: Iterable[Mapping[str, Any]] = (row for row in rows if row["uid"] not in fresh_uids)
    return [*fresh[:n], *remaining][:n]


SIDE = 192
MAX_PIXELS = 40_000_000
# Raster formats that Pillow decodes by itself; others (EPS for one) would start other programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
_UNDECODABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, MemoryError, struct.error, zlib_error)


def read_thumbnails(read_bytes: ReadBytes, image_ids: Iterable[str]) -> dict[str, str]:
    """Return a WebP data URI for each picture that can be read and decoded; the others are left out."""
    thumbnails = {}
    for image_id, data in each_image(read_bytes, sorted(set(image_ids))):
        uri = None if isinstance(data, str) else thumbnail(data)
        if uri is not None:
            thumbnails[image_id] = uri
    return thumbnails


def thumbnail(data: bytes, *, side: int = SIDE, max_pixels: int = MAX_PIXELS) -> str | None:
    """Return a WebP data URI of at most `side` pixels each way; None for what is no picture or has too many pixels."""
    small = small_picture(data, side=side, max_pixels=max_pixels)
    return None if small is None else webp_uri(small)


def webp_uri(picture: Image.Image) -> str:
    """A WebP data URI of a picture."""
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=78, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()


def label_font(size: int = 11) -> ImageFont.FreeTypeFont:
    """The font that matplotlib brings along; letters that it lacks are drawn as boxes."""
    from matplotlib import get_data_path

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


def small_picture(data: bytes, *, side: int = SIDE, max_pixels: int = MAX_PIXELS) -> Image.Image | None:
    """Return the picture of a file's bytes, at most `side` pixels each way; None as `thumbnail` gives it."""
    kind = sniff_format(data)
    if kind is not None and excess(data, kind) is not None:
        return None  # taken in by an earlier version: downloads refuse it now
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata and large pictures; both are judged here
        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                if image.width * image.height > max_pixels:
                    return None
                image.draft("RGB", (side * 2, side * 2))
                has_alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
                small = image.convert("RGBA" if has_alpha else "RGB")
                small.thumbnail((side, side))
        except (*_UNDECODABLE, Image.DecompressionBombError):
            return None
    return small
