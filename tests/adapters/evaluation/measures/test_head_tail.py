import numpy as np
import pytest

from evenly.adapters.errors import ParameterError
from evenly.adapters.evaluation.measures.classification import per_class
from evenly.adapters.evaluation.measures.head_tail import head_tail, tail_classes

CLASSES = [*"abcdefghij"]
FREQUENCIES = [50, 3, 40, 9, 100, 7, 60, 70, 80, 90]


def rows(n: int = 400, seed: int = 0):
    """Labels, and predictions right in 9 of 10 rows of a head class and in 5 of 10 of a tail class."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(10, size=n)
    right = generator.random(n) < np.where(tail_classes(FREQUENCIES, CLASSES)[labels], 0.5, 0.9)
    return np.where(right, labels, (labels + 1) % 10), labels


def test_the_tail_is_the_lowest_fifth_and_the_published_code_takes_one_class_more():
    assert np.flatnonzero(tail_classes(FREQUENCIES, CLASSES)).tolist() == [1, 5]
    assert np.flatnonzero(tail_classes(FREQUENCIES, CLASSES, rule="published")).tolist() == [1, 3, 5]


@pytest.mark.parametrize("c", [1, 4, 5, 9, 10, 11, 100, 1000])
def test_tail_sizes(c):
    names = [f"{place:04}" for place in range(c)]
    assert tail_classes(np.arange(c), names).sum() == c // 5
    assert tail_classes(np.arange(c), names, rule="published").sum() == int(0.2 * c) + 1


def test_ties_go_by_name_so_the_order_of_the_classes_does_not_matter():
    order = np.random.default_rng(0).permutation(10)
    flat = tail_classes(np.zeros(10), CLASSES)
    assert np.flatnonzero(flat).tolist() == [0, 1]
    assert (tail_classes(np.zeros(10), [CLASSES[i] for i in order]) == flat[order]).all()


def test_each_part_is_the_mean_of_its_classes():
    predictions, labels = rows()
    table = head_tail(predictions, labels, CLASSES, FREQUENCIES, seed=0)
    accuracy = per_class(predictions, labels, CLASSES)["accuracy"].to_numpy()
    tail = tail_classes(FREQUENCIES, CLASSES)
    assert table["part"].tolist() == ["head", "tail", "gap"]
    np.testing.assert_allclose(
        table["accuracy"],
        [accuracy[~tail].mean(), accuracy[tail].mean(), accuracy[~tail].mean() - accuracy[tail].mean()],
    )
    assert table["classes"].tolist() == [8, 2, 10]
    assert table["n"].tolist() == [(~tail[labels]).sum(), tail[labels].sum(), 400]
    assert (table["rule"] == "lowest_fifth").all()
    assert table["accuracy"].between(table["low"], table["high"]).all()
    assert table["low"][2] > 0, "a gap of 0.4 shows on 400 rows"


def test_intervals_equal_the_plain_loop():
    predictions, labels = rows(n=90)
    groups = np.random.default_rng(1).integers(30, size=90)
    names = np.unique(groups)
    generator = np.random.default_rng(7)
    gaps = []
    for draw in generator.integers(len(names), size=(50, len(names))):
        picked = np.concatenate([np.flatnonzero(groups == names[group]) for group in draw])
        accuracy = per_class(predictions[picked], labels[picked], CLASSES)["accuracy"].to_numpy()
        tail = tail_classes(FREQUENCIES, CLASSES)
        gaps.append(np.nanmean(accuracy[~tail]) - np.nanmean(accuracy[tail]))
    table = head_tail(predictions, labels, CLASSES, FREQUENCIES, groups=groups, seed=7, n=50)
    np.testing.assert_allclose([table["low"][2], table["high"][2]], np.quantile(gaps, [0.025, 0.975]))


def test_classes_without_rows_leave_the_mean_and_are_counted():
    predictions, labels = rows()
    kept = labels != 1
    table = head_tail(predictions[kept], labels[kept], CLASSES, FREQUENCIES, seed=0)
    assert table["without_rows"].tolist() == [0, 1, 1]
    accuracy = per_class(predictions[kept], labels[kept], CLASSES)["accuracy"].to_numpy()
    assert table["accuracy"][1] == pytest.approx(accuracy[5])


def test_a_part_without_rows_is_nan_and_so_is_the_gap():
    predictions, labels = rows()
    kept = ~tail_classes(FREQUENCIES, CLASSES)[labels]
    table = head_tail(predictions[kept], labels[kept], CLASSES, FREQUENCIES, seed=0)
    assert table[["accuracy", "low", "high"]].isna().to_numpy().tolist() == [[False] * 3, [True] * 3, [True] * 3]
    few = head_tail(np.array([0, 1]), np.array([0, 0]), ["a", "b"], [1, 2], seed=0)
    assert few["classes"].tolist() == [2, 0, 2]
    none = head_tail(labels[:0], labels[:0], CLASSES, FREQUENCIES, seed=0)
    assert none["accuracy"].isna().all()


def test_one_group_gives_no_interval():
    predictions, labels = rows()
    table = head_tail(predictions, labels, CLASSES, FREQUENCIES, groups=np.zeros(400), seed=0)
    assert table["accuracy"].notna().all()
    assert table["low"].isna().all()


@pytest.mark.parametrize("bad", [[1.0] * 9, [*range(9), -1], [*range(9), float("nan")]])
def test_frequencies_that_are_no_counts_are_refused(bad):
    with pytest.raises(ParameterError, match=r"`frequencies` must hold one count of at least 0 per class, \(10,\)"):
        tail_classes(bad, CLASSES)


def test_an_unknown_rule_lists_the_known_ones():
    with pytest.raises(ParameterError, match="`rule` must be one of lowest_fifth, published; got `lowest_tenth`"):
        tail_classes(FREQUENCIES, CLASSES, rule="lowest_tenth")
