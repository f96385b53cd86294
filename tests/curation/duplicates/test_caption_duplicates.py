import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.duplicates import lsh, merging
from evenly.curation.duplicates.caption_duplicates import (
    CaptionTwins,
    ComparedCaptions,
    ShingleSets,
    deduplicate_captions,
    folded_caption,
    near_sets,
    plan_bands,
)
from evenly.curation.duplicates.lsh import Signatures, candidate_pairs, word_masks
from evenly.curation.errors import RuleError

POOL = CaptionTwins(min_jaccard=0.7, scope="pool")


def batch_of(captions, images=None):
    n = len(captions)
    columns = {"uid": [f"{i:03}" for i in range(n)], "caption": pa.array(captions, pa.string())}
    images = pa.array(images or [str(i) for i in range(n)], pa.string())
    return pa.table(columns | {"image_id": images, "width": [1] * n, "height": [1] * n})


def into_of(captions, rule, images=None, **options):
    batch = batch_of(captions, images)
    found = deduplicate_captions(batch, rule, **options)
    pairs = zip(batch["uid"].to_pylist(), found.decisions.into.to_pylist(), strict=True)
    return {uid: into for uid, into in pairs if into is not None}


def jaccard(one, other):
    """The definition, on Python's sets of strings."""
    sets = [{text[i : i + 3] for i in range(len(text) - 2)} for text in (f" {one} ", f" {other} ")]
    return round(len(sets[0] & sets[1]) / len(sets[0] | sets[1]), 4)


def test_nearly_equal_captions_merge_and_name_their_index():
    captions = ["a red fox in the snow", "a red fox in the  SNOW!", "two dogs on a beach"]
    found = deduplicate_captions(batch_of(captions), POOL)
    assert found.decisions.reason.to_pylist() == ["", "near_caption", ""]
    assert found.decisions.value.to_pylist() == [None, jaccard("a red fox in the snow", "a red fox in the snow!"), None]
    assert found.edges["kind"].to_pylist() == ["caption"]


def test_captions_that_differ_in_case_width_and_spaces_are_equal():
    found = deduplicate_captions(batch_of(["Straße 1", " STRASSE\t\uff11 "]), CaptionTwins(min_jaccard=1, scope="pool"))
    assert found.decisions.value.to_pylist() == [None, 1.0]


def test_within_an_image_only_pairs_of_one_picture_merge_and_none_is_missed():
    captions = ["a red fox", "a red fox!", "a red fox", "a red fox."]
    rule = CaptionTwins(min_jaccard=0.6)
    assert into_of(captions, rule, images=["x", "x", "y", "y"]) == {"001": "000", "003": "002"}
    assert into_of(captions, rule, images=["x", "x", None, None]) == {"001": "000"}
    assert deduplicate_captions(batch_of(captions), rule).notes == {"search": "exact"}


def test_captions_without_letters_have_no_twins():
    assert into_of([None, None, "", " ", "\n"], POOL) == {}
    assert into_of(["a", "a", "é"], POOL) == {"001": "000"}
    assert into_of([], POOL) == {}


LETTERS = st.text(st.sampled_from("ab c😀é"), max_size=9)


@given(st.lists(LETTERS, min_size=1, max_size=8))
def test_the_index_is_that_of_sets_of_strings(texts):
    texts = [folded_caption(text) for text in texts]
    left, right = (
        np.array(side, np.int64) for side in zip(*itertools.product(range(len(texts)), repeat=2), strict=True)
    )
    wanted = [jaccard(texts[i], texts[j]) if texts[i] and texts[j] else None for i, j in zip(left, right, strict=True)]
    sets = ShingleSets.of(texts)
    for least in (0.0, 0.3, 0.8):
        for found, want in zip(sets.jaccard(left, right, least=least), wanted, strict=True):
            assert want is None or found == want or (found == 0 and want < least)


@pytest.mark.parametrize("min_jaccard", [0.3, 0.5, 0.8, 0.95, 1.0])
def test_bands_are_planned_for_a_recall_of_995_in_1000(min_jaccard):
    b, r, recall = plan_bands(min_jaccard)
    assert recall == pytest.approx(1 - (1 - min_jaccard**r) ** b)
    assert recall >= 0.995
    assert b * r <= 128


def test_bands_find_what_they_are_planned_to_find():
    rng = np.random.default_rng(1)
    texts = ["".join(map(chr, rng.integers(0x4E00, 0x9000, 60))) for _ in range(400)]
    near = [text[:53] + "".join(map(chr, rng.integers(0x9000, 0x9F00, 7))) for text in texts]
    both = ShingleSets.of(texts + near)
    index = both.jaccard(np.arange(400), np.arange(400) + 400)
    b, r = 8, 4
    bands = both.bands((b, r), key="k")
    agree = (bands[:400] == bands[400:]).any(axis=1).mean()
    assert agree == pytest.approx(1 - (1 - index.mean() ** r) ** b, abs=0.03)


def test_ten_thousand_equal_captions_are_one_component_of_as_many_edges():
    found = deduplicate_captions(batch_of(["photo"] * 10_000), POOL)
    assert found.edges.num_rows == 9_999
    assert found.decisions.kept.to_pylist().count(True) == 1


@given(st.lists(LETTERS, max_size=8), st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_sets_that_are_near_enough_are_candidates(texts, min_jaccard):
    sets = ShingleSets.of(texts)
    near = near_sets(sets.folds(), sets.sizes, min_jaccard)
    all_agree = np.zeros((len(texts), 1), np.uint64)
    pairs = [
        pair for part in candidate_pairs(all_agree, word_masks(1), signatures=near) for pair in zip(*part, strict=True)
    ]
    for i, j in itertools.combinations(range(len(texts)), 2):
        index = sets.jaccard(np.array([i]), np.array([j]))[0]
        assert (i, j) in pairs or index < min_jaccard


def templates(n):
    """Captions of which most are duplicates of most: long templates with one gap or two."""
    rng = np.random.default_rng(3)
    words = ["".join(rng.choice(list("abcdefghij"), rng.integers(2, 9))) for _ in range(40)]
    frames = [" ".join(rng.choice(words, 9)) for _ in range(3)]
    return [f"{rng.choice(words)} {rng.choice(frames)} {rng.choice(words[:9])}" for _ in range(n)]


def test_pairs_that_are_skipped_change_no_edge(monkeypatch):
    batch, measured = batch_of(templates(400)), []
    accepted = ComparedCaptions.accepted

    def counted(captions, left, right):
        measured[-1] += len(left)
        return accepted(captions, left, right)

    def searched():
        measured.append(0)
        return deduplicate_captions(batch, POOL)

    none = np.empty(0, np.int64)
    monkeypatch.setattr(ComparedCaptions, "all_duplicates", lambda *_: (none, none))  # of the recall
    monkeypatch.setattr(ComparedCaptions, "accepted", counted)
    monkeypatch.setattr(lsh, "CHUNK", 500)
    monkeypatch.setattr(merging, "_HELD", 100)
    skipping = searched()
    monkeypatch.setattr(Signatures, "skip_weaker", lambda *_: None)
    wanted = searched()
    assert skipping.edges.equals(wanted.edges)
    assert skipping.edges.num_rows > 300
    assert skipping.notes == wanted.notes
    assert measured[0] < 0.7 * measured[1]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (lambda: CaptionTwins(min_jaccard=0.2), "0.3 to 1; got 0.2"),
        (lambda: CaptionTwins(scope="web"), "image or pool; got 'web'"),
    ],
)
def test_impossible_rule_is_refused(rule, text):
    with pytest.raises(RuleError, match=text):
        rule()
