"""The source of a recipe at a path: its kind, and the meaning of its columns."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evenly.storage.files.image_folders import IMAGE_ENDINGS
from evenly.storage.pools.columns import WEB_URL, PoolSource
from evenly.storage.pools.rows import PoolError, file_kind, parquet_head
from evenly.storage.pools.source import READERS, TABLE_READERS

_ROWS = 200  # of a table that are looked at
MOSTLY = 0.8  # of a column's values
_CAPTIONS = ("caption", "text", "alt", "alt_text", "title", "description", "prompt")
_URLS = ("url", "image_url", "img_url", "link", "src")
_IDS = ("uid", "id", "key", "sample_id", "uuid", "image_id")
_LISTS = ("metadata", "captions")
FILE_NAME = "file_name"
_GROUP = "group"
_CLASS_LIST = "classes.txt"
_WORDS = 2  # on average, in a column that may be captions
_URL = re.compile(WEB_URL)


@dataclass(frozen=True, kw_only=True)
class Detected:
    """A source as recipes name it, `summary` for people.

    classes: whether folders may be classes; group: a column of pictures that belong together; class_list: a file of
    the classes.
    """

    kind: str
    path: Path
    summary: str
    url: str | None = None
    caption: str | None = None
    id: str | None = None
    classes: bool = False
    group: str | None = None
    class_list: Path | None = None

    @property
    def has_pictures(self) -> bool:
        """Whether its pairs have pictures, at hand or on the web."""
        return self.url is not None or self.kind not in TABLE_READERS

    @property
    def is_web(self) -> bool:
        """Whether its pictures are to be downloaded."""
        return self.url is not None or self.kind == "wat"

    @property
    def rows(self) -> PoolSource:
        """Where its rows are read from."""
        url = self.url if self.kind in READERS else "url"
        return PoolSource(kind=self.kind, path=str(self.path), url=url, caption=self.caption, id=self.id)


def detect_source(path: Path) -> Detected:
    """The source that lies at a path: a table, a shard, or a folder of pictures, shards or tables.

    Raises PoolError for what is none of these, and for a table without captions.
    """
    if path.is_dir():
        return _of_folder(path)
    kind = file_kind(path)
    if not path.is_file():
        raise PoolError(f"`--from` must be a file or folder; got `{path}`. Correct it.")
    if kind == "tar":
        return Detected(kind="webdataset", path=path, summary="a shard of pictures")
    if kind == "wat":
        return Detected(kind="wat", path=path, summary="pictures that pages of Common Crawl show")
    if kind not in READERS:
        endings = ", ".join([*READERS, "tar"])
        raise PoolError(f"`--from` must be a folder, or a file of one of {endings}; got `{path}`. Choose another.")
    return _of_table(path, kind, path)


def _of_folder(folder: Path) -> Detected:
    files = sorted(_files_in(folder))
    pictures = [file for file in files if file.suffix[1:].lower() in IMAGE_ENDINGS]
    if pictures:
        return _of_pictures(folder, files, pictures)
    for kind in ("tar", *TABLE_READERS):
        mine = [file for file in files if file.suffix == f".{kind}"]
        if mine:
            pattern = folder / ("**/" if any(file.parent != folder for file in mine) else "") / f"*.{kind}"
            if kind == "tar":
                return Detected(kind="webdataset", path=pattern, summary=f"{len(mine):,} shards of pictures")
            return _of_table(mine[0], kind, pattern)
    raise PoolError(
        f"`--from` must hold pictures, shards (.tar) or tables ({', '.join(TABLE_READERS)}); got `{folder}`, which "
        "holds none. Name another folder."
    )


def _of_pictures(folder: Path, files: Sequence[Path], pictures: Sequence[Path]) -> Detected:
    """A folder of pictures, whose captions are in a list or beside them."""
    endings = {file.suffix for file in files}
    summary, caption, group = f"{len(pictures):,} pictures", None, None
    lists = [file for file in files if file.stem in _LISTS and file.suffix[1:] in TABLE_READERS]
    if lists:
        kind = lists[0].suffix[1:]
        columns = first_values(lists[0], kind)
        if FILE_NAME not in columns:
            raise PoolError(
                f"a list of pictures must have a column `{FILE_NAME}` with their paths relative to the list; got "
                f"{', '.join(columns)} at `{lists[0]}`. Name it so."
            )
        caption = _caption(columns, lists[0], excluded={FILE_NAME, _GROUP})
        group = _GROUP if _GROUP in columns else None
        summary += f", captions in the column {caption} of {lists[0].name}"
    elif endings & {".txt", ".json"}:
        ending = ".txt" if ".txt" in endings else ".json"
        named = {file.with_suffix("") for file in files if file.suffix == ending}
        count = sum(file.with_suffix("") in named for file in pictures)
        summary += f", {count:,} with a caption in {ending} beside them"
    else:
        raise PoolError(
            f"pictures must have captions: a.txt beside a.png, or a list metadata.csv with the columns {FILE_NAME} "
            f"and caption; got {len(pictures):,} without one in `{folder}`. Add them; a folder of classes without "
            "captions is for `evenly extract --images`."
        )
    folders = {file.parent for file in pictures}
    class_list = folder / _CLASS_LIST
    has_classes = len(folders) > 1 and folder not in folders
    if has_classes:
        shown = max((path.relative_to(folder).as_posix() for path in sorted(folders)), key=lambda name: name.count("/"))
        path_note = ", the whole path of a picture's folder" if "/" in shown else ""
        summary += f", {len(folders):,} folders as labels: `{shown}` is one{path_note}"
    return Detected(
        kind="folder",
        path=folder,
        summary=summary,
        caption=None if caption == "caption" else caption,
        classes=has_classes,
        group=group,
        class_list=class_list if class_list in files else None,
    )


def _of_table(file: Path, kind: str, path: Path) -> Detected:
    columns = first_values(file, kind)
    local = [name for name, values in columns.items() if share(values, _is_picture) >= MOSTLY]
    webs = [name for name, values in columns.items() if share(values, is_web) >= MOSTLY]
    if local and not webs:
        raise PoolError(
            f"pictures of a table must be web addresses; got paths in the column `{local[0]}` of `{file}`. Name the "
            f"folder that holds the pictures instead, with this table in it as metadata.{kind} and the paths, relative "
            f"to it, in a column `{FILE_NAME}`."
        )
    url = next((name for name in _URLS if name in webs), next(iter(webs), None))
    caption = _caption(columns, file, excluded={url})
    ids = {name.lower(): name for name, values in columns.items() if len({*values}) == len(values) and values}
    pool_id = next((ids[name] for name in _IDS if name in ids and ids[name] not in {url, caption}), None)
    summary = f"captions in the column {caption}" + (f", links in {url}" if url else ", no links to pictures")
    return Detected(kind=kind, path=path, summary=summary, url=url, caption=caption, id=pool_id)


def _caption(columns: dict[str, list[str]], file: Path, *, excluded: set[str | None]) -> str:
    """The column that holds captions: by its name, else the one with the most words."""
    names = {name.lower(): name for name in columns if name not in excluded}
    for name in _CAPTIONS:
        if name in names:
            return names[name]
    words = {
        name: sum(len(value.split()) for value in values) / len(values)
        for name, values in columns.items()
        if values and name not in excluded
    }
    best = max(words, key=lambda name: words[name], default=None)
    if best is None or words[best] < _WORDS:
        raise PoolError(
            f"a pool must have a column of captions; got {', '.join(columns) or 'none'} at `{file}`. Name one of them "
            "`caption`, or write the recipe by hand."
        )
    return best


def first_values(file: Path, kind: str) -> dict[str, list[str]]:
    """The first values of each column that holds texts or numbers, as text, those that are null left out."""
    reader = TABLE_READERS[kind]
    if kind == "parquet":
        table = parquet_head(file, _ROWS)
    else:
        rows = next(reader.rows(file, ()), None)
        table = [] if rows is None else rows.table.slice(0, _ROWS).to_pylist()
    return {
        name: [str(value) for row in table if isinstance(value := row.get(name), str | int) and value != ""]
        for name in reader.columns(file)
    }


def _files_in(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place) / name for name in files if not name.startswith("."))


def share(values: Sequence[str], holds: Callable[[str], bool]) -> float:
    """The share of values of which `holds` is true; 0 of none."""
    return sum(map(holds, values)) / len(values) if values else 0.0


def is_web(value: str) -> bool:
    """Whether a value is an address of the web."""
    return _URL.match(value) is not None


def _is_picture(value: str) -> bool:
    return not is_web(value) and value.rpartition(".")[2].lower() in IMAGE_ENDINGS
