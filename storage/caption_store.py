"""Captions that a model drew of pictures, kept: one Lance dataset for each model, appended to, never rewritten."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from evenly.storage.errors import NotFoundError
from evenly.storage.tables.lance_commits import commit_rows
from evenly.storage.tables.lance_keys import KeyedRows
from evenly.storage.tables.lance_rows import MADE_AGAIN
from evenly.storage.workspace import Workspace


class CaptionStore:
    """Captions by picture and number of the sample, of the model with this identity."""

    def __init__(self, workspace: Workspace, model: str) -> None:
        self.path: Path = workspace.features / model[:32] / "captions.lance"

    def read(self, image_ids: Sequence[str], sample: int) -> list[str | None]:
        """The stored caption of each picture for a sample, in order; None where there is none."""
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

    def append(self, image_ids: Sequence[str], sample: int, captions: Sequence[str]) -> None:
        """Add captions of pictures for a sample, in one commit."""
        if len(image_ids):
            keys = [_key(image_id, sample) for image_id in image_ids]
            commit_rows(self.path, pa.table({"id": keys, "caption": list(captions)}), mode="append")


def _key(image_id: str, sample: int) -> str:
    return f"{image_id} {sample}"
