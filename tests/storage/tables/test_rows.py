"""Columns of nulls: equal to Arrow's own, and quick to take rows from."""

import pyarrow as pa
import pytest

from evenly.storage.tables.hashing import table_hash
from evenly.storage.tables.rows import null_rows

PLAIN = [pa.string(), pa.int32(), pa.list_(pa.uint8())]
OF_FIXED_SIZE = [
    pa.list_(pa.uint8(), 768),
    pa.list_(pa.float64(), 3),
    pa.list_(pa.string(), 2),
    pa.list_(pa.bool_(), 9),
]


@pytest.mark.parametrize("kind", [*PLAIN, *OF_FIXED_SIZE], ids=str)
@pytest.mark.parametrize("n", [0, 5])
def test_they_equal_the_nulls_of_arrow(kind: pa.DataType, n: int) -> None:
    nulls = null_rows(n, kind)
    nulls.validate(full=True)
    assert nulls.type == kind
    assert nulls.null_count == n
    assert nulls.equals(pa.nulls(n, kind))
    assert table_hash(pa.table({"column": nulls})) == table_hash(pa.table({"column": pa.nulls(n, kind)}))


def test_below_null_lists_of_numbers_there_is_no_null_that_would_make_taking_rows_slow() -> None:
    nulls = null_rows(4, pa.list_(pa.uint8(), 768))
    assert nulls.values.null_count == 0
    assert nulls.take(pa.array([3, 1])).values.null_count == 0
