"""An index of vectors in a Lance dataset: where it is built, and what is near by it."""

from pathlib import Path
from typing import Any

import numpy as np

from evenly.storage.errors import NotFoundError
from evenly.storage.tables.lance_rows import KEY, check_indices, open_rows, readable_rows

COLUMN, NAME = "vector", "nearest"


class VectorIndex:
    """The index of the newest version of a dataset, its files compared with their sums.

    `unindexed` rows came later: they are searched exactly beside it. Raises NotFoundError where there is none.
    """

    def __init__(self, path: Path, remedy: str) -> None:
        self._path, self._remedy = path, remedy
        with readable_rows(path, remedy):
            self._dataset: Any = open_rows(path, remedy, None)
            if NAME not in {index.name for index in self._dataset.describe_indices()}:
                raise NotFoundError(f"features `{path}` must have an index; there is none. Make it: `evenly index`.")
            check_indices(path, remedy, self._dataset, {COLUMN})
            covered = {
                number
                for index in self._dataset.describe_indices()
                if index.name == NAME
                for segment in index.segments
                for number in segment.fragment_ids
            }
            later = (part for part in self._dataset.get_fragments() if part.fragment_id not in covered)
            self.unindexed = sum(part.count_rows() for part in later)

    @property
    def bytes(self) -> int:
        """The size of the files of the index."""
        return sum(int(index.total_size_bytes) for index in self._dataset.describe_indices() if index.name == NAME)

    def nearest(self, query: np.ndarray, k: int, *, nprobes: int) -> list[str]:
        """The ids of `k` rows that are near to a query (d,), by cosine, of `nprobes` of the index's cells."""
        with readable_rows(self._path, self._remedy):
            near = {"column": COLUMN, "q": query.astype(np.float32), "k": k, "nprobes": nprobes}
            scanner = self._dataset.scanner(columns=[KEY, "_distance"], nearest=near)
            ids: list[str] = scanner.to_table()[KEY].to_pylist()
        return ids
