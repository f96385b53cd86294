"""Contact sheets: pairs with their pictures, scores and captions, as a page that loads nothing or as one picture."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from evenly.audit.published import ReadBytes, each_image
from evenly.audit.report.gallery import label_font, read_thumbnails, small_picture
from evenly.audit.report.page import page_environment
from evenly.audit.safe_text import visible

_COLUMNS, _CELL, _GAP, _LINE, _LINES = 5, 192, 12, 15, 4
_MARGIN = 24
_INK, _MUTED, _PAPER, _EMPTY = "#1f1e1b", "#8a3b12", "#faf9f6", "#e3e0d8"
_NONE: Mapping[str, Any] = dict.fromkeys(
    ("caption", "image_id", "source_id", "file_name", "verdict", "step", "reason", "value")
)


def html_sheet(rows: Sequence[Mapping[str, Any]], *, title: str, notes: Sequence[str], read_bytes: ReadBytes) -> str:
    """Rows of a search as one HTML page: every text is escaped, every picture shrunk and encoded anew."""
    images = read_thumbnails(read_bytes, (row["image_id"] for row in rows))
    cards = [{**_NONE, **row, "image": images.get(row["image_id"])} for row in rows]
    return page_environment().get_template("sheet.html.j2").render(title=title, notes=notes, cards=cards)


def png_sheet(rows: Sequence[Mapping[str, Any]], *, title: str, notes: Sequence[str], read_bytes: ReadBytes) -> bytes:
    """Rows of a search as a PNG, five in a line: rank, score, reason and the beginning of the caption under each."""
    font = label_font()
    cell_height = _CELL + _LINES * _LINE + _GAP
    lines = -(-len(rows) // _COLUMNS)
    header = _MARGIN + 2 * _LINE + _GAP
    width = 2 * _MARGIN + _COLUMNS * (_CELL + _GAP) - _GAP
    sheet = Image.new("RGB", (width, header + lines * cell_height + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), _cut(draw, visible(title), font, width - 2 * _MARGIN), _INK, font=font)
    note = _cut(draw, visible("  ".join(notes)), font, width - 2 * _MARGIN)
    draw.text((_MARGIN, _MARGIN + _LINE), note, _INK, font=font)
    pictures = dict(each_image(read_bytes, sorted({row["image_id"] for row in rows})))
    for place, row in enumerate(rows):
        left = _MARGIN + place % _COLUMNS * (_CELL + _GAP)
        top = header + place // _COLUMNS * cell_height
        _paste(sheet, pictures[row["image_id"]], left, top)
        for number, (text, ink) in enumerate(_texts(draw, row, font)):
            draw.text((left, top + _CELL + 2 + number * _LINE), text, ink, font=font)
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def _paste(sheet: Image.Image, data: bytes | str, left: int, top: int) -> None:
    """A picture in the middle of its square; a square without one where it is not held, or does not decode."""
    small = None if isinstance(data, str) else small_picture(data, side=_CELL)
    if small is None:
        sheet.paste(_EMPTY, (left, top, left + _CELL, top + _CELL))
        return
    place = (left + (_CELL - small.width) // 2, top + (_CELL - small.height) // 2)
    sheet.paste(small, place, small if small.mode == "RGBA" else None)


def _texts(draw: ImageDraw.ImageDraw, row: Mapping[str, Any], font: ImageFont.FreeTypeFont) -> list[tuple[str, str]]:
    reason = row.get("reason") or ""
    lines = [(f"{row['rank']}  {row['score']:.4f}", _INK)]
    lines += [(_cut(draw, visible(f"{reason} at {row['step']}"), font, _CELL), _MUTED)] if reason else []
    words, line = visible(row.get("caption") or "").split(), ""
    for word in words:
        if line and draw.textlength(f"{line} {word}", font=font) > _CELL:
            lines.append((_cut(draw, line, font, _CELL), _INK))
            line = word
        else:
            line = f"{line} {word}".strip()
        if len(lines) >= _LINES:
            break
    return [*lines, (_cut(draw, line, font, _CELL), _INK)][:_LINES]


def _cut(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The beginning of a text that fits into so many pixels, with three dots where more follows."""
    text = text[:400]  # a letter takes more than a pixel
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(f"{text}…", font=font) > width:
        text = text[:-1]
    return f"{text}…"
