"""Feature rows of images and texts: one Lance dataset per encoder and kind, appended to, never rewritten."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.errors import NotFoundError
from evenly.storage.tables.lance_rows import MADE_AGAIN, commit_rows, has_rows, read_rows
from evenly.storage.workspace import Workspace


class FeatureStore:
    """Unit fp16 vectors and fp32 norms by id, for one encoder and one kind of thing (`images` or `texts`)."""

    def __init__(self, workspace: Workspace, encoder: str, kind: str) -> None:
        self.path: Path = workspace.features / encoder[:32] / f"{kind}.lance"

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Those of `ids` that have no row yet, in the order given, each once."""
        stored = set(self._stored_ids())
        return [item for item in dict.fromkeys(ids) if item not in stored]

    def append(self, ids: Sequence[str], vectors: np.ndarray, norms: np.ndarray) -> None:
        """Add rows in one commit: `vectors` (n, d) float16 of unit length, `norms` (n,) float32."""
        n, d = vectors.shape
        flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float16).reshape(-1))
        table = pa.table(
            {
                "id": pa.array(list(ids), pa.string()),
                "vector": pa.FixedSizeListArray.from_arrays(flat, d),
                "norm": pa.array(np.asarray(norms, dtype=np.float32)),
            }
        )
        if n:
            commit_rows(self.path, table, mode="append")

    def read(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The vectors (n, d) float16 and norms (n,) float32 of `ids`, in that order.

        Raises NotFoundError if one is missing, DamagedError if what is stored has changed.
        """
        if not has_rows(self.path):
            raise NotFoundError(
                f"features `{self.path}` must exist; they do not. Extract them first: `evenly extract`."
            )
        table = read_rows(self.path, MADE_AGAIN)
        places = pc.index_in(pa.array(list(ids), pa.string()), table["id"])
        if places.null_count:
            raise NotFoundError(
                f"{places.null_count} of {len(ids)} ids have no features. Extract them: `evenly extract`."
            )
        column = table["vector"].combine_chunks()
        vectors = column.flatten().to_numpy().reshape(len(column), -1)
        rows = places.to_numpy()
        return vectors[rows], table["norm"].to_numpy()[rows]

    def _stored_ids(self) -> list[str]:
        if not has_rows(self.path):
            return []
        ids: list[str] = read_rows(self.path, MADE_AGAIN, columns=["id"])["id"].to_pylist()
        return ids
