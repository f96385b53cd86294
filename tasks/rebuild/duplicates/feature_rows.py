"""Duplicates by features: of pictures alone, or of pictures and captions together."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Words
from evenly.curation.columns import column
from evenly.curation.duplicates.image_duplicates import Semantic, picture_colours
from evenly.curation.duplicates.lsh import array_keys
from evenly.curation.duplicates.merging import Contents, uid_columns
from evenly.curation.duplicates.near_rows import COMPARISONS, NearRows, has_direction
from evenly.curation.duplicates.record_linkage import Linked, mix
from evenly.curation.duplicates.sketches import VERSION, plan_search, sign_codes
from evenly.storage.feature_store import FeatureStore
from evenly.storage.records import content_hash
from evenly.storage.tables.row_store import RowStore
from evenly.tasks.encoders import encoder_identity, store_texts, text_rows
from evenly.tasks.engine import InProcess
from evenly.tasks.pictures.encoded import image_rows
from evenly.tasks.rebuild.duplicates.kinds import Kind, Rows, pairs_to_compare
from evenly.tasks.run import Records, Run


@dataclass(frozen=True, kw_only=True)
class NearFeatures(Kind):
    """Unit rows of a cosine: they meet in tables of sign sketches, which `seed` draws."""

    rule: Semantic | Linked

    @property
    def masks(self) -> Words:  # type: ignore[override]
        """See Kind."""
        return _masks(self.rule.min_cosine, self.rule.tables, self._key)

    @property
    def max_distance(self) -> int:  # type: ignore[override]
        """See Kind."""
        return plan_search(self.rule.min_cosine, self.rule.tables).max_distance

    @property
    def comparisons(self) -> int:  # type: ignore[override]
        """See Kind."""
        return COMPARISONS

    @property
    def _key(self) -> str:
        return f"{self.seed}|{self.step}"

    @property
    def max_colour(self) -> float | None:
        """How far colours may differ; None where they do not count."""
        return None

    @abstractmethod
    def vectors(self, run: Run, pairs: pa.Table) -> np.ndarray:
        """The rows (n, d) float16 of pairs."""

    def contents(self, run: Run, upstream: Records) -> Contents:
        """See Kind."""
        pairs = pairs_to_compare(run, upstream, () if self.max_colour is None else ("colour",))
        rows = self.vectors(run, pairs)
        columns, usable, compared = uid_columns(pairs) | {"vector": rows}, has_direction(rows), [rows]
        if self.max_colour is not None:
            columns["colour"], has_colours = picture_colours(pairs)
            usable, compared = usable & has_colours, [rows, columns["colour"]]
        return Contents(columns=columns, keys=array_keys(compared), usable=usable)

    def compared(self, files: Rows, rows: Words) -> NearRows:
        """See Kind."""
        return NearRows(
            rows=files.numbers("vector", rows),
            usable=np.ones(len(rows), np.bool_),
            min_cosine=self.rule.min_cosine,
            colours=None if self.max_colour is None else files.numbers("colour", rows),
            max_colour=255.0 if self.max_colour is None else self.max_colour,
        )

    def codes(self, run: Run, files: Rows, rows: Words) -> Words:  # noqa: ARG002 - of pictures, whose codes are kept
        """See Kind."""
        return sign_codes(files.numbers("vector", rows), np.arange(len(rows)), key=self._key)

    def notes(self, candidates: int) -> dict[str, Any]:
        """See Kind."""
        return plan_search(self.rule.min_cosine, self.rule.tables).notes(candidates)


@dataclass(frozen=True, kw_only=True)
class PictureFeatures(NearFeatures):
    """Features of pictures and, where they count, their colours."""

    rule: Semantic
    step, edge, reason = "deduplicate_semantic", "semantic", "semantic_duplicate"

    @property
    def max_colour(self) -> float | None:
        """See NearFeatures."""
        return self.rule.max_colour

    def vectors(self, run: Run, pairs: pa.Table) -> np.ndarray:
        """See NearFeatures."""
        return image_rows(run, FeatureStore(run.workspace, encoder_identity(run), "images"), _ids(pairs))

    def contents(self, run: Run, upstream: Records) -> Contents:
        """See Kind."""
        contents = super().contents(run, upstream)
        images = column(pairs_to_compare(run, upstream), "image_id", pa.string())
        return replace(contents, columns={**contents.columns, "image": images})

    def codes(self, run: Run, files: Rows, rows: Words) -> Words:
        """See Kind: those that are stored are read, others stored; not by several partitions, as one may write."""
        if run.bits:
            return super().codes(run, files, rows)
        store = RowStore(run.workspace, encoder_identity(run), f"codes-{content_hash([self._key, VERSION])[:16]}")
        ids = files.column("image", rows)
        missing = store.missing(ids)
        codes = super().codes(run, files, rows[pc.index_in(missing, ids).to_numpy()])
        store.append(missing, codes)
        return store.read(ids).astype(np.uint64, copy=False) if len(ids) else codes


@dataclass(frozen=True, kw_only=True)
class RecordFeatures(NearFeatures):
    """Features of pictures and captions, mixed."""

    rule: Linked
    step, edge, reason = "deduplicate_linked", "linked", "linked_record"

    def prepare(self, run: Run, upstream: Records) -> None:
        """Encode the captions that have no features yet, one partition after the other: the store has one writer."""

        def encode(part_run: Run) -> None:
            store_texts(part_run, _captions(part_run.ledger.alive(upstream, ["caption"])))

        InProcess(run=run).partitions("encoding captions", encode)

    def vectors(self, run: Run, pairs: pa.Table) -> np.ndarray:
        """See NearFeatures."""
        images = image_rows(run, FeatureStore(run.workspace, encoder_identity(run), "images"), _ids(pairs))
        return mix(images, text_rows(run, _captions(pairs)), weight=self.rule.weight)


def _ids(pairs: pa.Table) -> list[str]:
    ids: list[str] = column(pairs, "image_id", pa.string()).to_pylist()
    return ids


def _captions(pairs: pa.Table) -> list[str]:
    captions: list[str] = column(pairs, "caption", pa.string()).to_pylist()
    return captions


@lru_cache(maxsize=4)
def _masks(min_cosine: float, tables: int, key: str) -> Words:
    return plan_search(min_cosine, tables).masks(key)
