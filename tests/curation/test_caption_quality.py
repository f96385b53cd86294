import numpy as np
import pyarrow as pa

from evenly.curation.recaption import CANDIDATES, choose_captions, clip_scores, compare_captions, count_rewritten


def compared(*rows):
    """Of all pairs at once; in two parts it must be the same."""
    table = pa.table([pa.array(column) for column in zip(*rows, strict=True)], schema=CANDIDATES)
    uids = pa.array(sorted({row[0] for row in rows}))
    whole, *parts = (
        count_rewritten(choose_captions(some, table, margin=0.1)) for some in (uids, uids.slice(0, 1), uids.slice(1))
    )
    assert compare_captions(parts) == compare_captions([whole])
    return compare_captions([whole])


def test_clipscore_is_two_and_a_half_times_the_cosine_and_never_negative():
    assert clip_scores(np.array([-0.2, 0.0, 0.3, 1.0])).tolist() == [0, 0, 0.75, 2.5]


def test_captions_are_compared_where_they_were_rewritten():
    found = compared(
        ("a", "a dog", "original", 0.2),
        ("a", "dog", "retrieved", 0.4),
        ("b", "click here", "original", -0.2),
        ("b", "cat", "twin", 0.2),
        ("c", "a tree", "original", 0.3),
        ("c", "tree", "retrieved", 0.35),
    )
    assert found == {"rewritten": 2, "clipscore_before": 0.25, "clipscore_after": 0.75}


def test_nothing_rewritten_has_no_means():
    found = compared(("a", "a dog", "original", 0.2))
    assert found == {"rewritten": 0, "clipscore_before": None, "clipscore_after": None}
