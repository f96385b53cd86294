"""Link records by picture and text at once: CLIPPINGS (Arora et al. 2023, arXiv:2304.03464), without its training.

A record's embedding is norm(w * picture + (1 - w) * text) of unit embeddings, and records are clustered by single link
at a cosine. Differs in that neighbours come from seeded hashing, each measured exactly, and that the weight is the one
published for the self-supervised model; the supervised one had 0.76. The published threshold, a cosine distance of 0.13
or 0.227, was chosen on validation data for its encoder. It means nothing for another: look at labelled pairs of yours.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from annotated_types import Ge, Le

from evenly.bounds import Share, Tables, check_bounds
from evenly.curation.arrays import Floats, Ints, column
from evenly.curation.duplicates.feature_duplicates import NearFeatures
from evenly.curation.duplicates.merging import Duplicates, in_uid_order, merge
from evenly.curation.duplicates.near_rows import NearRows
from evenly.curation.errors import ColumnsError, RuleError

_BATCH = 8192


@dataclass(frozen=True, kw_only=True)
class MixedCosine:
    """Records are one if their mixed embeddings have a cosine of at least `min_cosine`, for which there is no default.

    weight: of the picture, 0 to 1; the text has the rest. Choose the cosine on labelled pairs of your own.
    """

    min_cosine: Share
    weight: Annotated[float, Ge(0), Le(1)] = 0.636

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)


@dataclass(frozen=True, kw_only=True)
class Linked(MixedCosine):
    """A MixedCosine, and how many `tables` of hashing are searched, as in Semantic."""

    tables: Tables = 64


def deduplicate_linked(
    batch: pa.Table,
    images: npt.NDArray[np.floating],
    texts: npt.NDArray[np.floating],
    rule: Linked,
    *,
    seed: int = 0,
) -> Duplicates:
    """Merge pairs that are one record as linked_record; the distance is the cosine of mixed embeddings, 4 digits.

    `batch`: uid, width, height and, optionally, score; `images` and `texts` (n, d) features of the same pairs, of any
    length. A pair without a finite direction in both has no duplicates. `seed` draws the hashing.
    """
    mixed = mix(images, texts, weight=rule.weight)
    if len(mixed) != batch.num_rows:
        text = (
            f"`images` must be the features of the {batch.num_rows} pairs; got {len(mixed)}. Read those of the batch."
        )
        raise ColumnsError(text)

    def search(batch: pa.Table, places: Ints | slice) -> Duplicates:
        usable = np.ones(batch.num_rows, dtype=np.bool_)
        near_rows = NearRows(rows=mixed[places], usable=usable, min_cosine=rule.min_cosine)
        uids = column(batch, "uid", pa.string())
        duplicates = near_rows.find(uids, tables=rule.tables, seed=seed, step="deduplicate_linked")
        return merge(batch, duplicates, kind="linked", reason="linked_record")

    return in_uid_order(batch, search)


def mix(images: npt.NDArray[np.floating], texts: npt.NDArray[np.floating], *, weight: float) -> npt.NDArray[np.float16]:
    """Return norm(weight * images + (1 - weight) * texts) (n, d) of rows that are brought to unit length first.

    Unequal lengths would else count as weights. Zeros where a row has no finite direction, or the two cancel out.
    """
    if images.shape != texts.shape:
        text = f"`texts` must have the shape of `images`, {images.shape}; got {texts.shape}. Use one encoder for both."
        raise ColumnsError(text)
    mixed = np.empty(images.shape, dtype=np.float16)
    for begin in range(0, len(images), _BATCH):
        part = slice(begin, begin + _BATCH)
        image_rows, text_rows = _unit(images[part]), _unit(texts[part])
        has_both = image_rows.any(axis=1, keepdims=True) & text_rows.any(axis=1, keepdims=True)
        mixed[part] = _unit(np.where(has_both, weight * image_rows + (1 - weight) * text_rows, 0.0))
    return mixed


def _unit(rows: npt.NDArray[np.floating]) -> Floats:
    wide = rows.astype(np.float64)
    wide[~np.isfinite(wide).all(axis=1)] = 0
    norms = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    return np.asarray(np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 1e-12))


@dataclass(frozen=True, kw_only=True)
class RecordFeatures(NearFeatures):
    """Features of pictures and captions, mixed."""

    rule: Linked
    step, edge, reason, max_colour = "deduplicate_linked", "linked", "linked_record", None
