import itertools

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.concepts.caption_sample import CaptionSample
from evenly.curation.concepts.name_frequency import NameCounter
from evenly.curation.errors import RuleError

NAMES = [["crane", "derrick"], ["bird"]]
CAPTIONS = [f"{what} {number}" for number in range(40) for what in ("a crane", "bird", "derrick and crane")]


def sampled(captions, *, size, cuts=(), seed=3):
    counter, sample = NameCounter(NAMES), CaptionSample(["crane", "bird"], size=size, seed=seed)
    bounds = [0, *sorted(cuts), len(captions)]
    for start, end in itertools.pairwise(bounds):
        some = pa.array(captions[start:end], pa.string())
        sample.add(some, counter.hold(some))
    return sample


def test_each_concept_gets_so_many_different_captions_with_the_first_name_they_hold():
    sample = sampled(CAPTIONS, size=10)
    rows = sample.table().to_pylist()
    assert [row["concept"] for row in rows] == [0] * 10 + [1] * 10
    assert len({(row["concept"], row["caption"]) for row in rows}) == 20
    assert {row["name"] for row in rows if row["concept"] == 0} == {0}
    assert {row["name"] for row in rows if row["concept"] == 1} == {2}
    assert sample.complete == [False, False]


@given(order=st.permutations(range(30)), cuts=st.lists(st.integers(0, 30), max_size=4), size=st.integers(0, 12))
def test_the_sample_depends_neither_on_order_nor_on_cuts_and_counts_rows_exactly(order, cuts, size):
    captions = [f"a crane, bird {number % 11}" for number in range(30)]
    whole = sampled(captions, size=size)
    other = sampled([captions[at] for at in order], size=size, cuts=cuts)
    assert other.table().equals(whole.table())
    assert all(row["rows"] == captions.count(row["caption"]) for row in whole.table().to_pylist())
    assert whole.complete == other.complete == [size >= 11] * 2


def test_long_captions_are_counted_and_not_drawn():
    sample = sampled(["crane " * 101, "crane " * 100, "crane " + "x" * 2_000, None, "bird"], size=5)
    assert [row["caption"] for row in sample.table().to_pylist()] == ["crane " * 100, "bird"]
    assert (sample.too_long, sample.complete) == ([2, 0], [True, True])


def test_another_seed_draws_others_and_the_smaller_sample_is_part_of_the_larger():
    def captions(**options):
        return [row["caption"] for row in sampled(CAPTIONS, **options).table().to_pylist() if row["concept"] == 0]

    assert captions(size=5) == captions(size=20)[:5]
    assert captions(size=5) != captions(size=5, seed=4)
    with pytest.raises(RuleError, match="`size` must be at least 0; got -1"):
        sampled([], size=-1)
