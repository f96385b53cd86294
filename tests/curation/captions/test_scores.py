import numpy as np
import pyarrow as pa

from evenly.curation.captions.choice import ChoiceRule, choose_captions
from evenly.curation.captions.scores import (
    clip_scores,
    compare_captions,
    count_rewritten,
    share_by_origin,
)
from tests.curation.captions.test_choice import candidates_of


def compared(*rows, **columns):
    """Of all pairs at once; in two parts it must be the same."""
    table = candidates_of(*rows, **columns)
    uids = pa.array(sorted({row[0] for row in rows}))
    whole, *parts = (
        count_rewritten(choose_captions(some, table, ChoiceRule(margin=0.1)).chosen)
        for some in (uids, uids.slice(0, 1), uids.slice(1))
    )
    assert compare_captions(parts) == compare_captions([whole])
    assert share_by_origin(parts) == share_by_origin([whole])
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


def test_a_second_encoder_says_what_it_thinks_of_what_was_chosen():
    rows = [("a", "a dog", "original", 0.2), ("a", "dog", "seen", 0.4), ("b", "a cat", "original", 0.3)]
    found = compared(*rows, judged=[0.4, 0.2, 0.3])
    assert (found["judged_before"], found["judged_after"]) == (1.0, 0.5)
