"""Rows of a table as a template wants them."""

import math
from typing import Any

import pyarrow as pa


def plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as dicts, None in place of NaN."""
    return [{name: _plain(value) for name, value in row.items()} for row in table.to_pylist()]


def _plain(value: Any) -> Any:  # noqa: ANN401 - a cell of any table
    return None if isinstance(value, float) and math.isnan(value) else value
