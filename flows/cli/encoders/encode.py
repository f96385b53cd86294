"""`evenly encode`: pictures and texts of one's own become unit rows in a file, without a recipe."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evenly.features import to_unit_rows
from evenly.features.errors import BoxError
from evenly.features.pictures.views import View, ViewRule, box_views
from evenly.flows.cli.command import check_out
from evenly.flows.cli.errors import UsageError
from evenly.storage.errors import InputError
from evenly.storage.files.arrays import write_arrays
from evenly.storage.files.image_folders import Picture, box_values, count_pictures, read_pictures
from evenly.storage.reading.budget import LIST_BYTES, read_whole
from evenly.tasks.adapters.pictures import encode_pictures
from evenly.tasks.encoders import open_encoder
from evenly.tasks.pictures.views import encode_views
from evenly.tasks.run import Run


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The `column` of pictures in a Parquet file, that of their `boxes`, and the `views` of any picture."""

    column: str | None = None
    views: ViewRule | None = None
    boxes: str | None = None


def encode_files(run: Run, pictures: Sequence[Path], texts: Path | None, *, choice: Asked, out: Path) -> dict[str, Any]:
    """Write paths and rows of pictures, texts and rows of texts, all of unit length; what was counted and failed.

    Arrays: paths (n,), image_features (n, d) float32, texts (m,), text_features (m, d) float32, encoder (3,): model,
    weights, identity. A picture that cannot be read or decoded has no row; it is named with its reason. Where views are
    asked for: view_paths (k,), views (k,), what each is called, view_features (k, d).
    """
    check_out(out)
    if not pictures and texts is None:
        raise UsageError(
            "`encode` must get pictures, `--texts FILE` or both; got neither. Example: evenly encode photos/"
        )
    files = [path for path in pictures if not _is_table(path)]
    if choice.boxes is not None and (files or not pictures):
        listing = ", ".join(f"`{path}`" for path in files) or "none"
        raise UsageError(f"`--boxes` must go with Parquet files alone, which hold its column; got {listing}.")
    if choice.views is not None and not pictures:
        raise UsageError("`--views` and `--flip` must go with pictures; got none. Name some.")
    lines = [] if texts is None else read_texts(texts)
    boxes = [] if choice.boxes is None else [box_values(path, choice.boxes) for path in pictures]
    sources = _sources(pictures, choice)
    encoded = encode_pictures(run, sources, total=sum(map(count_pictures, pictures))) if pictures else None
    encoder = open_encoder(run)
    result: dict[str, Any] = {"out": str(out), "encoder": encoder.identity, "device": encoder.device_name}
    model = (run.encoder.model, run.encoder.pretrained or "", result["encoder"])
    arrays: dict[str, np.ndarray] = {"encoder": np.array(model, dtype=np.str_)}
    if encoded is not None:
        arrays |= {"paths": np.array(encoded.names, np.str_), "image_features": encoded.image}
        result |= {"pictures": len(encoded.names), "failed": dict(encoded.failed)}
    if encoded is not None and (choice.views is not None or boxes):
        of_rows = itertools.chain.from_iterable(boxes) if boxes else itertools.repeat([])
        pairs = zip(_sources(pictures, choice), of_rows, strict=False)
        viewed = encode_views(run, _with_views(pairs, {*encoded.places}, choice.views))
        arrays |= {"view_paths": np.array(viewed.names, np.str_), "views": np.array(viewed.views, np.str_)}
        arrays["view_features"] = viewed.image
        result |= {"views": len(viewed.names), "failed": dict([*encoded.failed, *viewed.failed])}
    if texts is not None:
        arrays |= {"texts": np.array(lines, np.str_), "text_features": _text_rows(run, lines)}
        result |= {"texts": len(lines), "cut": sum(open_encoder(run).truncated(lines))}
    write_arrays(out, arrays)
    return result


def _text_rows(run: Run, lines: Sequence[str]) -> np.ndarray:
    with run.progress.bar("encoding texts", len(lines)) as advance:
        rows, _ = to_unit_rows(open_encoder(run).encode_texts(lines, progress=advance))
    single = rows.astype(np.float32)
    unit: np.ndarray = single / np.linalg.norm(single, axis=1, keepdims=True)
    return unit


def _sources(pictures: Sequence[Path], choice: Asked) -> Iterator[Picture]:
    """All pictures, by the path that was given; what cannot be read at all is refused now."""
    sources = [_named(path, read_pictures(path, column=choice.column)) for path in pictures]
    return itertools.chain.from_iterable(sources)


def _with_views(
    pairs: Iterable[tuple[Picture, Sequence[object]]], places: AbstractSet[int], rule: ViewRule | None
) -> Iterator[tuple[Picture, list[View | BoxError]]]:
    """The pictures at these places, each with the views of the rule and those of its boxes."""
    of_rule: list[View | BoxError] = [] if rule is None else [*rule.views]
    for place, (picture, boxes) in enumerate(pairs):
        if place in places:
            yield picture, [*of_rule, *box_views(boxes)]


def _is_table(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".parquet"


def read_texts(path: Path) -> list[str]:
    """The lines of a file of texts in UTF-8. Raises InputError for a file that is none, or with an empty line."""
    try:
        text = read_whole(path, limit_bytes=LIST_BYTES, field="--texts").decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"`--texts` must be a file in UTF-8, a text per line; got `{path}` ({error}).") from error
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []
    empty = [number for number, line in enumerate(lines, 1) if not line.strip()]
    if empty or not lines:
        raise InputError(
            f"`--texts` must have a text in every line; got {f'none in line {empty[0]}' if empty else 'no line'} of "
            f"`{path}`. Add it, or remove the line."
        )
    return lines


def _named(path: Path, pictures: Iterator[Picture]) -> Iterator[Picture]:
    """Pictures by their path as it was given; those of a table by its path and their names in it."""
    is_one = path.is_file() and not _is_table(path)
    return (picture._replace(name=str(path) if is_one else f"{path}/{picture.name}") for picture in pictures)
