import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.captions import scores as scores_module
from evenly.curation.captions.choice import ChoiceRule, choose_captions
from evenly.curation.captions.scores import (
    clip_scores,
    compare_captions,
    count_rewritten,
    ref_clip_scores,
    reference_places,
    share_by_origin,
)
from tests.curation.captions.test_choice import candidates_of

COSINES = st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1)
TEXTS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 30)), max_size=40, unique=True)


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


@given(COSINES)
def test_refclipscore_lies_between_its_two_parts_and_is_never_divided_by_zero(pairs):
    cosines, references = (np.array(values) for values in zip(*pairs, strict=True))
    scores = ref_clip_scores(cosines, references)
    low = np.minimum(clip_scores(cosines), np.maximum(references, 0))
    high = np.maximum(clip_scores(cosines), np.maximum(references, 0))
    assert np.isfinite(scores).all()
    assert (scores <= high + 1e-12).all()
    assert ((scores >= low - 1e-12) | (low == 0)).all()


@given(TEXTS)
def test_references_are_the_other_texts_that_the_picture_had(rows):
    uids, captions = (
        pa.array([row[0] for row in rows], pa.string()),
        pa.array([str(row[2]) for row in rows], pa.string()),
    )
    ranks = np.array([row[1] for row in rows], np.int64)
    candidates, references = reference_places(uids, captions, ranks)
    expected = {
        (place, other)
        for place, row in enumerate(rows)
        for other, text in enumerate(rows)
        if text[0] == row[0] and text[1] < 2 and place != other
    }
    assert len(candidates) == len(expected)
    assert set(zip(candidates.tolist(), references.tolist(), strict=True)) == expected


def test_of_many_texts_the_original_and_some_by_hash_are_references(monkeypatch):
    monkeypatch.setattr(scores_module, "REFERENCES", 3)
    captions = pa.array([f"text {n}" for n in range(20)])
    ranks = np.array([*[1] * 9, 0, *[1] * 9, 2])
    candidates, references = reference_places(pa.array(["a"] * 20), captions, ranks)
    (seen,) = {tuple(sorted(references[candidates == place])) for place in (11, 19) if place not in references}
    assert len(seen) == 3
    assert 9 in seen
    assert np.bincount(candidates).tolist() == [3 - (place in seen) for place in range(20)]
    turned = reference_places(pa.array(["a"] * 20), captions.take(pa.array(range(19, -1, -1))), ranks[::-1])
    assert {19 - place for place in turned[1].tolist()} == set(references.tolist())


def test_refclipscores_before_and_after_are_of_pairs_of_which_both_captions_have_references():
    rows = [("a", "a dog", "original", 0.2), ("a", "dog", "seen", 0.4)]
    rows += [("b", "a cat", "original", 0.2), ("b", "cat", "seen", 0.4)]
    notes = compared(*rows, ref_clip_score=[0.5, 0.75, None, 1.0])
    assert (notes["referenced"], notes["refclipscore_before"], notes["refclipscore_after"]) == (1, 0.5, 0.75)
    assert "referenced" not in compared(*rows)
