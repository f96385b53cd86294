"""Rows of features by pictures that no build shows go, those of views of them too."""

import numpy as np
import pyarrow as pa

from evenly.storage.feature_store import FeatureStore
from evenly.storage.removal.clean import _hashes, drop_rows, idle_rows
from evenly.storage.removal.leftovers import datasets, list_files
from evenly.storage.tables.lance_rows import MADE_AGAIN, read_rows

SHOWN, GONE = "a" * 64, "b" * 64


def test_views_of_pictures_that_no_build_shows_go_with_them(workspace):
    names = {"images": [SHOWN, GONE], "images-views": [f"{SHOWN}:crop 0", f"{GONE}:crop 0", f"{SHOWN}:flip"]}
    names["regions"] = [f"{SHOWN}:{'c' * 32} 0", f"{GONE}: 0"]
    for kind, ids in names.items():
        rows = np.eye(len(ids), 4, dtype=np.float16)
        FeatureStore(workspace, "0" * 64, kind).append(ids, rows, np.ones(len(ids), np.float32))
    shown = np.unique(_hashes(pa.chunked_array([[SHOWN]])))
    idle = list(idle_rows(datasets(list_files(workspace.root), {}), shown))
    assert sorted((one.path.name, one.rows) for one in idle) == [
        (f"{kind}.lance", 1) for kind in ("images-views", "images", "regions")
    ]
    for one in idle:
        drop_rows(one, shown)
    left = {one.path.stem: read_rows(one.path, MADE_AGAIN)["id"].to_pylist() for one in idle}
    assert left == {kind: [name for name in ids if name.startswith(SHOWN)] for kind, ids in names.items()}
