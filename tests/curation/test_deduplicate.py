import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.deduplicate import (
    Perceptual,
    Semantic,
    deduplicate_exact,
    deduplicate_perceptual,
    deduplicate_semantic,
)
from curation.errors import ColumnsError, RuleError
from curation.fingerprints import COLOUR_BYTES

GREY = bytes([128]) * COLOUR_BYTES


def batch_of(rows, **columns):
    """A batch of (uid, image or hash, area) rows; every picture is `area` wide and 1 high unless given."""
    n = len(rows)
    default = {
        "uid": pa.array([row[0] for row in rows], pa.string()),
        "url": pa.array([f"http://x.test/{row[0]}" for row in rows], pa.string()),
        "image_id": pa.array([str(row[1]) for row in rows], pa.string()),
        "width": pa.array([row[2] if len(row) > 2 else 1 for row in rows], pa.int32()),
        "height": pa.array([1] * n, pa.int32()),
        "phash": pa.array([row[1] if isinstance(row[1], int) else 0 for row in rows], pa.uint64()),
        "colour": colours_of([GREY] * n),
    }
    return pa.table(default | columns)


def colours_of(grids):
    flat = np.frombuffer(b"".join(grid or bytes(COLOUR_BYTES) for grid in grids), dtype=np.uint8)
    mask = pa.array([grid is None for grid in grids], pa.bool_())
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), COLOUR_BYTES, mask=mask)


def into_of(found, batch):
    pairs = zip(batch["uid"].to_pylist(), found.decisions.into.to_pylist(), strict=True)
    return {uid: into for uid, into in pairs if into is not None}


def test_equal_bytes_merge_into_the_smallest_uid():
    batch = batch_of([("c", "x"), ("a", "x"), ("b", "y"), ("d", "x")])
    found = deduplicate_exact(batch)
    assert into_of(found, batch) == {"c": "a", "d": "a"}
    assert found.decisions.reason.to_pylist() == ["exact_duplicate", "", "", "exact_duplicate"]
    assert found.decisions.value.to_pylist() == [0, None, None, 0]
    assert found.edges.select(["uid_a", "uid_b", "kind", "distance", "colour"]).to_pylist() == [
        {"uid_a": "a", "uid_b": "c", "kind": "exact", "distance": 0.0, "colour": None},
        {"uid_a": "c", "uid_b": "d", "kind": "exact", "distance": 0.0, "colour": None},
    ]


def test_same_url_is_told_from_another_place_with_equal_bytes():
    urls = pa.array(["http://x.test/1", "http://x.test/1", "http://x.test/2"])
    found = deduplicate_exact(batch_of([("a", "x"), ("b", "x"), ("c", "x")], url=urls))
    assert found.decisions.reason.to_pylist() == ["", "same_url", "exact_duplicate"]


def test_pairs_without_picture_have_no_twins():
    batch = batch_of([("a", "x"), ("b", "x")], image_id=pa.array([None, None], pa.string()))
    assert into_of(deduplicate_exact(batch), batch) == {}
    blank = batch_of([("a", 0), ("b", 0)], phash=pa.array([None, 0], pa.uint64()))
    assert into_of(deduplicate_perceptual(blank, Perceptual()), blank) == {}
    colourless = batch_of([("a", 0), ("b", 0)], colour=colours_of([None, None]))
    assert into_of(deduplicate_perceptual(colourless, Perceptual()), colourless) == {}


@pytest.mark.parametrize(
    ("areas", "scores", "survivor"),
    [
        ([1, 2, 1], None, "b"),
        ([2, 2, 1], None, "a"),
        ([2, 2, 9], [0.1, 0.2, 0.0], "c"),
        ([2, 2, 1], [None, 0.2, 1], "b"),
    ],
)
def test_survivor_has_the_largest_picture_then_the_best_score_then_the_smallest_uid(areas, scores, survivor):
    batch = batch_of([(uid, "x", area) for uid, area in zip("abc", areas, strict=True)])
    if scores:
        batch = batch.append_column("score", pa.array(scores, pa.float64()))
    assert set(into_of(deduplicate_exact(batch), batch).values()) == {survivor}


def test_near_hashes_merge_and_name_the_bits_that_differ():
    batch = batch_of([("a", 0b0), ("b", 0b111), ("c", 0xFFFF_0000)])
    found = deduplicate_perceptual(batch, Perceptual(max_distance=3))
    assert into_of(found, batch) == {"b": "a"}
    assert found.decisions.value.to_pylist() == [None, 3.0, None]
    assert found.decisions.reason.to_pylist() == ["", "near_duplicate", ""]
    assert found.edges.to_pylist() == [{"uid_a": "a", "uid_b": "b", "kind": "perceptual", "distance": 3, "colour": 0}]


def test_equal_hashes_of_other_colours_are_no_twins():
    changed = bytearray(GREY)
    changed[300] += 21
    batch = batch_of([("a", 0), ("b", 0)], colour=colours_of([GREY, bytes(changed)]))
    assert into_of(deduplicate_perceptual(batch, Perceptual(max_colour=20)), batch) == {}
    assert into_of(deduplicate_perceptual(batch, Perceptual(max_colour=21)), batch) == {"b": "a"}


def test_a_chain_of_twins_is_one_component_with_the_direct_distance_to_the_survivor():
    batch = batch_of([("a", 0b0), ("b", 0b11), ("c", 0b1111)])
    found = deduplicate_perceptual(batch, Perceptual(max_distance=2))
    assert into_of(found, batch) == {"b": "a", "c": "a"}
    assert found.decisions.value.to_pylist() == [None, 2, 4]
    assert found.edges.num_rows == 2


def test_equal_fingerprints_give_a_chain_of_edges_not_all_pairs():
    batch = batch_of([(f"{i:03}", 5) for i in range(100)])
    found = deduplicate_perceptual(batch, Perceptual())
    assert found.edges.num_rows == 99
    assert set(into_of(found, batch).values()) == {"000"}


def unit(rows):
    rows = np.asarray(rows, dtype=np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def test_near_features_merge_and_name_their_cosine():
    batch = batch_of([("a", 1), ("b", 2), ("c", 3)])
    found = deduplicate_semantic(batch, unit([[1, 0], [1, 0.1], [0, 1]]), Semantic(min_cosine=0.99))
    assert into_of(found, batch) == {"b": "a"}
    assert found.decisions.reason.to_pylist() == ["", "semantic_duplicate", ""]
    assert found.decisions.value.to_pylist()[1] == pytest.approx(0.995, abs=1e-3)
    assert found.edges["kind"].to_pylist() == ["semantic"]


def test_near_features_of_other_colours_are_no_twins():
    batch = batch_of([("a", 1), ("b", 2)], colour=colours_of([GREY, bytes([200]) * COLOUR_BYTES]))
    assert into_of(deduplicate_semantic(batch, unit([[1, 0], [1, 0]]), Semantic()), batch) == {}


PICTURES = st.lists(
    st.tuples(st.integers(0, 7), st.integers(1, 3), st.sampled_from([0.0, 0.01, 1.0, 1.01])), min_size=1, max_size=12
)


@settings(deadline=None)
@given(PICTURES, st.randoms(use_true_random=False))
def test_row_order_changes_nothing(pictures, chance):
    rows = [(f"{i:02}", value, area) for i, (value, area, _) in enumerate(pictures)]
    features = unit([[1, angle] for _, _, angle in pictures])
    order = list(range(len(rows)))
    chance.shuffle(order)
    batch, mixed = batch_of(rows), batch_of([rows[i] for i in order])
    for search in (
        lambda b, _: deduplicate_exact(b),
        lambda b, _: deduplicate_perceptual(b, Perceptual(max_distance=1)),
        lambda b, f: deduplicate_semantic(b, f, Semantic(min_cosine=0.999)),
    ):
        found, again = search(batch, features), search(mixed, features[order])
        assert again.decisions.to_table(mixed["uid"]).sort_by("uid") == found.decisions.to_table(batch["uid"])
        assert again.edges.num_rows == found.edges.num_rows


@settings(deadline=None)
@given(PICTURES)
def test_every_row_is_kept_or_merged_into_a_kept_row(pictures):
    batch = batch_of([(f"{i:02}", value, area) for i, (value, area, _) in enumerate(pictures)])
    found = deduplicate_perceptual(batch, Perceptual(max_distance=1))
    kept = {uid for uid, keep in zip(batch["uid"].to_pylist(), found.decisions.kept.to_pylist(), strict=True) if keep}
    assert set(into_of(found, batch).values()) <= kept
    assert len(kept) + len(into_of(found, batch)) == batch.num_rows


def test_no_rows_give_no_decisions():
    batch = batch_of([])
    assert len(deduplicate_exact(batch).decisions) == 0
    assert deduplicate_perceptual(batch, Perceptual()).edges.num_rows == 0
    assert len(deduplicate_semantic(batch, np.empty((0, 4), np.float16), Semantic()).decisions) == 0


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (lambda: Perceptual(max_distance=65), "got 65"),
        (lambda: Perceptual(max_colour=-1), "got -1"),
        (lambda: Semantic(min_cosine=0), "got 0"),
        (lambda: Semantic(max_colour=256), "got 256"),
    ],
)
def test_impossible_rule_is_refused(rule, text):
    with pytest.raises(RuleError, match=text):
        rule()


def test_features_of_other_rows_are_refused():
    with pytest.raises(ColumnsError, match="features of the 1 pairs; got 2"):
        deduplicate_semantic(batch_of([("a", 1)]), unit([[1, 0], [0, 1]]), Semantic())
