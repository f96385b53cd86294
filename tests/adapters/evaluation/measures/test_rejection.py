"""Rejecting pictures of no class by a threshold: by hand, and what may choose it."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.evaluation.measures.rejection import (
    ALL,
    choose_threshold,
    drawn_groups,
    judge_rejection,
    open_set,
)
from evenly.adapters.features import GroupedFeatures, unit_rows
from evenly.adapters.methods.gda import GDA
from evenly.adapters.ood.scores import msp


def test_the_threshold_makes_h_largest_and_is_the_lowest_of_equals():
    known, right = np.array([0.9, 0.8, 0.7, 0.3]), np.array([True, True, True, False])
    assert choose_threshold(known, right, {"a": np.array([0.1, 0.2])}) == (0.3, pytest.approx(2 * 0.75 / 1.75))
    assert choose_threshold(known, right, {"a": np.array([0.1, 0.75])}) == (0.8, pytest.approx(2 * 0.5 / 1.5))


def test_sets_count_alike_in_the_choice_whatever_their_size():
    known, right = np.array([0.9, 0.5]), np.array([True, True])
    unknown = {"near": np.array([0.6]), "far": np.full(99, 0.1)}
    threshold, h = choose_threshold(known, right, unknown)
    shares = {t: ((known >= t).mean(), np.mean([(s < t).mean() for s in unknown.values()])) for t in (0.5, 0.9)}
    best = max(2 * c * o / (c + o) for c, o in shares.values())
    assert h == pytest.approx(best)
    assert threshold in shares


def test_nothing_accepted_or_nothing_rejected_is_no_success():
    assert choose_threshold(np.array([0.1]), np.array([True]), {"a": np.array([0.5])}) == (0.1, 0.0)


@pytest.fixture
def problem(digits):
    (train, labels) = digits.complete(0, 200)
    parts = []
    for start, stop in ((200, 300), (300, 500)):
        features, truth = digits.complete(start, stop)
        parts.append(GroupedFeatures(features=features, labels=truth, groups=np.arange(len(truth)) // 2))
    strange = replace(parts[1].features, image=unit_rows(np.roll(parts[1].features.image, 20, axis=1)))
    return (
        GDA(alpha=1.0).fit(train, labels),
        *parts,
        {"near": strange.rows(slice(80)), "far": strange.rows(slice(80, 200))},
    )


def test_the_judged_rows_are_those_that_did_not_choose(problem):
    adapter, validation, test, unseen = problem
    owners = {"near": np.array([f"n{i // 4}" for i in range(80)]), "far": np.array([f"f{i // 4}" for i in range(120)])}
    table = judge_rejection(adapter, validation, test, unseen, unseen_groups=owners, seed=3)
    row = table[(table["score"] == "msp") & (table["set"] == "far")].iloc[0]
    judged = ~drawn_groups(owners["far"], seed=3)
    assert row["n_unknown"] == judged.sum()
    assert {g for g, j in zip(owners["far"], judged, strict=True) if j}.isdisjoint(
        g for g, j in zip(owners["far"], judged, strict=True) if not j
    )
    logits = adapter.decision_function(test.features)
    predicted = np.where(msp(logits) >= row["threshold"], logits.argmax(axis=1), -1)
    outside = np.where(msp(adapter.decision_function(unseen["far"]))[judged] >= row["threshold"], 0, -1)
    expected = open_set(
        np.concatenate([predicted, outside]),
        np.concatenate([test.labels, np.full(judged.sum(), -1)]),
        unknown=-1,
    )
    assert (row["closed"], row["opened"], row["h"]) == pytest.approx(tuple(expected))
    assert row["h_low"] <= row["h"] <= row["h_high"]
    assert table["set"].unique().tolist() == ["near", "far", ALL]
    assert table.groupby("score")["threshold"].nunique().eq(1).all()
    assert table[table["chosen"]]["score"].nunique() == 1


def test_test_rows_choose_nothing(problem):
    adapter, validation, test, unseen = problem
    table = judge_rejection(adapter, validation, test, unseen, seed=3)
    other = replace(test, labels=(test.labels + 1) % 10)
    again = judge_rejection(adapter, validation, other, unseen, seed=3)
    assert table[["threshold", "h_chosen", "chosen"]].equals(again[["threshold", "h_chosen", "chosen"]])
    assert (again["closed"] < table["closed"]).all()


def test_without_a_part_or_with_a_set_of_one_group_there_is_no_table(problem):
    adapter, validation, test, unseen = problem
    nobody = GroupedFeatures(
        features=validation.features.rows(slice(0)), labels=validation.labels[:0], groups=validation.groups[:0]
    )
    assert judge_rejection(adapter, nobody, test, unseen, seed=3).empty
    assert judge_rejection(adapter, validation, test, {}, seed=3).empty
    one = {name: np.zeros(len(rows)) for name, rows in unseen.items()}
    assert judge_rejection(adapter, validation, test, unseen, unseen_groups=one, seed=3).empty
