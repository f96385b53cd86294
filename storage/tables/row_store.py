"""Rows of numbers by id, made once and kept: what a model or a hash gives of a picture's bytes, features apart."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.errors import NotFoundError
from evenly.storage.tables.lance_rows import MADE_AGAIN, commit_rows, has_rows, read_rows
from evenly.storage.workspace import Workspace


class RowStore:
    """Rows (d,) of numbers by id: what `maker`, an identity, makes of one `kind`; appended to, never rewritten."""

    def __init__(self, workspace: Workspace, maker: str, kind: str) -> None:
        self.path: Path = workspace.features / maker[:32] / f"{kind}.lance"

    def missing(self, ids: pa.Array) -> pa.Array:
        """Those of `ids` that have no row yet, in the order given, each once."""
        return ids.filter(pc.invert(pc.is_in(ids, self._stored(["id"])["id"].combine_chunks()))).unique()

    def append(self, ids: pa.Array, rows: npt.NDArray[np.number]) -> None:
        """Add `rows` (n, d), one for each of `ids`, in one commit."""
        flat = pa.array(np.ascontiguousarray(rows).reshape(-1))
        table = pa.table({"id": ids, "row": pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])})
        if len(ids):
            commit_rows(self.path, table, mode="append")

    def read(self, ids: pa.Array) -> npt.NDArray[np.number]:
        """The rows (n, d) of `ids`, in that order; NotFoundError if one is missing, or if none was ever stored."""
        table = self._stored(["id", "row"])
        places = pc.index_in(ids, table["id"].combine_chunks())
        if places.null_count or "row" not in table.column_names:
            raise NotFoundError(
                f"{places.null_count} of {len(ids)} ids have no row in `{self.path}`. Run the step again."
            )
        column = table["row"].combine_chunks()
        rows: npt.NDArray[np.number] = column.flatten().to_numpy().reshape(-1, column.type.list_size)[places.to_numpy()]
        return rows

    def _stored(self, columns: list[str]) -> pa.Table:
        if not has_rows(self.path):
            return pa.table({"id": pa.array([], pa.string())})
        return read_rows(self.path, MADE_AGAIN, columns=columns)
