import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.curation.duplicates.caption_duplicates import CaptionTwins, deduplicate_captions
from evenly.curation.duplicates.colours import COLOUR_BYTES
from evenly.curation.duplicates.feature_duplicates import Semantic, deduplicate_semantic
from evenly.curation.duplicates.image_duplicates import (
    Perceptual,
    deduplicate_exact,
    deduplicate_perceptual,
)
from evenly.curation.duplicates.record_linkage import Linked, deduplicate_linked
from evenly.curation.errors import ColumnsError, RuleError

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


def brightened(hashes):
    """Two pictures alike, one by a factor of 0.85, and a third that is another in one corner."""
    one = np.random.default_rng(0).integers(0, 256, COLOUR_BYTES)
    other = one.copy()
    other[:30] = other[:30] * 0.5
    grids = [one, np.rint(one * 0.85), other]
    batch = batch_of(list(zip("abc", hashes, strict=True)))
    colour = colours_of([grid.astype(np.uint8).tobytes() for grid in grids])
    return batch.set_column(batch.schema.get_field_index("colour"), "colour", colour)


def test_a_picture_whose_brightness_changed_as_a_whole_merges_and_the_edge_says_so():
    batch = brightened([0, 0b111, 0])
    found = deduplicate_perceptual(batch, Perceptual())
    assert into_of(found, batch) == {"b": "a"}
    (edge,) = found.edges.to_pylist()
    assert edge.pop("colour") <= 1
    assert edge == {"uid_a": "a", "uid_b": "b", "kind": "perceptual_brightness", "distance": 3}
    assert found.edges.schema == deduplicate_perceptual(batch_of([("a", 0), ("b", 0)]), Perceptual()).edges.schema


@pytest.mark.parametrize(
    ("hashes", "rule"),
    [
        ([0, 0b11111, 0], Perceptual()),
        ([0, 0b111, 0], Perceptual(max_distance=2)),
        ([0, 0, 0], Perceptual(max_shifted=None)),
    ],
)
def test_a_change_of_brightness_needs_near_hashes_and_its_rule(hashes, rule):
    batch = brightened(hashes)
    assert into_of(deduplicate_perceptual(batch, rule), batch) == {}


def test_links_without_a_change_of_colour_hold_a_component_together_before_links_with_one():
    batch = brightened([0, 0, 0b11111])
    near = np.array(batch["colour"][0].as_py(), np.uint8) // 16 * 16
    batch = pa.concat_tables([batch, batch_of([("d", 0b1)], colour=colours_of([near.tobytes()]))])
    found = deduplicate_perceptual(batch.combine_chunks(), Perceptual())
    edges = [(edge["uid_a"], edge["uid_b"], edge["kind"]) for edge in found.edges.to_pylist()]
    assert edges == [("a", "b", "perceptual_brightness"), ("a", "d", "perceptual")]


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


SEARCHES = {
    "exact": lambda batch, _: deduplicate_exact(batch),
    "perceptual": lambda batch, _: deduplicate_perceptual(batch, Perceptual(max_distance=1)),
    "semantic": lambda batch, rows: deduplicate_semantic(batch, rows, Semantic(min_cosine=0.999, tables=8)),
    "linked": lambda batch, rows: deduplicate_linked(batch, rows, rows, Linked(min_cosine=0.999, tables=8)),
    "captions": lambda batch, _: deduplicate_captions(batch, CaptionTwins(scope="pool")),
}
every_search = pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)


def pictures_of(pictures):
    """A batch of pictures drawn by hypothesis, and their features."""
    batch = batch_of([(f"{i:02}", value, area) for i, (value, area, _) in enumerate(pictures)])
    captions = [f"a picture with the number {value} of the kind {angle}" for value, _, angle in pictures]
    return batch.append_column("caption", pa.array(captions, pa.string())), unit([[1, angle] for *_, angle in pictures])


@every_search
@settings(deadline=None, max_examples=40)
@given(pictures=PICTURES, chance=st.randoms(use_true_random=False))
def test_row_order_changes_nothing(search, pictures, chance):
    batch, features = pictures_of(pictures)
    order = list(range(len(pictures)))
    chance.shuffle(order)
    found, again = search(batch, features), search(batch.take(order), features[order])
    assert again.decisions.to_table(batch["uid"].take(order)).sort_by("uid") == found.decisions.to_table(batch["uid"])
    assert again.edges == found.edges


@every_search
@settings(deadline=None, max_examples=40)
@given(pictures=PICTURES, picture=PICTURES.map(lambda pictures: pictures[0]), place=st.integers(0, 12))
def test_an_added_row_changes_only_its_own_component(search, pictures, picture, place):
    pictures.insert(place, picture)
    place = min(place, len(pictures) - 1)
    batch, features = pictures_of(pictures)
    others = [row for row in range(len(pictures)) if row != place]
    before, after = search(batch.take(others), features[others]), search(batch, features)
    own = {batch["uid"][place].as_py()}
    edges = [(edge["uid_a"], edge["uid_b"]) for edge in after.edges.to_pylist()]
    for _ in edges:
        own |= {uid for edge in edges if own & set(edge) for uid in edge}
    old, new = rows_of(before, batch.take(others)), rows_of(after, batch)
    assert [row for row in old if row[0] not in own] == [row for row in new if row[0] not in own]
    kept = [edge for edge in after.edges.to_pylist() if edge["uid_a"] not in own]
    assert [edge for edge in before.edges.to_pylist() if edge["uid_a"] not in own] == kept


def rows_of(found, batch):
    return [tuple(row.values()) for row in found.decisions.to_table(batch["uid"]).to_pylist()]


@settings(deadline=None)
@given(PICTURES, st.integers(0, 4))
def test_perceptual_components_are_those_of_comparing_all_with_all(pictures, max_distance):
    batch, _ = pictures_of(pictures)
    found = deduplicate_perceptual(batch, Perceptual(max_distance=max_distance))
    names = {i: i for i in range(len(pictures))}
    for i, (one, _, _) in enumerate(pictures):
        for j, (other, _, _) in enumerate(pictures):
            if (one ^ other).bit_count() <= max_distance:
                names = {row: names[i] if name == names[j] else name for row, name in names.items()}
    into = [uid or own for uid, own in zip(found.decisions.into.to_pylist(), batch["uid"].to_pylist(), strict=True)]
    assert len(set(into)) == len(set(names.values()))
    assert len(set(zip(into, names.values(), strict=True))) == len(set(into))


def test_ten_thousand_equal_pictures_are_one_component_of_as_many_edges():
    batch = batch_of([(f"{i:05}", 5) for i in range(10_000)])
    rows = np.ones((10_000, 1), np.float16)
    for found in (deduplicate_perceptual(batch, Perceptual()), deduplicate_semantic(batch, rows, Semantic())):
        assert found.edges.num_rows == 9_999
        assert found.decisions.kept.to_pylist() == [True] + [False] * 9_999


def test_thousands_of_nearly_equal_pictures_are_one_component_of_as_many_edges():
    n = np.arange(3000)
    grids = np.full((len(n), COLOUR_BYTES), 128, np.uint8)
    grids[n, n % COLOUR_BYTES] += (n // COLOUR_BYTES).astype(np.uint8)
    colour = pa.FixedSizeListArray.from_arrays(pa.array(grids.reshape(-1)), COLOUR_BYTES)
    found = deduplicate_perceptual(batch_of([(f"{i:05}", i % 2) for i in n.tolist()], colour=colour), Perceptual())
    assert found.edges.num_rows == len(n) - 1
    assert found.decisions.kept.to_pylist().count(True) == 1


@pytest.mark.parametrize("bad", [[np.nan, 1], [np.inf, 1], [0, 0]])
def test_features_without_a_direction_have_no_twins(bad):
    rows = np.array([bad, bad, [1, 0], [1, 0]], np.float16)
    batch = batch_of([(uid, 1) for uid in "abcd"])
    assert into_of(deduplicate_semantic(batch, rows, Semantic()), batch) == {"d": "c"}


def test_a_twin_says_what_share_of_twins_was_found():
    rng = np.random.default_rng(1)
    rows = unit(rng.normal(size=(300, 32)).repeat(2, axis=0) + rng.normal(scale=0.1, size=(600, 32)))
    notes = deduplicate_semantic(batch_of([(f"{i:03}", 1) for i in range(600)]), rows, Semantic(min_cosine=0.9)).notes
    assert notes["recall"] > 0.99
    assert notes["recall_sample"]["twins"] > 250
    assert notes["search"]["expected_recall_at_threshold"] >= 0.99


def test_without_a_colour_limit_features_alone_decide():
    batch = batch_of([("a", 1), ("b", 2)], colour=colours_of([None, bytes([200]) * COLOUR_BYTES])).drop(["colour"])
    assert into_of(deduplicate_semantic(batch, unit([[1, 0], [1, 0]]), Semantic(max_colour=None)), batch) == {"b": "a"}


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
        (lambda: Perceptual(max_shifted=256), "`max_shifted` must be 0 to 255 levels; got 256"),
        (lambda: Semantic(min_cosine=0), "got 0"),
        (lambda: Semantic(max_colour=256), "got 256"),
        (lambda: Semantic(tables=0), "got 0"),
    ],
)
def test_impossible_rule_is_refused(rule, text):
    with pytest.raises(RuleError, match=text):
        rule()


def test_features_of_other_rows_are_refused():
    with pytest.raises(ColumnsError, match="features of the 1 pairs; got 2"):
        deduplicate_semantic(batch_of([("a", 1)]), unit([[1, 0], [0, 1]]), Semantic())
