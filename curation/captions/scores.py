"""CLIPScore and measures made of it, of captions before and after they were chosen; none of them judges.

Hessel et al. 2021, arXiv:2104.08718: 2.5 max(cosine, 0). The paper's are of ViT-B/32 and texts that begin with "A photo
depicts"; these are of the recipe's encoder and of captions as they stand, so they compare captions of one build only.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Floats, Ints
from evenly.curation.draws import draws

REFERENCES = 16
"""Texts of a picture that a caption is compared with, at most."""
_COSINE_UNITS = 10_000
_WEIGHT = 2.5


def clip_scores(cosines: Floats) -> Floats:
    """Return CLIPScore of cosines between picture and caption, each in [0, 2.5]."""
    return np.asarray(_WEIGHT * np.maximum(cosines, 0.0))


def ref_clip_scores(cosines: Floats, references: Floats) -> Floats:
    """Return RefCLIPScore, each in [0, 2.5]: the harmonic mean of CLIPScore and of the nearest reference.

    `references` are the largest cosines between caption and reference captions. Where both are at most 0 the mean is 0.
    """
    scores, nearest = clip_scores(cosines), np.maximum(references, 0.0)
    total = scores + nearest
    return np.divide(2 * scores * nearest, total, out=np.zeros_like(total), where=total > 0)


def reference_places(uids: pa.Array, captions: pa.Array, ranks: Ints) -> tuple[Ints, Ints]:
    """Return the places of candidates, and of a reference of each: the texts that its picture had, never itself.

    ranks: 0 of the original caption of a pair, 1 of those of its duplicates, 2 of what captioners made. Of more texts
    than REFERENCES the original and the first of the others, by hash.
    """
    pairs = uids.dictionary_encode().indices.to_numpy().astype(np.int64)
    originals = np.flatnonzero(ranks < 2)
    uids_and_texts = [column.take(pa.array(originals)).to_pylist() for column in (uids, captions)]
    drawn = draws(seed=0, step="references", uids=uids_and_texts[0], entries=uids_and_texts[1])
    originals = originals[np.lexsort((drawn, ranks[originals], pairs[originals]))]
    of_originals = pairs[originals]
    starts = np.searchsorted(of_originals, pairs)
    counts = np.minimum(np.searchsorted(of_originals, pairs, side="right") - starts, REFERENCES)
    candidates = np.repeat(np.arange(len(uids)), counts)
    numbers = np.arange(len(candidates)) - np.repeat(np.cumsum(counts) - counts, counts)
    references = originals[starts[candidates] + numbers]
    is_other = candidates != references
    return candidates[is_other], references[is_other]


def count_rewritten(chosen: pa.Table) -> pa.Table:
    """Return a row for each origin with chosen captions: origin, pairs, and sums of cosines before and after.

    `chosen` has caption_origin, scores of both captions (caption_score, original_score), those of a second encoder
    (_judged) and RefCLIPScores (_ref), null where they are not known. Sums are of max(cosine, 0) in
    units of 1e-4, to which all are stored, and null where none is known; those of RefCLIPScores are of the pairs of
    which both captions have one, `referenced`.
    """
    origins = chosen["caption_origin"].combine_chunks()
    rows = []
    for origin in sorted(pc.unique(origins).to_pylist()):
        of_origin = chosen.filter(pc.equal(origins, origin))
        valid = of_origin.filter(pc.and_(pc.is_valid(of_origin["original_ref"]), pc.is_valid(of_origin["caption_ref"])))
        sums = {name: _sum((valid if name in _REFERENCED else of_origin)[name]) for name in _SUMS}
        rows.append({"origin": origin, "pairs": of_origin.num_rows, "referenced": valid.num_rows, **sums})
    return pa.Table.from_pylist(rows, REWRITTEN)


_REFERENCED = ("original_ref", "caption_ref")
_SUMS = ("original_score", "caption_score", "original_judged", "caption_judged", *_REFERENCED)
REWRITTEN = pa.schema([("origin", pa.string()), *((name, pa.int64()) for name in ("pairs", "referenced", *_SUMS))])


def compare_captions(parts: Sequence[pa.Table]) -> dict[str, float | int | None]:
    """Return mean CLIPScores of original and chosen captions, over pairs with another caption than before; 4 digits.

    `parts` are of `count_rewritten`; rewritten is the number of these pairs; the means are None where there are none.
    judged_before and judged_after are the same by the second encoder, where there is one. refclipscore_before and
    refclipscore_after are mean RefCLIPScores of `referenced` pairs, where there are such.
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
    if referenced := pc.sum(rows["referenced"]).as_py():
        means["referenced"] = referenced
        for note, name in (("refclipscore_before", "original_ref"), ("refclipscore_after", "caption_ref")):
            means[note] = round(pc.sum(rows[name]).as_py() / _COSINE_UNITS / referenced, 4)
    return {"rewritten": pairs, **means}


def share_by_origin(parts: Sequence[pa.Table]) -> dict[str, int]:
    """Return how many pairs have a caption of each origin, by name."""
    rows = pa.concat_tables(parts).group_by("origin", use_threads=False).aggregate([("pairs", "sum")])
    return dict(sorted(zip(rows["origin"].to_pylist(), rows["pairs_sum"].to_pylist(), strict=True)))


def _sum(column: pa.ChunkedArray) -> int | None:
    values = column.drop_null().to_numpy()
    return int(np.maximum(np.rint(values * _COSINE_UNITS), 0).sum()) if len(values) else None
