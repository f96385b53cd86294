"""CLIPScore and what is derived from it, of captions before and after they were chosen; none of them judges.

Hessel et al. 2021, arXiv:2104.08718: 2.5 max(cosine, 0). The paper's are of ViT-B/32 and texts that begin with "A photo
depicts"; these are of the recipe's encoder and of captions as they stand, so they compare captions of one build only.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Floats

_COSINE_UNITS = 10_000
_WEIGHT = 2.5


def clip_scores(cosines: Floats) -> Floats:
    """Return CLIPScore of cosines between picture and caption, each in [0, 2.5]."""
    return np.asarray(_WEIGHT * np.maximum(cosines, 0.0))


def count_rewritten(chosen: pa.Table) -> pa.Table:
    """Return a row for each origin with chosen captions: origin, pairs, and sums of cosines before and after.

    `chosen` has caption_origin, caption_score, original_score and, where a second encoder judged, caption_judged and
    original_judged. Sums are of max(cosine, 0) in units of 1e-4, to which cosines are stored; those by the second
    encoder are null without one.
    """
    origins = chosen["caption_origin"].combine_chunks()
    rows = []
    for origin in sorted(pc.unique(origins).to_pylist()):
        of_origin = chosen.filter(pc.equal(origins, origin))
        sums = {
            name: _sum(of_origin[name]) if name in of_origin.column_names else None
            for name in ("original_score", "caption_score", "original_judged", "caption_judged")
        }
        rows.append({"origin": origin, "pairs": of_origin.num_rows, **sums})
    return pa.Table.from_pylist(rows, REWRITTEN)


REWRITTEN = pa.schema(
    [("origin", pa.string()), ("pairs", pa.int64())]
    + [(name, pa.int64()) for name in ("original_score", "caption_score", "original_judged", "caption_judged")]
)


def compare_captions(parts: Sequence[pa.Table]) -> dict[str, float | int | None]:
    """Return mean CLIPScores of original and chosen captions, over pairs with another caption than before; 4 digits.

    `parts` are of `count_rewritten`; rewritten is the number of these pairs; the means are None where there are none.
    judged_before and judged_after are the same by the second encoder, where there is one.
    """
    rows = pa.concat_tables(parts)
    rows = rows.filter(pc.not_equal(rows["origin"], "original"))
    pairs = pc.sum(rows["pairs"]).as_py() or 0
    names = {"clipscore_before": "original_score", "clipscore_after": "caption_score"}
    if rows["caption_judged"].null_count < len(rows):
        names |= {"judged_before": "original_judged", "judged_after": "caption_judged"}
    means = {
        note: round(_WEIGHT * pc.sum(rows[name]).as_py() / _COSINE_UNITS / pairs, 4) if pairs else None
        for note, name in names.items()
    }
    return {"rewritten": pairs, **means}


def share_by_origin(parts: Sequence[pa.Table]) -> dict[str, int]:
    """Return how many pairs have a caption of each origin, by name."""
    rows = pa.concat_tables(parts).group_by("origin", use_threads=False).aggregate([("pairs", "sum")])
    return dict(sorted(zip(rows["origin"].to_pylist(), rows["pairs_sum"].to_pylist(), strict=True)))


def _sum(column: pa.ChunkedArray) -> int | None:
    values = column.drop_null().to_numpy()
    return int(np.maximum(np.rint(values * _COSINE_UNITS), 0).sum()) if len(values) else None
