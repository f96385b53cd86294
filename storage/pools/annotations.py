"""COCO's annotations of the pictures of a folder, which its rows get as JSON in a column `regions`.

An annotation stays as it is, with its category's name. An image's `file_name` is relative to the file of annotations,
or to the folder; else the one picture is meant whose path ends so.
"""

import json
import posixpath
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evenly.storage.pools.folders import folder_pictures
from evenly.storage.pools.local_rows import LocalRow
from evenly.storage.pools.rows import PoolError, readable
from evenly.storage.reading.budget import read_text

_COLUMN = "regions"
_LISTS = ("images", "annotations")
_BAD = LocalRow(file_name="", columns={}, reject="bad_annotation")


def with_annotations(rows: Iterator[LocalRow], folder: Path, file: str | None) -> Iterator[LocalRow]:
    """The rows of a folder, with the annotations of each picture; null for one that the file lacks. No file: the rows.

    Then a row for each entry that has no picture: missing_picture, an image that is not there; bad_annotation, what is
    no object, an image without an id, an annotation without its image.
    """
    if file is None:
        yield from rows
        return
    listed, rejected = _by_picture(_read(folder, file), posixpath.dirname(file), folder_pictures(folder))
    for row in rows:
        if _COLUMN in row.columns or (row.listed and _COLUMN in row.listed[0].column_names):
            raise PoolError(
                f"`regions` must be all that gives the column `{_COLUMN}`; got another beside `{row.file_name}` in "
                f"`{folder}`. Rename that, or leave `regions` out of the recipe."
            )
        text = json.dumps(listed[row.file_name]) if row.file_name in listed else None
        yield replace(row, columns={**row.columns, _COLUMN: text})
    yield from rejected


def _read(folder: Path, file: str) -> Mapping[str, Any]:
    path = folder / file
    if path.suffix != ".json" or not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        raise PoolError(f"`regions` must be a .json file inside the folder `{folder}`; got `{file}`. Put it there.")
    with readable(path, "COCO"):
        try:
            content = json.loads(read_text(path, field="regions"))
        except RecursionError:
            content = None
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in _LISTS):
        raise PoolError(
            f"`regions` must be COCO's JSON, with lists `images` and `annotations`; got another at `{path}`."
        )
    return content


def _by_picture(
    content: Mapping[str, Any], place: str, pictures: Collection[str]
) -> tuple[Mapping[str, list[Any]], list[LocalRow]]:
    """The annotations of each picture by its path, and rows for what has no picture; place: the folder of the file."""
    by_name = defaultdict[str, list[str]](list)
    for path in pictures:
        by_name[posixpath.basename(path)].append(path)
    listed, of_image, rejected = dict[str, list[Any]](), dict[str, list[Any]](), list[LocalRow]()
    for image in content["images"]:
        if not isinstance(image, dict) or image.get("id") is None or not isinstance(image.get("file_name"), str):
            rejected.append(_BAD)
            continue
        picture = _picture(image["file_name"], place, by_name)
        of_image[str(image["id"])] = [] if picture is None else listed.setdefault(picture, [])
        if picture is None:
            rejected.append(replace(_BAD, file_name=image["file_name"], reject="missing_picture"))
    categories = content.get("categories")
    entries = [entry for entry in categories if isinstance(entry, dict)] if isinstance(categories, list) else []
    names = {str(entry.get("id")): entry.get("name") for entry in entries}
    for annotation in content["annotations"]:
        image_id = str(annotation.get("image_id")) if isinstance(annotation, dict) else ""
        if image_id not in of_image:
            rejected.append(_BAD)
            continue
        name = names.get(str(annotation.get("category_id")))
        of_image[image_id].append(annotation if name is None else {"category": name, **annotation})
    return listed, rejected


def _picture(name: str, place: str, by_name: Mapping[str, list[str]]) -> str | None:
    """The path of the picture that annotations call `name`; None where there is none, or several that end so."""
    same = by_name.get(posixpath.basename(name), [])
    beside = posixpath.normpath(posixpath.join(place, name))
    for path in (beside, posixpath.normpath(name)):
        if path in same:
            return path
    ending = [path for path in same if f"/{path}".endswith(f"/{name}")]
    return ending[0] if len(ending) == 1 else None
