"""Columns of a pool in the types that every step, the ledger and the sample table can hold; values stay as they are.

Nested columns are rebuilt from within: Arrow cannot take rows of views, and Lance holds neither list views, decimals
of less than 128 bits nor lists of fixed size of anything but numbers.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.pools.texts import repaired
from evenly.storage.tables.hashing import is_list, is_text_or_bytes

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
