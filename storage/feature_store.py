"""Rows by id, made once and kept: features of images and texts, and what else a model or a hash gives of a picture.

One Lance dataset per encoder and kind, appended to, never rewritten. Beside each row of features stands the device that
made it, which is no part of an encoder's identity.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.storage.errors import NotFoundError
from evenly.storage.tables.lance_commits import commit_rows
from evenly.storage.tables.lance_keys import KeyedRows
from evenly.storage.tables.lance_rows import MADE_AGAIN, each_fragment, has_rows, newest_version, open_rows
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


OF_POOL = "a pool of features"
"""What stands in the place of a device where rows were taken from a pool."""
_DEVICE = "device"


def text_id(text: str) -> str:
    """The name of a text in the feature store: SHA-256 of its UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class FeatureStore:
    """Unit fp16 vectors and fp32 norms by id, for one encoder and one kind of thing (`images` or `texts`)."""

    def __init__(self, workspace: Workspace, encoder: str, kind: str) -> None:
        self.path: Path = workspace.features / encoder[:32] / f"{kind}.lance"

    def missing(self, ids: Sequence[str] | pa.Array) -> list[str]:
        """The ids of `ids` that have no row yet, in the order given, each once; of what is stored only ids are read."""
        names: list[str] = missing_ids(self.path, _texts(ids)).to_pylist()
        return names

    def append(self, ids: Sequence[str], vectors: np.ndarray, norms: np.ndarray, *, device: str = "") -> None:
        """Add rows in one commit: `vectors` (n, d) float16 of unit length, `norms` (n,) float32.

        `device`: the name of what made them, "" if that is not known.
        """
        n, d = vectors.shape
        flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float16).reshape(-1))
        table = pa.table(
            {
                "id": pa.array(list(ids), pa.string()),
                "vector": pa.FixedSizeListArray.from_arrays(flat, d),
                "norm": pa.array(np.asarray(norms, dtype=np.float32)),
                _DEVICE: pa.array([device] * n, pa.string()),
            }
        )
        if n:
            commit_rows(self.path, table, mode="append")

    def devices(self, ids: Sequence[str] | pa.Array) -> dict[str, int]:
        """The number of rows of `ids` that each device made, by its name; "" for a device that is not known."""
        counts = Counter[str]()
        if has_rows(self.path):
            for _, table in self._rows().rows(_texts(ids), [_DEVICE]):
                counts.update(table[_DEVICE].to_pylist())
        return dict(sorted(counts.items()))

    def read(self, ids: Sequence[str] | pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """The vectors (n, d) float16 and norms (n,) float32 of `ids`, in that order.

        Beside them some 8,192 stored rows are held. Raises NotFoundError if one is missing, DamagedError if what is
        read has changed.
        """
        names, rows = _texts(ids), self._rows()
        d = rows.schema.field("vector").type.list_size
        vectors, norms = np.empty((len(names), d), np.float16), np.empty(len(names), np.float32)
        for places, some_vectors, some_norms in _batches(rows, names):
            vectors[places], norms[places] = some_vectors, some_norms
        return vectors, norms

    def batches(self, ids: Sequence[str] | pa.Array) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The rows of `ids` as they are stored, at most 8,192 at a time: places (m,) in `ids`, vectors and norms.

        Raises as `read` does: NotFoundError after the last rows that are there.
        """
        yield from _batches(self._rows(), _texts(ids))

    def stored_batches(self, ids: Sequence[str] | pa.Array) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Places (m,) in `ids` and vectors of those that have rows, as `batches` gives them; none without a store."""
        if has_rows(self.path):
            for places, vectors, _ in _stored(self._rows(), _texts(ids)):
                yield places, vectors

    def each(self) -> Iterator[tuple[pa.Array, np.ndarray]]:
        """The ids (m,) and vectors (m, d) of all rows, 65,536 at a time; none without a store."""
        version = newest_version(self.path)
        columns = ["id", "vector"]
        for table in () if version is None else each_fragment(self.path, MADE_AGAIN, version=version, columns=columns):
            column = table["vector"].combine_chunks()
            yield table["id"].combine_chunks(), column.flatten().to_numpy().reshape(len(column), -1)

    @property
    def version(self) -> int | None:
        """The number of the newest commit; None without a store."""
        return newest_version(self.path)

    def count(self) -> int:
        """The number of rows."""
        return int(open_rows(self.path, MADE_AGAIN, None).count_rows()) if has_rows(self.path) else 0

    def _rows(self) -> KeyedRows:
        try:
            return KeyedRows(self.path, MADE_AGAIN)
        except NotFoundError:
            raise NotFoundError(
                f"features `{self.path}` must exist; they do not. Extract them first: `evenly extract`."
            ) from None


def _batches(rows: KeyedRows, names: pa.Array) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    count = 0
    for places, vectors, norms in _stored(rows, names):
        count += len(places)
        yield places, vectors, norms
    if count < len(names):
        raise NotFoundError(
            f"{len(names) - count} of {len(names)} ids have no features. Extract them: `evenly extract`."
        )


def _stored(rows: KeyedRows, names: pa.Array) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    for places, table in rows.rows(names, ["vector", "norm"]):
        column = table["vector"].combine_chunks()
        yield places, column.flatten().to_numpy().reshape(len(column), -1), table["norm"].to_numpy()


def _texts(ids: Sequence[str] | pa.Array) -> pa.Array:
    return ids if isinstance(ids, pa.Array) else pa.array(list(ids), pa.string())
