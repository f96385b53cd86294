"""DisCLIP's selection as an adapter: the audit's own formula, its weight from validation, and what stands in."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.errors import ParameterError
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.forms.local_texts import choose_weight, local_scores, reference_similarities
from evenly.adapters.methods.disclip import SelectedDescriptions
from evenly.adapters.methods.fudd import top_classes
from evenly.adapters.methods.zero_shot import ZeroShot
from evenly.adapters.search import tune
from tests.adapters.conftest import labelled


@pytest.fixture
def problem(digits):
    return digits.complete(0, 200), digits.complete(200, 400), digits.complete(400, 700)


def scores_of(train, labels, rows):
    """The audit's numbers, from the same arrays."""
    texts, owners = train.descriptor_texts, train.descriptor_text_labels
    similarities = reference_similarities(train.image, labels, texts, n_classes=10)
    own = [np.flatnonzero(owners == c).tolist() for c in range(10)]
    return local_scores(rows.image, train.prototypes, texts, similarities=similarities, own_texts=own)


@pytest.mark.parametrize("weight", [0.0, 1.25, 39.75])
def test_it_predicts_what_the_audit_of_descriptions_predicts(problem, weight):
    (train, labels), _, (query, _) = problem
    adapter = SelectedDescriptions(name_weight=weight).fit(train, labels)
    assert adapter.predict(query).tolist() == scores_of(train, labels, query).predict(weight).tolist()


def test_validation_chooses_the_weight_that_the_audit_chooses_and_test_rows_none(problem):
    (train, labels), (validation, validation_labels), _ = problem
    tuned = tune(
        SelectedDescriptions,
        train=labelled(train, labels),
        validation=labelled(validation, validation_labels),
        guard=False,
    )
    assert tuned.chosen["name_weight"] == choose_weight(scores_of(train, labels, validation), validation_labels)
    assert len(tuned.curve) == 160


def test_the_search_counts_what_predict_gets_right(problem):
    (train, labels), _, (query, query_labels) = problem
    points = [{"name_weight": weight} for weight in (0.0, 0.25, 3.0, 39.75)]
    adapter = SelectedDescriptions().fit(train, labels)
    counts = adapter.correct_counts(query, query_labels, points, chunk_rows=77)
    for point, count in zip(points, counts, strict=True):
        again = SelectedDescriptions(**point).fit(train, labels)
        assert (again.predict(query) == query_labels).sum() == count


def test_only_classes_that_the_name_makes_likely_are_predicted_and_the_others_keep_their_order(problem):
    (train, labels), _, (query, _) = problem
    adapter = SelectedDescriptions(name_weight=0.0, neighbours=2).fit(train, labels)
    logits, names = adapter.decision_function(query), ZeroShot().fit(train, labels).decision_function(query)
    top = top_classes(names, 2)
    assert (logits.argmax(axis=1)[:, None] == top).any(axis=1).all()
    for row, kept in enumerate(top):
        others = np.setdiff1d(np.arange(10), kept)
        np.testing.assert_allclose(np.diff(logits[row, others]), np.diff(names[row, others]), atol=1e-3)
        assert logits[row, others].max() < logits[row, kept].min()


def test_a_text_that_tells_a_class_apart_is_taken_from_another_class_by_hand():
    image = unit_rows(np.array([[1, 0, 0, 0.2], [0, 1, 0, 0.2], [1, 0.1, 0, 0.3], [0.1, 1, 0, 0.3]]))
    features = Features(
        image=image,
        prototypes=unit_rows(np.array([[0.5, 0.4, 0, 0], [0.4, 0.5, 0, 0]])),
        descriptor_texts=unit_rows(np.array([[0, 1, 0, 0], [1, 0, 0, 0]])),  # each describes the other class
        descriptor_text_labels=np.array([0, 1]),
    )
    labels = np.array([0, 1, 0, 1])
    adapter = SelectedDescriptions(name_weight=0.0).fit(features, labels)
    assert adapter.predict(features).tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(
        adapter.decision_function(features)[0], [100 * image[0, 0], 100 * image[0, 1]], atol=1e-4
    )


def test_without_pictures_the_first_own_texts_count_and_it_is_said(problem):
    (train, labels), _, (query, _) = problem
    adapter = SelectedDescriptions(name_weight=0.0, neighbours=10, most=1).fit(train.rows(slice(0)), labels[:0])
    first = train.descriptor_texts[::3]
    np.testing.assert_allclose(adapter.decision_function(query), 100 * query.image @ first.T, atol=1e-3)
    assert adapter.fallback_.startswith("no texts selected for 10 of 10 classes: 0, 1")


def test_equal_texts_of_two_classes_are_one_text(problem):
    (train, labels), _, (query, _) = problem
    twice = replace(
        train,
        descriptor_texts=np.concatenate([train.descriptor_texts, train.descriptor_texts[:3]]),
        descriptor_text_labels=np.concatenate([train.descriptor_text_labels, [9, 9, 9]]),
    )
    once, again = SelectedDescriptions().fit(train, labels), SelectedDescriptions().fit(twice, labels)
    assert np.array_equal(once.pool_, again.pool_)
    assert again.own_[9].tolist() == [27, 28, 29, 0, 1]
    assert np.array_equal(once.decision_function(query), again.decision_function(query))


@pytest.mark.parametrize("bad", [{"neighbours": 0}, {"most": 2.5}, {"name_weight": -1.0}])
def test_sizes_and_weights_out_of_range_are_refused(problem, bad):
    with pytest.raises(ParameterError, match=f"`{next(iter(bad))}` must be"):
        SelectedDescriptions(**bad).fit(*problem[0])
