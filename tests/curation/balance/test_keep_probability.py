import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.curation.balance import kernels
from evenly.curation.balance.matched_pairs import MatchedPairs
from evenly.curation.balance.thresholds import UNIT, PreselectionLimits, expected_units, stay_chances


def pairs_of(rows, n_entries):
    uids, concepts = [f"{i:032x}" for i in range(len(rows))], [str(e) for e in range(n_entries)]
    return MatchedPairs.of(uids, pa.array(rows, pa.list_(pa.int32())), concepts)


def test_chance_to_stay_is_that_any_entry_fires_and_not_the_sum():
    pairs = pairs_of([[0, 1], [1], [], [0, 2]], 3)
    found = stay_chances(pairs, np.array([[0.9, 0.2, 0.9]]))
    assert found.tolist() == pytest.approx([1 - 0.1 * 0.8, 0.2, 0, 0.99])  # their notebook prints min(0.9 + 0.9, 1)


def test_over_two_phases_a_pair_stays_by_what_it_matched_then_or_by_what_it_matches_since():
    pairs = pairs_of([[0, 1], [0], [1]], 2)
    earlier = PreselectionLimits(chances=np.array([0.6, 0.6, 0.6]), limits=np.array([0.6, np.inf, 0.6, np.inf]))
    found = stay_chances(pairs, np.array([[0.3, 0.5]]), earlier)
    assert found.tolist() == pytest.approx([0.6 * (1 - (1 - 0.3 / 0.6) * 0.5), 0.3, 0.6 * 0.5])
    capped = stay_chances(pairs, np.array([[0.9, 0.5]]), earlier)
    assert capped.tolist() == pytest.approx([0.6, 0.6, 0.3])


probabilities = st.floats(1e-6, 1)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=12),
    st.lists(probabilities, min_size=6, max_size=6),
    st.lists(st.tuples(probabilities, st.one_of(probabilities, st.just(math.inf))), min_size=72, max_size=72),
    st.booleans(),
)
def test_the_compiled_loop_gives_what_python_gives_to_the_bit(rows, p, before, two_phases):
    pairs = pairs_of([sorted(ids) for ids in rows], 6)
    earlier = None
    if two_phases:
        limits = np.array([limit for _, limit in before])[: len(pairs.numbers)]
        earlier = PreselectionLimits(chances=np.array([chance for chance, _ in before])[: len(pairs)], limits=limits)
    table = np.array([p])
    slow = stay_chances(pairs, table, earlier)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "COMPILED_FROM", 0)
        assert stay_chances(pairs, table, earlier).tolist() == slow.tolist()
    assert ((slow >= 0) & (slow <= 1)).all()
    if earlier is not None:
        assert (slow <= earlier.chances).all()


def test_expected_pairs_are_told_per_language_and_count_what_is_given_by_the_preselection():
    uids, concepts = ["a", "b", "c"], ["dog"]
    matches = pa.array([[0], [0], [0]], pa.list_(pa.int32()))
    pairs = MatchedPairs.of(uids, matches, concepts, language=pa.array(["en", "de", "en"]))
    found = expected_units(pairs, np.array([[0.25], [0.5]])) * UNIT
    assert found.tolist() == [0.25, 1.0]
    earlier = PreselectionLimits(chances=np.full(3, 0.5), limits=np.full(3, 0.5))
    assert (expected_units(pairs, np.array([[0.25], [0.5]]), earlier) * UNIT).tolist() == [0.5, 2.0]
