"""Rows by id, made once and kept: what a model or a hash gives of a picture's bytes, in numbers or in words."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.storage.errors import NotFoundError
from evenly.storage.tables.lance_commits import commit_rows
from evenly.storage.tables.lance_keys import KeyedRows
from evenly.storage.tables.lance_rows import MADE_AGAIN
from evenly.storage.workspace import Workspace


def missing_ids(path: Path, ids: pa.Array) -> pa.Array:
    """The ids that have no row in a dataset, in the order given, each once; of what is stored only ids are read."""
    distinct = ids.unique()
    try:
        return distinct.filter(pa.array(~KeyedRows(path, MADE_AGAIN).stored(distinct)))
    except NotFoundError:
        return distinct


class RowStore:
    """Rows (d,) of numbers by id: what `maker`, an identity, makes of one `kind`; appended to, never rewritten."""

    def __init__(self, workspace: Workspace, maker: str, kind: str) -> None:
        self.path: Path = workspace.features / maker[:32] / f"{kind}.lance"

    def missing(self, ids: pa.Array) -> pa.Array:
        """The ids of `ids` that have no row yet, in the order given, each once."""
        return missing_ids(self.path, ids)

    def append(self, ids: pa.Array, rows: npt.NDArray[np.number]) -> None:
        """Add `rows` (n, d), one for each of `ids`, in one commit."""
        flat = pa.array(np.ascontiguousarray(rows).reshape(-1))
        table = pa.table({"id": ids, "row": pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])})
        if len(ids):
            commit_rows(self.path, table, mode="append")

    def read(self, ids: pa.Array) -> npt.NDArray[np.number]:
        """The rows (n, d) of `ids`, in that order; NotFoundError if one is missing, or if none was ever stored.

        Beside them some 8,192 stored rows are held.
        """
        count = 0
        with suppress(NotFoundError):
            stored = KeyedRows(self.path, MADE_AGAIN)
            kind = stored.schema.field("row").type
            rows = np.empty((len(ids), kind.list_size), kind.value_type.to_pandas_dtype())
            for places, table in stored.rows(ids, ["row"]):
                rows[places] = table["row"].combine_chunks().flatten().to_numpy().reshape(len(places), -1)
                count += len(places)
            if count == len(ids):
                return rows
        raise NotFoundError(f"{len(ids) - count} of {len(ids)} ids have no row in `{self.path}`. Run the step again.")


class TextStore:
    """Texts by picture, and by number of the sample: what the model with this identity makes of one `kind`."""

    def __init__(self, workspace: Workspace, model: str, kind: str) -> None:
        self.path: Path = workspace.features / model[:32] / f"{kind}.lance"

    def read(self, image_ids: Sequence[str], sample: int = 0) -> list[str | None]:
        """The stored text of each picture for a sample, in order; None where there is none."""
        captions: list[str | None] = [None] * len(image_ids)
        try:
            stored = KeyedRows(self.path, MADE_AGAIN)
        except NotFoundError:
            return captions
        keys = pa.array([_key(image_id, sample) for image_id in image_ids], pa.string())
        distinct = keys.unique()
        texts: dict[str, str] = {}
        for places, rows in stored.rows(distinct, ["caption"]):
            texts |= zip(distinct.take(pa.array(places)).to_pylist(), rows["caption"].to_pylist(), strict=True)
        return [texts.get(key) for key in keys.to_pylist()]

    def append(self, image_ids: Sequence[str], captions: Sequence[str], sample: int = 0) -> None:
        """Add texts of pictures for a sample, in one commit."""
        if len(image_ids):
            keys = [_key(image_id, sample) for image_id in image_ids]
            commit_rows(self.path, pa.table({"id": keys, "caption": list(captions)}), mode="append")


def _key(image_id: str, sample: int) -> str:
    return f"{image_id} {sample}"
