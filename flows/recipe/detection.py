"""What lies at a path, as the source of a recipe: its kind, and which of its columns mean what."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evenly.audit.safe_text import visible
from evenly.curation.concepts.matching import BUNDLED
from evenly.descriptions.class_list import parse_class_list
from evenly.descriptions.errors import ClassListError
from evenly.features.captioning import check_caption_model_name
from evenly.features.errors import UnknownModelError
from evenly.features.open_clip_models import check_model_name
from evenly.flows.recipe import Recipe, read_recipe
from evenly.flows.recipe.classes import ClassListing
from evenly.flows.recipe.files import ListingFileError, read_listing
from evenly.flows.recipe.problems import RecipeError
from evenly.flows.runs import run_in
from evenly.storage.files.image_folders import IMAGE_ENDINGS
from evenly.storage.pools.columns import WEB_URL, PoolSource, pool_names
from evenly.storage.pools.folders import folder_columns
from evenly.storage.pools.rows import PoolError, file_kind, parquet_head
from evenly.storage.pools.source import READERS, TABLE_READERS, source_files
from evenly.storage.stores.connection import is_url
from evenly.tasks.captions.decoded import DecodedRule
from evenly.tasks.run import LabelColumns

_HEADED = ("parquet", "csv", "wat")  # whose headers tell all columns
_ARRIVAL = {"file_hash", "row", "reject"}  # that pairs do not keep
_ROWS = 200  # of a table that are looked at
_MOSTLY = 0.8  # of a column's values
_CAPTIONS = ("caption", "text", "alt", "alt_text", "title", "description", "prompt")
_URLS = ("url", "image_url", "img_url", "link", "src")
_IDS = ("uid", "id", "key", "sample_id", "uuid", "image_id")
_LISTS = ("metadata", "captions")
_FILE_NAME = "file_name"
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
        known = ", ".join([*READERS, "tar"])
        raise PoolError(f"`--from` must be a folder, or a file of one of {known}; got `{path}`. Choose another.")
    return _of_table(path, kind, path)


def check_recipe(path: Path, *, root: Path | None = None) -> Recipe:
    """Read a recipe and check that what it names is there: models, pools, columns, class lists, other files.

    Of each table the first rows of the first file are read. Pools in object stores are not looked at, nor those of the
    demo's web before the recipe has made it; columns of labels only where headers tell them all. Raises RecipeError.
    """
    recipe = read_recipe(path)
    run = run_in(recipe, root=root, quiet=True)
    made = run.cache / "demo" if recipe.web == "openmoji" else None
    pools: list[tuple[PoolSource, list[Path]]] = []
    problems = list(_of_models(recipe))
    for place, source in enumerate(run.sources):
        if is_url(source.path):
            continue
        try:
            files = source_files(source)
        except PoolError as error:
            if made is None or not Path(source.path).is_relative_to(made):
                problems.append(f"`sources.{place}.{str(error).removeprefix('`')}")
            continue
        pools.append((source, files))
        if source.kind in TABLE_READERS:
            problems += [f"`sources.{place}.{problem}" for problem in _of_columns(source, files[0])]
    if isinstance(run.labels, LabelColumns) and len(pools) == len(run.sources):
        problems += _of_labels(run.labels, pools)
    problems += [problem for place, listing in enumerate(recipe.classes) for problem in _of_list(path, place, listing)]
    for field, name in _named_files(recipe):
        file = Path(run.locate(name))
        if not file.exists() and (made is None or not file.is_relative_to(made)):
            problems.append(f"`{field}` must be there; got `{file}`, which is not. Correct it.")
    if problems:
        raise RecipeError("\n".join(problems))
    return recipe


def _named_files(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Files and folders beside pools and class lists that a recipe names, by field."""
    labels, curate = recipe.labels, recipe.curate
    named: dict[str, str | None] = {
        f"classes.{place}.given": listing.given for place, listing in enumerate(recipe.classes)
    }
    if labels is not None:
        named |= {"labels.file": labels.file, "labels.split": labels.split}
    if curate.match is not None and curate.match.metadata not in BUNDLED:
        named["curate.match.metadata"] = curate.match.metadata
    if curate.safety is not None:
        lists = {name: getattr(curate.safety, name) for name in ("files", "looks", "domains")}
        named |= {f"curate.safety.{name}.{n}": path for name, paths in lists.items() for n, path in enumerate(paths)}
    if curate.decontaminate is not None:
        named |= {f"curate.decontaminate.sets.{name}": path for name, path in curate.decontaminate.sets.items()}
    if curate.image_based is not None:
        named["curate.image_based.target"] = curate.image_based.target
    yield from ((field, path) for field, path in named.items() if path is not None)


def _of_models(recipe: Recipe) -> Iterator[str]:
    """Problems of the models that are not known by name; where all are packaged ones, no library is loaded for it."""
    checks: dict[str, Callable[[], None]] = {
        "features": partial(check_model_name, recipe.features.model, recipe.features.pretrained)
    }
    recaption = recipe.curate.recaption
    if recaption is not None and recaption.judge is not None:
        checks["curate.recaption.judge"] = partial(check_model_name, recaption.judge.model, recaption.judge.pretrained)
    for place, captioner in enumerate(() if recaption is None else recaption.captioners):
        rule = captioner.rule
        if isinstance(rule, DecodedRule):
            name = f"curate.recaption.captioners.{place}"
            checks[name] = partial(check_caption_model_name, rule.model, rule.pretrained)
    for section, check in checks.items():
        try:
            check()
        except UnknownModelError as error:
            yield f"`{section}`: {error}"


def _of_labels(labels: LabelColumns, pools: Sequence[tuple[PoolSource, Sequence[Path]]]) -> list[str]:
    """Problems of `labels` whose columns no pool has; none where only rows tell the columns of one."""
    wanted = {"column": labels.label, "group": labels.group}
    columns = {"uid"}
    for source, files in pools:
        if source.kind not in {*_HEADED, "folder"}:
            return []
        text = {source.url or "", source.caption_column} if source.kind in _HEADED else ()
        for file in files:
            names = READERS[source.kind].columns(file) if source.kind in _HEADED else folder_columns(file)
            if names is None:
                return []
            columns.update({*pool_names(source, names, text=text)} - _ARRIVAL)
            if {*wanted.values()} - {None} <= columns:
                return []
    known = ", ".join(map(visible, sorted(columns)))
    return [
        f"`labels.{field}` must be a column of the pool; got `{name}`. It has {known}. Name one of them"
        + (", or write null." if field == "group" else ".")
        for field, name in wanted.items()
        if name is not None and name not in columns
    ]


def _of_list(recipe: Path, place: int, listing: ClassListing) -> list[str]:
    """Problems of a class list: its file, and each of its lines."""
    try:
        file = read_listing(recipe, listing)
        parse_class_list(file.text, file.name)
    except ListingFileError as error:
        return [f"`classes.{place}.list`: {error}"]
    except ClassListError as error:
        return [f"`classes.{place}.list`: {problem}" for problem in error.problems]
    return []


def _of_columns(source: PoolSource, file: Path) -> Iterator[str]:
    columns = _sample(file, source.kind)
    named = {"url": source.url, "caption": source.caption_column, "id": source.id, "source": source.source}
    for field, name in named.items():
        if name is not None and name not in columns:
            shown = ", ".join(map(visible, columns)) or "none"
            yield f"{field}` must name a column of `{file}`; got `{name}`. Columns there are: {shown}."
    values = columns.get(source.url or "", [])
    if _share(values, lambda value: not _is_web(value)) >= _MOSTLY:
        yield (
            f"url` must name a column of web addresses; `{source.url}` of `{file}` holds `{visible(values[0])[:80]}`. "
            f"Pictures on this machine are of kind folder: name the folder that holds them, with this table in it as "
            f"metadata.{source.kind} and the paths, relative to it, in a column `{_FILE_NAME}`. For captions alone "
            "write url: null."
        )


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
    found, caption, group = f"{len(pictures):,} pictures", None, None
    lists = [file for file in files if file.stem in _LISTS and file.suffix[1:] in TABLE_READERS]
    if lists:
        kind = lists[0].suffix[1:]
        columns = _sample(lists[0], kind)
        if _FILE_NAME not in columns:
            raise PoolError(
                f"a list of pictures must have a column `{_FILE_NAME}` with their paths relative to the list; got "
                f"{', '.join(columns)} at `{lists[0]}`. Name it so."
            )
        caption = _caption(columns, lists[0], besides={_FILE_NAME, _GROUP})
        group = _GROUP if _GROUP in columns else None
        found += f", captions in the column {caption} of {lists[0].name}"
    elif endings & {".txt", ".json"}:
        beside = ".txt" if ".txt" in endings else ".json"
        named = {file.with_suffix("") for file in files if file.suffix == beside}
        count = sum(file.with_suffix("") in named for file in pictures)
        found += f", {count:,} with a caption in {beside} beside them"
    else:
        raise PoolError(
            f"pictures must have captions: a.txt beside a.png, or a list metadata.csv with the columns {_FILE_NAME} "
            f"and caption; got {len(pictures):,} without one in `{folder}`. Add them; a folder of classes without "
            "captions is for `evenly extract --images`."
        )
    folders = {file.parent for file in pictures}
    class_list = folder / _CLASS_LIST
    return Detected(
        kind="folder",
        path=folder,
        summary=found,
        caption=None if caption == "caption" else caption,
        classes=len(folders) > 1 and folder not in folders,
        group=group,
        class_list=class_list if class_list in files else None,
    )


def _of_table(file: Path, kind: str, path: Path) -> Detected:
    columns = _sample(file, kind)
    local = [name for name, values in columns.items() if _share(values, _is_picture) >= _MOSTLY]
    webs = [name for name, values in columns.items() if _share(values, _is_web) >= _MOSTLY]
    if local and not webs:
        raise PoolError(
            f"pictures of a table must be web addresses; got paths in the column `{local[0]}` of `{file}`. Name the "
            f"folder that holds the pictures instead, with this table in it as metadata.{kind} and the paths, relative "
            f"to it, in a column `{_FILE_NAME}`."
        )
    url = next((name for name in _URLS if name in webs), next(iter(webs), None))
    caption = _caption(columns, file, besides={url})
    ids = {name.lower(): name for name, values in columns.items() if len({*values}) == len(values) and values}
    pool_id = next((ids[name] for name in _IDS if name in ids and ids[name] not in {url, caption}), None)
    summary = f"captions in the column {caption}" + (f", links in {url}" if url else ", no links to pictures")
    return Detected(kind=kind, path=path, summary=summary, url=url, caption=caption, id=pool_id)


def _caption(columns: dict[str, list[str]], file: Path, *, besides: set[str | None]) -> str:
    """The column that holds captions: by its name, else the one with the most words."""
    names = {name.lower(): name for name in columns if name not in besides}
    for name in _CAPTIONS:
        if name in names:
            return names[name]
    words = {
        name: sum(len(value.split()) for value in values) / len(values)
        for name, values in columns.items()
        if values and name not in besides
    }
    best = max(words, key=lambda name: words[name], default=None)
    if best is None or words[best] < _WORDS:
        raise PoolError(
            f"a pool must have a column of captions; got {', '.join(columns) or 'none'} at `{file}`. Name one of them "
            "`caption`, or write the recipe by hand."
        )
    return best


def _sample(file: Path, kind: str) -> dict[str, list[str]]:
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


def _share(values: Sequence[str], holds: Callable[[str], bool]) -> float:
    return sum(map(holds, values)) / len(values) if values else 0.0


def _is_web(value: str) -> bool:
    return _URL.match(value) is not None


def _is_picture(value: str) -> bool:
    return not _is_web(value) and value.rpartition(".")[2].lower() in IMAGE_ENDINGS
