"""The table of a pool: the columns that every kind has, why a row is no pair, and the pool's own columns.

The latter come in the types that every step, the ledger and the sample table can hold; values stay as they are. Nested
columns are rebuilt from within: Arrow cannot take rows of views, and Lance holds neither list views, decimals of less
than 128 bits nor lists of fixed size of anything but numbers.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.pools.rows import PoolError
from evenly.storage.pools.texts import as_label, repaired
from evenly.storage.tables.arrow_files import first_line
from evenly.storage.tables.hashing import is_list, is_text_or_bytes
from evenly.storage.web.rule import RIGHTS

POOL_COLUMNS = ("url", "caption", "source_id", "source", "file_hash", "row", "reject")
"""What every table of `read_pool` begins with; the pool's other columns follow, under `pool_<name>` where taken.

What the name of a column may not hold is `_` there.
"""

STEP_COLUMNS = (
    *("detected_language", "mix_threshold", "http_status", "final_url", "content_type", "n_bytes", "image_id"),
    *("format", "evidence", "phash", "colour", "cluster", "unsafe_score", "unsafe_class"),
    *("chosen_caption", "caption_origin", "caption_score", "caption_reason", "merged_captions"),
)
"""What steps find of a pair, beside the values of filters: in the sample table under these names.

Not `width` and `height`: a pool's are what it says of the picture, and give way to those of the picture itself.
"""

REGION_COLUMNS = (
    *("region_count", "region_score", "region_labels", "region_area"),
    *("region_attributes", "region_expected"),
)
COLUMNS_OF_STEPS = frozenset(
    {*STEP_COLUMNS, *REGION_COLUMNS, "width", "height", "label", "group", "cap_threshold", *RIGHTS}
)
"""Those and the others that pairs have of steps, but for the values of filters."""
TAKEN = frozenset(
    {*POOL_COLUMNS, *STEP_COLUMNS, "uid", "verdict", "reason", "value", "into", "tar", "offset", "size", "_rowid"}
)
"""Names that pairs have for their own: a column of a pool that is called so is renamed."""
_NO_NAME = re.compile(r"[.`\0]")  # what the name of a column in Lance may not hold
WEB_URL = r"^(?i:https?)://[^\s/?#]"


@dataclass(frozen=True, kw_only=True)
class PoolSource:
    """A pool: files (or folders) of one `kind`, by path or pattern, and which of their columns mean what.

    `caption` left out is the column `caption`; for pictures at hand the `.txt` beside them, else the key `caption`.
    `id` names the pool's own identifier; `source` the column that says where a row comes from, for which `name` stands
    in, or without one the file's name. `vector` names the features of a pool of these. `url` is None for tables of
    captions alone. `regions` is a file of COCO's annotations in a folder of pictures.
    """

    kind: str
    path: str
    url: str | None = "url"
    caption: str | None = None
    id: str | None = None
    source: str | None = None
    name: str | None = None
    vector: str | None = None
    regions: str | None = None

    @property
    def caption_column(self) -> str:
        """The column of captions in a table."""
        return self.caption or "caption"


class Stretch(NamedTuple):
    """Where rows come from: the pool, name and hash of the file or folder, number of the first row, columns used."""

    source: PoolSource
    file: str
    file_hash: str
    first_row: int
    used: frozenset[str] = frozenset()


def pool_columns(url: pa.Array, caption: pa.Array, reject: pa.Array, table: pa.Table, place: Stretch) -> pa.Table:
    """POOL_COLUMNS, then the columns of `table` that are not used for one of them."""
    source, n = place.source, table.num_rows
    name = pa.repeat(pa.scalar(source.name or place.file, pa.string()), n)
    pool = {
        "url": url,
        "caption": caption,
        "source_id": _as_label(table, source.id, "id"),
        "source": name if source.source is None else pc.coalesce(_as_label(table, source.source, "source"), name),
        "file_hash": pa.repeat(pa.scalar(place.file_hash, pa.string()), n),
        "row": pa.array(np.arange(place.first_row, place.first_row + n), pa.int64()),
        "reject": reject,
    }
    used = {*place.used, source.id, source.source}
    for column in table.column_names:
        if column not in used:
            pool[_free_name(column, pool, table.column_names)] = _own_column(table[column], column, place)
    return pa.table(pool)


def pool_names(source: PoolSource, columns: Iterable[str], *, text: Collection[str]) -> list[str]:
    """Names of a pool's columns as `pool_columns` gives them, of which `text` are read as URL and caption."""
    nothing = pa.nulls(0, pa.string())
    table = pa.table(dict.fromkeys(columns, nothing))
    place = Stretch(source, "", "", 0, frozenset(text))
    names: list[str] = pool_columns(nothing, nothing, nothing, table, place).column_names
    return names


def url_cases(url: pa.Array, is_bad: pa.Array) -> dict[str, pa.Array]:
    """Masks of rows that have no URL of the web, by the word for it."""
    is_web = pc.fill_null(pc.match_substring_regex(url, WEB_URL), False)
    is_missing = pc.equal(pc.fill_null(url, ""), "")
    return {"missing_url": pc.and_not(is_missing, is_bad), "bad_url": pc.or_(is_bad, pc.invert(is_web))}


def first_reason(cases: Mapping[str, pa.Array], rejected: pa.Array) -> pa.Array:
    """Why each row of a table is no pair, by the first case that it is, or before why it was not read; null for one."""
    struct = pc.make_struct(*cases.values(), field_names=list(cases))
    return pc.coalesce(rejected, pc.case_when(struct, *map(pa.scalar, cases), pa.scalar(None, pa.string())))


def _own_column(values: pa.ChunkedArray, name: str, place: Stretch) -> pa.Array:
    """A column of the pool that means nothing to evenly, in a type that the sample table holds."""
    try:
        return plain_column(values)
    except (TypeError, pa.ArrowException) as error:
        raise PoolError(
            f"column `{name}` must be of a type that can be stored; got {values.type} at `{place.file}` "
            f"({first_line(error)}). Store it as text or numbers, or leave it out."
        ) from None


def _as_label(table: pa.Table, name: str | None, field: str) -> pa.Array:
    """A column of text or numbers as text; nulls where `name` is None."""
    if name is None or name not in table.column_names:
        return pa.nulls(table.num_rows, pa.string())
    return as_label(table[name], name, field)


def _free_name(name: str, used: Collection[str], reserved: Collection[str]) -> str:
    plain = _NO_NAME.sub("_", name) or "_"
    if plain not in TAKEN and (plain == name or plain not in {*used, *reserved}):
        return plain
    free = f"pool_{plain}"
    while free in used or free in reserved:
        free = f"pool_{free}"
    return free


_AS_STORAGE = (pa.JsonType, pa.FixedShapeTensorType)  # Lance writes JSON anew; Arrow makes no empty column of tensors


def plain_column(column: pa.ChunkedArray) -> pa.Array:
    """The column with each type replaced by a plain one of the same values, and U+FFFD for what is no UTF-8.

    Raises TypeError for what has none: unions, intervals, structs without fields.
    """
    array = repaired(column)
    kind = _plain_type(array.type)
    if not _is_nested(kind):
        return array if array.type == kind else _plain(array)
    return array if array.type == kind and _is_utf8(array) else _plain(array)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _plain_type(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        storage = _plain_type(kind.storage_type)
        if isinstance(kind, _AS_STORAGE):
            return storage
        return kind if storage == kind.storage_type else storage
    return _plain_nested(kind) if _is_nested(kind) else _plain_scalar(kind)


def _plain_scalar(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_interval(kind):
        raise TypeError(f"no table of samples can hold a column of {kind}")
    if pa.types.is_decimal32(kind) or pa.types.is_decimal64(kind):
        return pa.decimal128(kind.precision, kind.scale)
    if pa.types.is_binary_view(kind):
        return pa.binary()
    return pa.string() if pa.types.is_string_view(kind) or pa.types.is_large_string(kind) else kind


def _plain_nested(kind: pa.DataType) -> pa.DataType:
    if is_list(kind):
        return _plain_list(kind)
    if pa.types.is_map(kind):
        return pa.map_(_plain_type(kind.key_type), _plain_type(kind.item_type))
    if pa.types.is_struct(kind) and kind.num_fields:
        return pa.struct([pa.field(field.name, _plain_type(field.type)) for field in kind])
    raise TypeError(f"no table of samples can hold a column of {kind}")


def _plain_list(kind: pa.DataType) -> pa.DataType:
    values = _plain_type(kind.value_type)
    if pa.types.is_fixed_size_list(kind) and _is_fixed_width(values):
        return pa.list_(values, kind.list_size)
    is_large = pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind)
    return pa.large_list(values) if is_large else pa.list_(values)


def _is_fixed_width(kind: pa.DataType) -> bool:
    if pa.types.is_fixed_size_list(kind):
        return _is_fixed_width(kind.value_type)
    return bool(pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_fixed_size_binary(kind))


def _plain(array: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        return _plain(array.dictionary_decode())
    if pa.types.is_run_end_encoded(array.type):
        return _plain(pc.run_end_decode(array))
    kind = _plain_type(array.type)
    if isinstance(array, pa.ExtensionArray) and array.type != kind:
        return _plain(array.storage)
    if _is_nested(array.type):
        return _plain_children(array, kind)
    is_unicode = is_text_or_bytes(kind) and not pa.types.is_binary(kind) and not pa.types.is_large_binary(kind)
    return repaired(pa.chunked_array([array])) if is_unicode else array.cast(kind)


def _plain_children(array: pa.Array, kind: pa.DataType) -> pa.Array:
    absent = array.is_null()
    if pa.types.is_struct(kind):
        return pa.StructArray.from_arrays([_plain(child) for child in array.flatten()], fields=list(kind), mask=absent)
    if pa.types.is_fixed_size_list(kind):
        places = np.repeat(array.is_valid().to_numpy(zero_copy_only=False), kind.list_size)
        spread = pa.array(np.cumsum(places) - 1, mask=~places)
        return pa.FixedSizeListArray.from_arrays(_plain(array.flatten()).take(spread), type=kind, mask=absent)
    return _list_of(array, kind)


def _list_of(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """A list or map of plain values."""
    if pa.types.is_map(array.type):
        fields = [array.type.key_field.with_name("key"), array.type.item_field.with_name("value")]
        entries = array.cast(pa.list_(pa.struct(fields)))
    else:
        entries = array
    lengths = pc.fill_null(pc.list_value_length(entries), 0).to_numpy(zero_copy_only=False)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    absent = np.concatenate([array.is_null().to_numpy(zero_copy_only=False), [False]])
    values = entries.flatten()
    if pa.types.is_map(kind):
        keys, items = (_plain(child) for child in values.flatten())
        return pa.MapArray.from_arrays(pa.array(starts, pa.int32(), mask=absent), keys, items, type=kind)
    if pa.types.is_large_list(kind):
        return pa.LargeListArray.from_arrays(pa.array(starts, pa.int64(), mask=absent), _plain(values), type=kind)
    return pa.ListArray.from_arrays(pa.array(starts, pa.int32(), mask=absent), _plain(values), type=kind)


def _is_nested(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind))


def _is_utf8(array: pa.Array) -> bool:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
