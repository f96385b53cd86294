import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evenly.curation import draws as drawing
from evenly.curation.draws import draw, draws, draws_at
from evenly.curation.errors import ColumnsError

TEXTS = st.one_of(st.text(max_size=6), st.text(max_size=300), st.sampled_from(["é", "x" * 64, "犬" * 30, "\0", ""]))


def test_known_draw_never_changes():
    assert draw(seed=7, step="balance", uid="00ff", entry="dog") == 0.6149202389503303


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), max_size=20), st.integers())
def test_many_draws_equal_single_draws(rows, seed):
    uids, entries = [row[0] for row in rows], [row[1] for row in rows]
    many = draws(seed=seed, step="s", uids=uids, entries=entries)
    assert many.tolist() == [draw(seed=seed, step="s", uid=u, entry=e) for u, e in rows]


@settings(deadline=None, max_examples=150)
@given(
    st.tuples(st.lists(TEXTS, min_size=1, max_size=6), st.lists(TEXTS, min_size=1, max_size=6)),
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=80),
    st.integers(),
    TEXTS,
    st.sampled_from([pa.string(), pa.large_string()]),
)
@example((["u" * 32], ["e" * n for n in range(50, 62)]), [(0, n) for n in range(12)], 7, "balance", pa.string())
def test_the_kernel_draws_what_hashlib_draws_to_the_bit(known, pairs, seed, step, kind):
    uids, entries = known
    rows = np.array([row % len(uids) for row, _ in pairs], dtype=np.int64)
    numbers = np.array([number % len(entries) for _, number in pairs], dtype=np.int64)
    texts = {"uids": pa.array(["before", *uids], kind)[1:], "entries": pa.array([*entries, "after"], kind)[:-1]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "KERNEL_FROM", 0)
        made = draws_at(seed=seed, step=step, rows=rows, numbers=numbers, **texts)
    which = zip(rows, numbers, strict=True)
    assert made.tolist() == [draw(seed=seed, step=step, uid=uids[row], entry=entries[number]) for row, number in which]


def test_the_kernel_and_the_loop_are_one_function(monkeypatch):
    monkeypatch.setattr(drawing, "KERNEL_FROM", 0)
    uids = [f"{i:032x}" for i in range(500)]
    entries = [f"entry {i % 7}" for i in range(500)]
    made = draws(seed=3, step="balance", uids=uids, entries=entries)
    assert made.tolist() == [draw(seed=3, step="balance", uid=u, entry=e) for u, e in zip(uids, entries, strict=True)]
    assert draws(seed=3, step="balance", uids=[], entries=[]).tolist() == []


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


@pytest.mark.parametrize(
    ("texts", "rows", "message"),
    [
        (["a", None], [0], "`uids` must hold no nulls; got 1"),
        (["a"], [1], "`uids` must hold each row asked for; it has 1"),
        (["a"], [-1], "`uids` must hold each row asked for"),
        ([], [0], "it has 0"),
    ],
)
def test_texts_that_cannot_be_drawn_for_are_refused(texts, rows, message):
    at = np.array(rows)
    uids, entries = pa.array(texts, pa.string()), pa.array(["dog"])
    with pytest.raises(ColumnsError, match=message):
        draws_at(seed=1, step="s", uids=uids, rows=at, entries=entries, numbers=np.zeros(1, dtype=np.int64))
