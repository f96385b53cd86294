"""Queries made of several feature rows, and the rows nearest to one, out of batches that need not fit into memory."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from evenly.features.errors import RowsError
from evenly.features.retrieve import top_concepts
from evenly.features.unit_rows import Half, Single, to_unit_rows

Batch = tuple[npt.NDArray[np.int64], Half]
"""Places (m,) and the feature rows (m, d) that stand there."""


def query_row(rows: npt.NDArray[np.floating], minus: npt.NDArray[np.floating]) -> Single:
    """The unit row (d,) of a query: the mean of the directions of `rows` less the mean of those of `minus`.

    rows: (n, d), at least one. minus: (m, d), or none. Raises RowsError where they cancel out.
    """
    directions = [_directions(part).mean(axis=0) for part in (rows, minus) if len(part)]
    query = directions[0] - (directions[1] if len(directions) > 1 else 0.0)
    length = float(np.sqrt((query * query).sum()))
    if length < 1e-6:
        raise RowsError(
            "`minus` must differ from what is searched for; got the same, so that nothing is left. Leave it out."
        )
    return np.asarray(query / length, np.float32)


def nearest_rows(
    query: Single, batches: Iterable[Batch], k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The places and cosines of the `k` rows nearest to the query (d,), best first; of equal scores the smaller place.

    Fewer where there are fewer rows. Each batch is held alone, in any order: the answer is that of one batch with all.
    Scores are those of `cosine_scores`.
    """
    places, scores = np.zeros(0, np.int64), np.zeros(0, np.float64)
    for batch_places, rows in batches:
        if not len(rows):
            continue
        order = np.argsort(batch_places)
        nearest, cosines = top_concepts(query[None], rows[order], min(k, len(rows)))
        places = np.concatenate([places, batch_places[order][nearest[0]]])
        scores = np.concatenate([scores, cosines[0]])
        best = np.lexsort((places, -scores))[:k]
        places, scores = places[best], scores[best]
    return places, scores


def _directions(rows: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The rows in double precision at length 1."""
    unit = to_unit_rows(rows)[0].astype(np.float64)
    directions: npt.NDArray[np.float64] = unit / np.sqrt((unit * unit).sum(axis=1, keepdims=True))
    return directions
