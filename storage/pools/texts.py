"""Columns of a pool as clean text: what is no text, or no UTF-8, is told apart from what is not there."""

import json
from collections.abc import Sequence
from typing import TypeGuard

import pyarrow as pa
import pyarrow.compute as pc

from evenly.keys import is_text_type, one_array
from evenly.storage.pools.rows import PoolError
from evenly.storage.tables.arrow_files import first_line


def as_text(column: pa.ChunkedArray, not_text: Sequence[bool] = ()) -> tuple[pa.Array, pa.Array]:
    """(the text, whether it is something else): text is null where a value is null, of another type, or no UTF-8."""
    array = _plain(column)
    if not is_text_type(array.type):
        return pa.nulls(len(array), pa.string()), pc.is_valid(array)
    bad = pa.array(not_text or [False] * len(array), pa.bool_())
    broken = _not_utf8(array)
    if broken is not None:
        bad = pc.or_(bad, broken)
        array = pa.array(
            [None if is_broken else value for value, is_broken in zip(_bytes(array), broken.to_pylist(), strict=True)],
            pa.binary(),
        ).cast(pa.string())
    return array, bad


def repaired(column: pa.ChunkedArray) -> pa.Array:
    """The column, with U+FFFD for what is no UTF-8."""
    array = _plain(column)
    if not is_text_type(array.type) or _not_utf8(array) is None:
        return array
    return pa.array(
        [None if value is None else value.decode("utf-8", "replace") for value in _bytes(array)], pa.string()
    )


def as_label(column: pa.ChunkedArray, name: str, field: str) -> pa.Array:
    """The column `name`, which the recipe gives as `field`, of text or numbers as text; null where a value is null."""
    array = repaired(column)
    try:
        return array.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        raise PoolError(
            f"`{field}` must name a column of text or numbers; got `{name}` of type {array.type}. Name another."
        ) from None


def joined_pools(tables: Sequence[pa.Table]) -> pa.Table:
    """All rows of several pools: a column that is text in one and something else in another becomes text.

    Raises PoolError, with the column's name, for other types that have no type in common.
    """
    kinds: dict[str, set[pa.DataType]] = {}
    for field in (field for table in tables for field in table.schema):
        kinds.setdefault(field.name, set()).add(field.type)
    mixed = {name for name, types in kinds.items() if len(types - {pa.null()}) > 1 and any(map(is_text_type, types))}
    tables = [_with_text(table, mixed) for table in tables]
    try:
        return pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    except pa.ArrowException:
        for name, types in kinds.items():
            _check_joins(name, types, [table.select([name]) for table in tables if name in table.column_names])
        raise


def _check_joins(name: str, kinds: set[pa.DataType], columns: Sequence[pa.Table]) -> None:
    try:
        pa.concat_tables(columns, promote_options="permissive")
    except pa.ArrowException as error:
        raise PoolError(
            f"column `{name}` must hold what fits one type in all sources; got {' and '.join(sorted(map(str, kinds)))} "
            f"({first_line(error)}). Rename it in one of them, or write it as text."
        ) from None


def _with_text(table: pa.Table, names: set[str]) -> pa.Table:
    for index, name in enumerate(table.column_names):
        if name in names and not is_text_type(table.schema.field(index).type):
            values = [None if value is None else json.dumps(value, default=str) for value in table[name].to_pylist()]
            table = table.set_column(index, name, pa.array(values, pa.string()))
    return table


def _plain(column: pa.ChunkedArray) -> pa.Array:
    array = one_array(column)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_null(array.type) or (is_text_type(array.type) and not pa.types.is_string(array.type)):
        return array.cast(pa.string())
    return array


def _not_utf8(array: pa.Array) -> pa.Array | None:
    """True for values that are no UTF-8; None where all are."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return pa.array([value is not None and not _decodes(value) for value in _bytes(array)], pa.bool_())
    return None


def _bytes(array: pa.Array) -> list[bytes | None]:
    values: list[bytes | None] = array.view(pa.binary()).to_pylist()
    return values


def _decodes(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def is_utf8_text(value: object) -> TypeGuard[str]:
    """Whether a value is text that UTF-8 can hold."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False
