"""Accuracy session by session over the classes seen so far."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.errors import InvalidFeaturesError, ParameterError
from evenly.adapters.evaluation.measures.bootstrap import bootstrap_accuracy, group_draws
from evenly.adapters.evaluation.protocols.sessions import (
    average_gain,
    evaluate_sessions,
    mean_and_drop,
    split_sessions,
)
from evenly.adapters.features import GroupedFeatures
from evenly.adapters.methods.gda_incremental import GDAIncremental
from tests.adapters.conftest import labelled


def sessions_of(digits, classes, *, grow=False):
    """The first 300 rows, parted by class; with `grow` each session knows only its classes and those before."""
    features, labels = digits.part(0, 300)
    for some in classes:
        here = np.flatnonzero(np.isin(labels, some))
        known = features.prototypes[: some[-1] + 1] if grow else features.prototypes
        yield labelled(replace(features.rows(here), prototypes=known), labels[here])


def in_groups(features, labels, groups=None):
    """Test rows in these groups, each in one of its own where there are none."""
    groups = np.arange(len(features)) if groups is None else groups
    return GroupedFeatures(features=features, labels=labels, groups=groups)


@pytest.mark.parametrize("grow", [False, True])
def test_each_session_is_judged_over_the_classes_seen_so_far(digits, grow):
    classes = split_sessions(10, first=4, step=3)
    (test, truth), (support, labels) = digits.part(300, 1300), digits.part(0, 300)
    found = evaluate_sessions(
        GDAIncremental(alpha=1.0), sessions_of(digits, classes, grow=grow), test=in_groups(test, truth)
    )
    expected = []
    for stop, previous in ((4, 0), (7, 4), (10, 7)):
        seen, rows = np.flatnonzero(labels < stop), np.flatnonzero(truth < stop)
        known = replace(support.rows(seen), prototypes=support.prototypes[:stop])
        joint = GDAIncremental(alpha=1.0).fit(known, labels[seen])
        right = joint.predict(replace(test.rows(rows), prototypes=None)) == truth[rows]
        old = truth[rows] < previous
        expected.append([stop, len(rows), right.mean(), right[old].mean() if previous else np.nan, right[~old].mean()])
    columns = ["classes", "rows", "accuracy", "old", "new"]
    np.testing.assert_allclose(found.sessions[columns].to_numpy(float), expected)
    assert found.sessions["session"].tolist() == [1, 2, 3]
    accuracies = [row[2] for row in expected]
    assert found.average == pytest.approx(np.mean(accuracies))
    assert found.drop == pytest.approx(accuracies[0] - accuracies[2])


def test_intervals_resample_the_groups_of_the_rows_seen_so_far(digits):
    (test, truth), groups = digits.part(300, 1300), np.arange(1000) // 50
    found, by_rows = (
        evaluate_sessions(GDAIncremental(), sessions_of(digits, [range(5), range(5, 10)]), test=rows).sessions
        for rows in (in_groups(test, truth, groups), in_groups(test, truth))
    )
    support, labels = digits.part(0, 300)
    right = GDAIncremental().fit(support, labels).predict(test) == truth
    np.testing.assert_allclose(
        found[["accuracy", "low", "high"]].iloc[-1].astype(float), bootstrap_accuracy(right, groups=groups, seed=0)
    )
    assert found["accuracy"].equals(by_rows["accuracy"])
    assert not found["low"].equals(by_rows["low"])


def test_the_gain_of_the_average_is_paired_over_groups_of_test_rows(digits):
    (test, truth), groups = digits.part(300, 900), np.arange(600) // 20
    judged, rows = in_groups(test, truth, groups), list(sessions_of(digits, [range(4), range(4, 7), range(7, 9)]))
    strong, weak = (evaluate_sessions(GDAIncremental(alpha=alpha), rows, test=judged) for alpha in (1.0, 1e-3))
    gain = average_gain(strong, weak, groups=groups, seed=1)
    drawn = [np.repeat(np.arange(30), counts.astype(int)) for batch in group_draws(30, 1) for counts in batch]
    rows_of = [np.flatnonzero(groups == group) for group in range(30)]
    replicates = []
    for chosen in drawn:
        again = np.concatenate([rows_of[group] for group in chosen])
        replicates.append(np.mean(np.nanmean(strong.right[again], axis=0) - np.nanmean(weak.right[again], axis=0)))
    assert gain.estimate == pytest.approx(strong.average - weak.average)
    np.testing.assert_allclose(gain[1:], np.quantile(replicates, [0.025, 0.975]), rtol=1e-9)
    assert average_gain(strong, strong, groups=groups) == (0.0, 0.0, 0.0)


def test_the_drop_of_a_published_run():
    average, drop = mean_and_drop([90.32, 86.0, 81.67])
    assert round(drop, 2) == 8.65
    assert round(average, 2) == 86.0


def test_the_last_session_does_not_depend_on_the_order_of_the_others(digits):
    test, truth = digits.part(300, 800)
    straight, turned = (
        evaluate_sessions(GDAIncremental(), sessions_of(digits, order), test=in_groups(test, truth))
        for order in ([[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]], [[3, 4, 5], [0, 1, 2], [6, 7, 8, 9]])
    )
    assert straight.sessions["accuracy"].iloc[-1] == turned.sessions["accuracy"].iloc[-1]
    assert straight.sessions["accuracy"].iloc[0] != turned.sessions["accuracy"].iloc[0]


def test_a_session_without_test_rows_has_no_accuracy(digits):
    test, truth = digits.part(300, 400)
    late = np.flatnonzero(truth >= 5)
    found = evaluate_sessions(
        GDAIncremental(), sessions_of(digits, [[0, 1], [5, 6]]), test=in_groups(test.rows(late), truth[late])
    )
    assert np.isnan(found.sessions["accuracy"].iloc[0])
    assert found.sessions["rows"].iloc[1] == np.count_nonzero(np.isin(truth, [5, 6]))
    assert np.isnan(found.sessions["old"].iloc[1])


def test_nothing_to_judge_is_refused(digits):
    test, truth = digits.part(300, 310)
    with pytest.raises(ParameterError, match="`sessions` must hold at least one"):
        evaluate_sessions(GDAIncremental(), [], test=in_groups(test, truth))
    with pytest.raises(InvalidFeaturesError, match="`labels` must hold one class index per image"):
        evaluate_sessions(GDAIncremental(), sessions_of(digits, [[0, 1]]), test=in_groups(test, truth[:5]))


@pytest.mark.parametrize(
    ("n_classes", "first", "step", "sizes"),
    [(100, 60, 5, [60] + [5] * 8), (10, 4, 3, [4, 3, 3]), (10, 4, 4, [4, 4, 2]), (3, 5, 1, [3]), (5, 5, 1, [5])],
)
def test_classes_come_in_sessions(n_classes, first, step, sizes):
    found = split_sessions(n_classes, first=first, step=step)
    assert [len(some) for some in found] == sizes
    assert np.concatenate(found).tolist() == list(range(n_classes))


def test_sizes_of_sessions_are_whole_numbers():
    with pytest.raises(ParameterError, match="`step` must be a whole number above 0; got 0"):
        split_sessions(10, first=5, step=0)
