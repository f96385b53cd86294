"""Decisions of rows: those of the full balancing, whose tables say why."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.curation.balance import kernels
from evenly.curation.balance.balancing import balance, decide_rows
from evenly.curation.balance.matched_pairs import MatchedPairs, count_matches
from evenly.curation.balance.thresholds import UNIT, entry_probabilities

ENTRIES = ["a", "b c", "d", "é", "never"]
MATCHES = st.lists(st.sets(st.integers(0, 3)).map(sorted), max_size=40)


@pytest.mark.parametrize("compiled_from", [0, 10**9], ids=["compiled", "interpreted"])
@pytest.mark.parametrize("law", ["v1", "v2"])
@given(matches=MATCHES, rule=st.tuples(st.floats(0.5, 30), st.integers(0, 9)), two=st.booleans())
@settings(deadline=None)
def test_they_are_those_of_the_full_balancing(law, compiled_from, matches, rule, two):
    n, (t, seed) = len(matches), rule
    language = pa.array([["de", "en"][row % 2] for row in range(n)], pa.string()) if two and n else None
    lists = pa.array(matches, pa.list_(pa.int32()))
    pairs = MatchedPairs.of([f"{row:032x}" for row in range(n)], lists, ENTRIES, language=language)
    counts, thresholds = count_matches(pairs), np.full(len(pairs.languages), t)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "COMPILED_FROM", compiled_from)
        found = decide_rows(pairs, entry_probabilities(counts, thresholds), law=law, seed=seed)
    full = balance(pairs, counts=counts, thresholds=thresholds, law=law, seed=seed)
    assert found.chances.tolist() == full.decisions.value.to_pylist()
    assert found.kept.tolist() == full.decisions.kept.to_pylist()
    assert (found.units(pairs) * UNIT).tolist() == full.expected.tolist()
    told = {row["uid"]: row for row in full.draws.to_pylist()}
    for row, uid in enumerate(pairs.uids.to_pylist()):
        entry, drawn = found.deciding_entries(pairs)[row], found.deciding_draws[row]
        of_row = told.get(uid)
        assert entry == (-1 if of_row is None or of_row["deciding"] is None else of_row["deciding"])
        if entry < 0 or not of_row["draws"]:
            assert np.isnan(drawn)
        else:
            at = of_row["entries"].index(entry) if law == "v1" else 0
            assert drawn == of_row["draws"][at]
