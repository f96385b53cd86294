"""Split files that people have: the JSON of the CoOp protocol, and tables of key and part.

A key is a pair's URL or, of a picture at hand, its file name in its pool. A file is refused where it says two things of
one key, and where a key or a group lies in two parts.
"""

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from evenly.keys import LOCAL_ADDRESS, is_text_type
from evenly.storage.errors import InputError
from evenly.storage.files.array_keys import PARTS
from evenly.storage.pools.rows import require_columns
from evenly.storage.pools.source import LOCAL_READERS, TABLE_READERS, PoolSource
from evenly.storage.tables.arrow_files import first_line, table_of_rows
from evenly.unique_keys import read_json

_SHOWN = 3


def places_of_keys(pairs: pa.Table, keys: pa.Array) -> pa.Array:
    """Where each pair's key stands among `keys` (text, each once): its URL, else the file name of a picture at hand."""
    places = pc.index_in(pairs["url"], keys)
    names = _file_names(pairs)
    return places if names is None else pc.coalesce(places, pc.index_in(names, keys))


def compared_keys(pairs: pa.Table, keys: pa.Array) -> str:
    """Examples of keys and pairs that do not meet: the first of both."""
    names = _file_names(pairs)
    shown, noun = (pairs["url"], "URLs") if names is None or names.null_count == len(names) else (names, "file names")
    return f"keys begin with {_first(keys)}; {noun} of the pool begin with {_first(shown)}"


def has_file_names(sources: Sequence[PoolSource]) -> bool:
    """Whether pictures of the sources lie at hand, so that a key may be a file name."""
    return any(source.kind in LOCAL_READERS for source in sources)


def _file_names(pairs: pa.Table) -> pa.ChunkedArray | None:
    """The file names of pictures at hand, null of other pairs; None where no pair has one."""
    is_local = pc.match_substring_regex(pairs["url"], LOCAL_ADDRESS)
    if "file_name" not in pairs.column_names or not pc.any(is_local).as_py():
        return None
    return pc.if_else(is_local, pairs["file_name"], None)


def _first(values: pa.Array | pa.ChunkedArray) -> str:
    return ", ".join(f"`{value}`" for value in pc.unique(values.drop_null())[:_SHOWN].to_pylist()) or "nothing"


LIMIT_BYTES = 512 * 1024**2  # of JSON: ImageNet's, with 1.3 million pictures, takes about 120 MB
Row = tuple[str, str, str | None, str | None]
_SCHEMA = pa.schema([(name, pa.string()) for name in ("key", "part", "label", "group")])


@dataclass(frozen=True, kw_only=True)
class SplitFile:
    """`rows`: key, part (train, val, test), label, group: text, null where the file has none; each key once, in order.

    `classes`: label by class position, from 0, of a JSON file; empty for a table, which has no positions. `repeated`
    counts rows that said again what another had said.
    """

    rows: pa.Table
    classes: Mapping[int, str] = field(default_factory=dict)
    repeated: int = 0


def read_split(path: Path, *, limit_bytes: int = LIMIT_BYTES) -> SplitFile:
    """Read a split file, its kind by its ending: .json as CoOp writes it, else .csv, .jsonl (also .gz) or .parquet.

    JSON is {"train": [[path, class position, class name], ...], "val": ..., "test": ...}; its keys are the paths,
    simplified (`./a/../b.jpg` is `b.jpg`), which must not leave their folder. A table has the columns `key` and `part`
    and may have `label` and `group`. Raises InputError that names the file and the place.
    """
    if not path.is_file():
        raise InputError(f"`split` must be a file; got `{path}`. Correct the path.")
    if path.suffix.lower() == ".json":
        return _read_json(path, limit_bytes)
    kind = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.removeprefix(".").lower()
    if kind not in TABLE_READERS:
        endings = ", ".join(f".{ending}" for ending in ("json", *TABLE_READERS))
        raise InputError(f"`split` must end in one of {endings}; got `{path}`. Write it as one of these.")
    return _checked(_table_rows(path, kind), path)


def _read_json(path: Path, limit_bytes: int) -> SplitFile:
    if (size := path.stat().st_size) > limit_bytes:
        raise InputError(
            f"`split` must be at most {limit_bytes:,} bytes of JSON; got {size:,} at `{path}`. Use Parquet."
        )
    try:
        content = read_json(path.read_bytes())
    except ValueError as error:
        raise InputError(f"`split` must be JSON; got `{path}`: {first_line(error)}. Correct it.") from None
    if not isinstance(content, dict) or not content.keys() <= set(PARTS):
        actual = ", ".join(f"`{name}`" for name in content) if isinstance(content, dict) else type(content).__name__
        raise InputError(
            f"`split` must be an object of {', '.join(PARTS)}; got {actual} at `{path}`. Rename its parts."
        )
    classes: dict[int, str] = {}
    split = _checked(_json_rows(content, classes, path), path)
    repeated = {name for name, count in Counter(classes.values()).items() if count > 1}
    if repeated:
        name = min(repeated)
        positions = " and ".join(
            str(position) for position, class_name in sorted(classes.items()) if class_name == name
        )
        raise InputError(
            f"`{name}` must be one class; got positions {positions} at `{path}`. Give classes names of their own."
        )
    return SplitFile(rows=split.rows, classes=dict(sorted(classes.items())), repeated=split.repeated)


def _json_rows(content: Mapping[str, object], classes: dict[int, str], path: Path) -> Iterator[tuple[str, Row]]:
    """(place, row) of each entry; fills `classes`."""
    for part in PARTS:
        entries = content.get(part, [])
        if not isinstance(entries, list):
            raise InputError(f"`{part}` must be a list; got {type(entries).__name__} at `{path}`. Write it as a list.")
        for number, entry in enumerate(entries):
            place = f"{part}[{number}]"
            match entry:
                case [str(name), int(position), str(label)] if _is_entry(name, position, label):
                    expected = classes.setdefault(position, label)
                case _:
                    raise InputError(
                        f"entries must be [path, class position, class name]; got {_short(entry)} at `{path}`, "
                        f"{place}. Write it in this form."
                    )
            if expected != label:
                raise InputError(
                    f"class position {position} must have one name; got `{label}` and `{expected}` at `{path}`, "
                    f"{place}. Correct one of them."
                )
            yield place, (_relative(name, path, place), part, label, None)


def _is_entry(name: str, position: int, label: str) -> bool:
    try:
        (name + label).encode()  # half a surrogate pair is no text
    except UnicodeEncodeError:
        return False
    return bool(name) and position >= 0 and not isinstance(position, bool)


def _relative(name: str, path: Path, place: str) -> str:
    simple = posixpath.normpath(name)
    if simple.startswith(("/", "../")) or simple in {".", ".."}:
        raise InputError(f"paths must stay in the folder of pictures; got `{name}` at `{path}`, {place}. Shorten it.")
    return simple


def _table_rows(path: Path, kind: str) -> Iterator[tuple[str, Row]]:
    """(place, row) of each row of a table, counted from 1."""
    require_columns(path, TABLE_READERS[kind].columns(path), {"key": "key", "part": "part"}, InputError)
    number = 0
    for raw in TABLE_READERS[kind].rows(path, ("key", "part")):
        columns = [_texts(raw.table, column, path) for column in _SCHEMA.names]
        broken = list(raw.rejects) or [""] * raw.table.num_rows
        rows = zip(broken, zip(*columns, strict=True), strict=True)
        for in_stretch, (is_broken, (row_key, its_part, *further)) in enumerate(rows):
            number += 1
            if is_broken or not row_key or its_part not in PARTS:
                actual = "a broken row" if is_broken else f"key {_short(row_key)} in part {_short(its_part)}"
                line = f" ({raw.place(in_stretch)})" if is_broken else ""
                raise InputError(
                    f"rows must have a key and a part among {', '.join(PARTS)}; got {actual} at `{path}`, row "
                    f"{number}{line}. Correct it."
                )
            yield f"row {number}", (row_key, its_part, further[0] or None, further[1] or None)


def _texts(table: pa.Table, name: str, path: Path) -> list[str | None]:
    """A column of text or whole numbers as text; nulls where there is no such column."""
    if name not in table.column_names:
        return [None] * table.num_rows
    kind = table[name].type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_null(kind) or pa.types.is_integer(kind) or is_text_type(kind)):
        raise InputError(f"`{name}` must be a column of text; got {kind} at `{path}`. Write it as text.")
    try:
        texts: list[str | None] = pc.cast(table[name], pa.string()).to_pylist()
    except (UnicodeDecodeError, pa.ArrowInvalid):
        raise InputError(f"`{name}` must be UTF-8; got other bytes at `{path}`. Save the file as UTF-8.") from None
    return texts


def _checked(rows: Iterator[tuple[str, Row]], path: Path) -> SplitFile:
    """The rows, each key once; refused where two of them contradict each other."""
    by_key: dict[str, Row] = {}
    parts: dict[str, str] = {}
    repeated = 0
    for place, row in rows:
        key, part, _, group = row
        first_row = by_key.setdefault(key, row)
        if first_row is not row:
            repeated += 1
            if first_row != row:
                raise InputError(
                    f"`{key}` must be in one part, with one label and group; got {_told(first_row)} and {_told(row)} "
                    f"at `{path}`, {place}. Remove one of the two."
                )
        if group is not None and parts.setdefault(group, part) != part:
            raise InputError(
                f"group `{group}` must lie in one part; got {parts[group]} and {part} at `{path}`, {place}. "
                "Move the whole group into one."
            )
    if not by_key:
        raise InputError(f"`split` must have at least one row; got none at `{path}`. Fill it or leave it out.")
    return SplitFile(rows=table_of_rows(by_key.values(), _SCHEMA), repeated=repeated)


def _told(row: Row) -> str:
    return f"({', '.join(str(value) for value in row[1:] if value is not None)})"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
