"""negCLIPLoss (Wang et al. 2024, arXiv:2405.19547): the image-text score less a pair's likeness to other pairs.

A pair's value is tau times the negative of its term of CLIP's contrastive loss in a batch of pairs, averaged over
batches that are drawn anew in each round: a caption that agrees with every picture gains nothing by it.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge, Gt

from evenly.bounds import FINITE, check_bounds
from evenly.curation.arrays import Floats, Ints, Rows, Singles, fixed_rows
from evenly.curation.draws import draws
from evenly.curation.errors import RuleError

_BLOCK = 1024


@dataclass(frozen=True, kw_only=True)
class NegCLIPLoss:
    """Contrast in batches of about `batch` pairs, averaged over `rounds`, at `temperature` (that of CLIP)."""

    temperature: Annotated[float, Gt(0), FINITE] = 0.01
    batch: Annotated[int, Ge(2)] = 32_768
    rounds: Annotated[int, Ge(1)] = 10

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)

    def batches(self, pairs: int) -> int:
        """The number of batches of a round, all of about one size."""
        return max(1, round(pairs / self.batch))

    def rounds_of(self, pairs: int) -> int:
        """The rounds that are made: one where all pairs are one batch, as the others would say the same."""
        return 1 if self.batches(pairs) == 1 else self.rounds


def draw_batches(uids: pa.Array, batches: int, *, seed: int, round_number: int) -> Ints:
    """The batch (n,) that each pair is in, by hash."""
    entries = [str(round_number)] * len(uids)
    drawn = draws(seed=seed, step="score_features", uids=uids.to_pylist(), entries=entries)
    return (drawn * batches).astype(np.int64)


def negclip_values(images: Rows, texts: Rows, temperature: float) -> Floats:
    """The value (n,) of each pair of a batch, of unit `images` and `texts` (n, d).

    s_ii - tau / 2 (log sum_j exp(s_ij / tau) + log sum_j exp(s_ji / tau)), s_ij the cosine of picture i and caption j.
    """
    images, texts = unit_singles(images), unit_singles(texts)
    n = len(images)
    by_image, by_text = np.empty(n), np.full(n, -np.inf)
    for start in range(0, n, _BLOCK):
        block = slice(start, start + _BLOCK)
        scores = images[block] @ texts.T / np.float32(temperature)
        by_image[block] = _log_sum_exp(scores, axis=1)
        by_text = np.logaddexp(by_text, _log_sum_exp(scores, axis=0))
    paired = (images.astype(np.float64) * texts).sum(axis=1)
    return np.asarray(paired - temperature / 2 * (by_image + by_text))


def with_contrasts(rows: pa.Table, images: str, texts: str, temperature: float) -> pa.Table:
    """The `sum` of each pair [uid, batch, sum], that of its value in its batch added to it; [uid, sum].

    images, texts: the columns of their features.
    """
    parts = [pa.table({"uid": pa.array([], pa.string()), "sum": pa.array([], pa.float64())})]
    for batch in sorted(rows["batch"].unique().to_pylist()):
        # In the order of uids, so that sums are the same whoever sent the pairs.
        pairs = rows.filter(pc.equal(rows["batch"], batch)).sort_by("uid").combine_chunks()
        width = pairs.schema.field(images).type.list_size
        of_images, of_texts = (fixed_rows(pairs, name, pa.float16(), width) for name in (images, texts))
        sums = pairs["sum"].to_numpy() + negclip_values(of_images, of_texts, temperature)
        parts.append(pa.table({"uid": pairs["uid"], "sum": sums}))
    return pa.concat_tables(parts)


def _log_sum_exp(scores: Singles, axis: int) -> Floats:
    highest = scores.max(axis=axis, keepdims=True)
    sums = np.exp(scores - highest).sum(axis=axis, dtype=np.float64)
    return np.asarray(highest.squeeze(axis) + np.log(sums), np.float64)


def unit_singles(rows: Rows) -> Singles:
    """The rows (n, d) in single precision and of unit length, which rows stored in half precision miss by a little."""
    singles = rows.astype(np.float32)
    return np.asarray(singles / np.linalg.norm(singles, axis=1, keepdims=True), np.float32)
