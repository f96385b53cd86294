"""The base-to-new protocol: its split, what fit may see, and the published means."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.errors import InvalidFeaturesError, ParameterError
from evenly.adapters.evaluation.measures.bootstrap import bootstrap_accuracy
from evenly.adapters.evaluation.protocols.base_to_new import (
    evaluate_base_to_new,
    harmonic_mean,
    harmonic_mean_of_averages,
    mean_of_harmonic_means,
    of_classes,
    split_classes,
)
from evenly.adapters.features import GroupedFeatures
from evenly.adapters.methods.gda import GDA
from evenly.adapters.methods.gda_base_to_new import GDABaseToNew
from evenly.adapters.methods.zero_shot import ZeroShot
from tests.adapters.conftest import labelled

GDA_BASE = [98.04, 94.10, 78.71, 97.78, 90.63, 45.88, 81.95, 80.63, 93.28, 86.63, 75.95]
GDA_NEW = [94.51, 97.15, 66.92, 72.46, 91.21, 34.09, 75.62, 59.82, 79.21, 79.09, 69.79]


def parts(digits, **changes):
    names = {"train": (0, 300), "validation": (300, 600), "test": (600, 1200)}
    rows = {name: labelled(*digits.part(start, stop)) for name, (start, stop) in names.items()}
    return rows | {"test": in_groups(rows["test"])} | changes


def in_groups(rows, groups=None):
    """The rows in these groups, each in one of its own where there are none."""
    groups = np.arange(len(rows.labels)) if groups is None else groups
    return GroupedFeatures(features=rows.features, labels=rows.labels, groups=groups)


def test_both_harmonic_means_of_the_published_accuracies():
    assert round(float(np.mean(GDA_BASE)), 2) == 83.96
    assert round(float(np.mean(GDA_NEW)), 2) == 74.53
    assert round(mean_of_harmonic_means(GDA_BASE, GDA_NEW), 2) == 78.72
    assert round(harmonic_mean_of_averages(GDA_BASE, GDA_NEW), 2) == 78.97
    assert round(harmonic_mean(82.28, 75.14), 2) == 78.55


def test_the_harmonic_mean_of_nothing_right_is_zero_and_of_nothing_known_unknown():
    assert harmonic_mean(0.0, 0.0) == 0.0
    assert harmonic_mean(0.5, 0.0) == 0.0
    assert np.isnan(harmonic_mean(0.5, float("nan")))


@pytest.mark.parametrize("mean", [mean_of_harmonic_means, harmonic_mean_of_averages])
@pytest.mark.parametrize(("base", "new"), [([], []), ([0.5], [0.5, 0.6])])
def test_accuracies_that_do_not_pair_are_refused(mean, base, new):
    with pytest.raises(ParameterError, match=f"one accuracy per data set; got {len(base)} and {len(new)}"):
        mean(base, new)


@pytest.mark.parametrize(("n_classes", "base"), [(2, 1), (3, 2), (10, 5), (101, 51)])
def test_the_first_half_of_the_classes_is_base(n_classes, base):
    found = split_classes(n_classes)
    assert found[0].tolist() == list(range(base))
    assert found[1].tolist() == list(range(base, n_classes))


def test_one_class_has_no_halves():
    with pytest.raises(ParameterError, match="`n_classes` must be at least 2"):
        split_classes(1)


def test_zero_shot_is_judged_among_base_and_among_new(digits):
    found = evaluate_base_to_new(ZeroShot, **parts(digits))
    features, labels = digits.part(600, 1200)
    cosines = features.image @ features.prototypes.T
    base, new = labels < 5, labels >= 5
    assert found.base == np.mean(cosines[base, :5].argmax(axis=1) == labels[base])
    assert found.new == np.mean(cosines[new, 5:].argmax(axis=1) == labels[new] - 5)
    assert found.harmonic_mean == harmonic_mean(found.base, found.new)
    assert (found.base_rows, found.new_rows) == (base.sum(), new.sum())


@pytest.mark.parametrize("kind", [GDA, GDABaseToNew])
def test_an_adapter_is_tuned_on_base_rows_and_fitted_with_its_choice(digits, kind):
    everything = parts(digits)
    found = evaluate_base_to_new(kind, **everything, guard=False)
    support, labels = digits.part(0, 300)
    here = np.flatnonzero(labels < 5)
    alpha = found.tuned.chosen["alpha"]
    by_hand = kind(alpha=alpha).fit(support.rows(here), labels[here])
    test, truth = digits.part(600, 1200)
    logits, new = by_hand.decision_function(test), truth >= 5
    assert found.new == np.mean(logits[new, 5:].argmax(axis=1) == truth[new] - 5)
    assert found.base == np.mean(logits[~new, :5].argmax(axis=1) == truth[~new])
    assert found.tuned.validation_rows == np.count_nonzero(digits.part(300, 600)[1] < 5)
    assert found.base > evaluate_base_to_new(ZeroShot, **everything).base


def test_gda_without_images_of_new_classes_is_zero_shot_among_them(digits):
    everything = parts(digits)
    assert evaluate_base_to_new(GDA, **everything).new == evaluate_base_to_new(ZeroShot, **everything).new


@pytest.mark.parametrize("part", ["train", "validation"])
def test_rows_of_new_classes_are_not_looked_at_before_the_test(digits, part):
    everything = parts(digits)
    wild = everything[part].labels.copy()
    here = np.flatnonzero(wild >= 5)
    wild[here] = 5 + np.arange(len(here)) % 5
    expected, found = (
        evaluate_base_to_new(GDABaseToNew, **kept)
        for kept in (everything, everything | {part: labelled(everything[part].features, wild)})
    )
    assert (found.base, found.new) == (expected.base, expected.new)


def test_a_kept_zero_shot_is_judged_on_both_halves(digits):
    everything = parts(digits)
    found = evaluate_base_to_new(GDA, **everything, fixed={"alpha": 0.0, "logit_scale": 50.0})
    zero_shot = evaluate_base_to_new(ZeroShot, **everything)
    assert found.tuned.kept_zero_shot
    assert found.tuned.adapter.logit_scale == 50.0
    assert (found.base, found.new) == (zero_shot.base, zero_shot.new)


def test_without_test_rows_of_new_classes_their_accuracy_is_unknown(digits):
    everything = parts(digits)
    few = {"test": everything["test"].rows(np.flatnonzero(everything["test"].labels < 5))}
    found = evaluate_base_to_new(ZeroShot, **(everything | few))
    assert np.isnan(found.new)
    assert np.isnan(found.harmonic_mean)
    assert found.base > 0.5


def test_labels_outside_the_classes_are_refused(digits):
    everything = parts(digits)
    test = replace(everything["test"], labels=everything["test"].labels + 5)
    with pytest.raises(InvalidFeaturesError, match="`labels` must lie in 0 to 9"):
        evaluate_base_to_new(GDA, **(everything | {"test": test}))


def test_all_that_describes_a_class_goes_with_it(digits):
    features, _ = digits.complete(0, 20)
    some = of_classes(features, np.array([7, 2]))
    assert np.array_equal(some.prototypes, features.prototypes[[7, 2]])
    assert np.array_equal(some.negation_prototypes, features.negation_prototypes[[7, 2]])
    assert np.array_equal(some.context_prototypes, features.context_prototypes[:, [7, 2]])
    assert sorted(some.class_text_labels.tolist()) == [0] * 5 + [1] * 5
    own = features.class_texts[features.class_text_labels == 7]
    assert np.array_equal(some.class_texts[some.class_text_labels == 0], own)
    assert sorted(some.pair_text_classes.tolist()) == [[0, 1], [1, 0]]
    pair = (features.pair_text_classes == [7, 2]).all(axis=1)
    assert np.array_equal(some.pair_texts[(some.pair_text_classes == [0, 1]).all(axis=1)], features.pair_texts[pair])
    assert np.array_equal(some.unlabelled, features.unlabelled)
    bare = of_classes(replace(digits.part(0, 5)[0]), np.arange(3))
    assert bare.class_texts is None
    assert len(bare.prototypes) == 3


def test_intervals_resample_the_groups_of_test_rows(digits):
    test_groups = np.arange(600) // 60
    everything = parts(digits)
    grouped = everything | {"test": in_groups(everything["test"], test_groups)}
    found, by_rows = (evaluate_base_to_new(ZeroShot, **given) for given in (grouped, everything))
    features, labels = digits.part(600, 1200)
    base = labels < 5
    right = (features.image @ features.prototypes[:5].T).argmax(axis=1)[base] == labels[base]
    assert found.base_interval == bootstrap_accuracy(right, groups=test_groups[base], seed=0)
    assert by_rows.base_interval == bootstrap_accuracy(right, seed=0)
    assert found.new_interval != by_rows.new_interval
