"""Reading columns out of a batch: the same checks and the same words for every step."""

import numpy as np
import pyarrow as pa

from evenly.curation.errors import ColumnsError
from evenly.keys import places_in


def column(batch: pa.Table, name: str, kind: pa.DataType) -> pa.Array:
    """Return the column `name` of `batch` as one Arrow array of type `kind`."""
    if name not in batch.column_names:
        raise ColumnsError(f"`batch` must hold a column {name!r}; got {batch.column_names}. Read that column too.")
    values = batch[name]
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(values, pa.ChunkedArray):  # combine_chunks of no chunk at all
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], type=values.type)
    if values.type == kind:
        return values
    try:
        return values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ColumnsError(f"`{name}` must be {kind}; got {values.type}. Convert it where it is read.") from error


def fixed_rows(batch: pa.Table, name: str, kind: pa.DataType, width: int) -> np.ndarray:
    """Return the fixed-size list column `name` as an array (n, width); a null row becomes zeros."""
    values = column(batch, name, pa.list_(kind, width))
    if values.null_count:
        rows = np.zeros((len(values), width), dtype=kind.to_pandas_dtype())
        valid = values.is_valid().to_numpy(zero_copy_only=False)
        rows[valid] = values.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
        return rows
    return np.asarray(values.flatten().to_numpy(zero_copy_only=False)).reshape(-1, width)


def taken_rows(table: pa.Table, uids: pa.Array) -> pa.Table:
    """Return the row of `table` for each of `uids`, in their order; null where it has none."""
    return table.take(places_in(uids, column(table, "uid", pa.string())))
