"""Merge pairs whose pictures have near features; kinds of duplicates that are found by near rows.

Source: SemDeDup (Abbas et al. 2023, arXiv:2303.09540). Differs in that candidates come from seeded hashing, whose
recall is measured, and that colours count too: docs/deduplication.md says how and why.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.bounds import Levels, Share, Tables, check_bounds
from evenly.curation.arrays import Ints, Words, column
from evenly.curation.duplicates.colours import picture_colours
from evenly.curation.duplicates.kind import Kind, StoredRows
from evenly.curation.duplicates.lsh import array_keys
from evenly.curation.duplicates.merging import Contents, Duplicates, in_uid_order, merge, uid_columns
from evenly.curation.duplicates.near_rows import COMPARISONS, NearRows, has_direction
from evenly.curation.duplicates.sketches import plan_search, sign_codes
from evenly.curation.encoder_name import StepModel
from evenly.curation.errors import ColumnsError, RuleError


@dataclass(frozen=True, kw_only=True)
class Semantic:
    """Duplicates have features of cosine at least `min_cosine` and colour grids within `max_colour` (see Perceptual).

    `max_colour` None: features alone decide. `tables` of hashing are searched; their bits follow from `min_cosine`.
    `model`: the encoder whose features they are; None: the build's.
    """

    min_cosine: Share = 0.95
    max_colour: Levels | None = 22.0
    tables: Tables = 64
    model: StepModel | None = None

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)


def deduplicate_semantic(
    batch: pa.Table, rows: npt.NDArray[np.float16], rule: Semantic, *, seed: int = 0
) -> Duplicates:
    """Merge pairs whose features nearly agree as semantic_duplicate; the distance is the cosine, 4 digits.

    `batch`: uid, width, height, colour (unless the rule looks at none) and, optionally, score; `rows` (n, d) unit
    features of the same pairs. `seed` draws the hashing.
    """
    if len(rows) != batch.num_rows:
        text = f"`rows` must be the features of the {batch.num_rows} pairs; got {len(rows)}. Read those of the batch."
        raise ColumnsError(text)

    def search(batch: pa.Table, places: Ints | slice) -> Duplicates:
        colours, usable = (
            (None, np.ones(batch.num_rows, np.bool_)) if rule.max_colour is None else picture_colours(batch)
        )
        near_rows = NearRows(
            rows=rows[places],
            usable=usable,
            min_cosine=rule.min_cosine,
            colours=colours,
            max_colour=255.0 if rule.max_colour is None else rule.max_colour,
        )
        uids = column(batch, "uid", pa.string())
        duplicates = near_rows.find(uids, tables=rule.tables, seed=seed, step="deduplicate_semantic")
        return merge(batch, duplicates, kind="semantic", reason="semantic_duplicate")

    return in_uid_order(batch, search)


class CosineRule(Protocol):
    """A rule of near features: the least cosine, and how many tables of hashing are searched."""

    @property
    def min_cosine(self) -> float:
        """The least cosine of duplicates."""

    @property
    def tables(self) -> int:
        """The tables that are searched."""


@dataclass(frozen=True, kw_only=True)
class NearFeatures(Kind):
    """Unit rows of a cosine: they meet in tables of sign sketches, which `seed` draws."""

    rule: CosineRule

    @property
    def masks(self) -> Words:  # type: ignore[override]
        """See Kind."""
        return _masks(self.rule.min_cosine, self.rule.tables, self.key)

    @property
    def max_distance(self) -> int:  # type: ignore[override]
        """See Kind."""
        return plan_search(self.rule.min_cosine, self.rule.tables).max_distance

    @property
    def comparisons(self) -> int:  # type: ignore[override]
        """See Kind."""
        return COMPARISONS

    @property
    def key(self) -> str:
        """The key that draws the planes of sketches and the masks of tables."""
        return f"{self.seed}|{self.step}"

    @property
    @abstractmethod
    def max_colour(self) -> float | None:
        """How far colours may differ; None where they do not count."""

    def contents(self, pairs: pa.Table, features: npt.NDArray[np.float16] | None) -> Contents:
        """See Kind."""
        rows = np.empty((0, 0), np.float16) if features is None else features
        columns, usable, compared = uid_columns(pairs) | {"vector": rows}, has_direction(rows), [rows]
        if self.max_colour is not None:
            columns["colour"], has_colours = picture_colours(pairs)
            usable, compared = usable & has_colours, [rows, columns["colour"]]
        return Contents(columns=columns, keys=array_keys(compared), usable=usable)

    def compared(self, stored: StoredRows, rows: Words) -> NearRows:
        """See Kind."""
        return NearRows(
            rows=stored.numbers("vector", rows),
            usable=np.ones(len(rows), np.bool_),
            min_cosine=self.rule.min_cosine,
            colours=None if self.max_colour is None else stored.numbers("colour", rows),
            max_colour=255.0 if self.max_colour is None else self.max_colour,
        )

    def codes(self, stored: StoredRows, rows: Words) -> Words:
        """See Kind."""
        return sign_codes(stored.numbers("vector", rows), np.arange(len(rows)), key=self.key)

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

    @property
    def looks(self) -> tuple[str, ...]:  # type: ignore[override]
        """See Kind."""
        return () if self.max_colour is None else ("colour",)

    def contents(self, pairs: pa.Table, features: npt.NDArray[np.float16] | None) -> Contents:
        """See Kind: also which pictures they are, by which their codes are kept."""
        contents = super().contents(pairs, features)
        return replace(contents, columns={**contents.columns, "image": column(pairs, "image_id", pa.string())})


@lru_cache(maxsize=4)
def _masks(min_cosine: float, tables: int, key: str) -> Words:
    return plan_search(min_cosine, tables).masks(key)
