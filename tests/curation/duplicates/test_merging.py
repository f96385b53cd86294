import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.decisions import Decisions
from evenly.curation.duplicates.merging import CAPTIONS, captions_taken_over, last_survivors


def taken_over(pairs, held=()):
    """`pairs` are (uid, image_id, caption, into), `held` rows of CAPTIONS."""
    columns = zip(*pairs, strict=True)
    batch = pa.table(dict(zip(("uid", "image_id", "caption"), columns, strict=False)))
    into = [pair[3] for pair in pairs]
    decisions = Decisions.of(reason=["twin" if uid else "" for uid in into], into=into)
    before = pa.Table.from_pylist([dict(zip(CAPTIONS.names, row, strict=True)) for row in held], CAPTIONS)
    return [tuple(row.values()) for row in captions_taken_over(batch, decisions, before).to_pylist()]


def test_a_survivor_takes_over_the_caption_of_each_pair_merged_into_it():
    pairs = [("a", "x", "a fox", None), ("b", "y", "red fox", "a"), ("c", "z", "a fox", "a"), ("d", "w", "dog", None)]
    assert taken_over(pairs) == [("a", "x", "red fox", "b"), ("a", "x", "a fox", "c")]


def test_captions_taken_over_before_move_on_with_a_pair_that_is_merged():
    pairs = [("a", "x", "a fox", None), ("b", "y", "red fox", "a"), ("d", "w", "dog", None)]
    held = [("b", "y", "old fox", "k"), ("b", "y", "far fox", "l"), ("d", "w", "cat", "m")]
    assert taken_over(pairs, held) == [
        ("a", "x", "red fox", "b"),
        ("a", "x", "old fox", "k"),
        ("a", "x", "far fox", "l"),
    ]


def test_without_merges_nothing_is_taken_over():
    assert taken_over([("a", "x", "a fox", None)], [("a", "x", "old", "k")]) == []


@given(st.lists(st.integers(0, 30), unique=True, max_size=20), st.data())
def test_a_merged_pair_ends_where_its_chain_ends(uids, data):
    into = {uid: data.draw(st.integers(uid + 1, 40)) for uid in uids}  # upwards, so that no chain runs in a circle

    def end(uid):
        return end(into[uid]) if uid in into else uid

    sides = {"uid": into.keys(), "into": into.values()}
    merged = pa.table({name: pa.array([str(uid) for uid in side], pa.string()) for name, side in sides.items()})
    assert last_survivors(merged).to_pylist() == [str(end(uid)) for uid in uids]
