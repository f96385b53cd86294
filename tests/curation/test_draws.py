import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.draws import draw, draws
from curation.errors import ColumnsError


def test_known_draw_never_changes():
    assert draw(seed=7, step="balance", uid="00ff", entry="dog") == 0.6149202389503303


@given(st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), max_size=20), st.integers())
def test_many_draws_equal_single_draws(rows, seed):
    uids, entries = [row[0] for row in rows], [row[1] for row in rows]
    many = draws(seed=seed, step="s", uids=uids, entries=entries)
    assert many.tolist() == [draw(seed=seed, step="s", uid=u, entry=e) for u, e in rows]


def test_draws_are_uniform_and_uncorrelated_between_entries():
    uids = [f"{i:032x}" for i in range(20_000)]
    first = draws(seed=1, step="balance", uids=uids, entries=["dog"] * len(uids))
    second = draws(seed=1, step="balance", uids=uids, entries=["cat"] * len(uids))
    assert ((first >= 0) & (first < 1)).all()
    counts, _ = np.histogram(first, bins=20, range=(0, 1))
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # chi-square with 19 degrees of freedom, p = 0.001
    assert abs(np.corrcoef(first, second)[0, 1]) < 3.3 / np.sqrt(len(uids))


def test_each_field_changes_the_draw():
    fields = {"seed": 1, "step": "balance", "uid": "aa", "entry": "dog"}
    changed = [fields | other for other in ({"seed": 2}, {"step": "b"}, {"uid": "ab"}, {"entry": "cat"})]
    assert len({draw(**each) for each in [fields, *changed]}) == 5


def test_unequal_lengths_are_refused():
    with pytest.raises(ColumnsError, match="equally long; got 1 and 2"):
        draws(seed=1, step="s", uids=["a"], entries=["b", "c"])
