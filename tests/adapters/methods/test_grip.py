"""GRIP: the pseudo-labels grow until the whole pool is used; the rest is in test_pseudolabels.py."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.errors import ParameterError
from evenly.adapters.methods import grip
from evenly.adapters.methods.fpl import FewPseudoLabels
from evenly.adapters.methods.grip import GrowingPseudoLabels
from evenly.adapters.methods.zero_shot import ZeroShot


def with_pool(support, pool):
    return replace(support, unlabelled=pool, unlabelled_second=None)


def test_the_last_round_uses_an_equal_share_of_the_pool_per_class(digits):
    support, labels = digits.complete(0, 20)
    adapter = GrowingPseudoLabels().fit(with_pool(support, digits.features.image[800:1137]), labels)
    assert np.bincount(adapter.pseudo_labels_, minlength=10).tolist() == [33] * 10


def test_early_rounds_without_a_pseudo_label_are_left_out(digits, monkeypatch):
    support, labels = digits.complete(0, 0)
    small = with_pool(support, digits.features.image[800:835])
    assert grip.growing_sizes(35, 10, rounds=10) == (0, 0, 1, 1, 1, 2, 2, 2, 3, 3)
    grown = GrowingPseudoLabels().fit(small, labels)
    monkeypatch.setattr(GrowingPseudoLabels, "_sizes", lambda *_: (1, 1, 1, 2, 2, 2, 3, 3))
    assert np.array_equal(grown.weight_, GrowingPseudoLabels().fit(small, labels).weight_)


def test_a_pool_smaller_than_the_class_list_gives_no_pseudo_labels(digits):
    support, labels = digits.complete(0, 0)
    adapter = GrowingPseudoLabels().fit(with_pool(support, digits.features.image[800:809]), labels)
    assert adapter.fallback_ == "zero-shot: no support rows; no pseudo-labels: 9 unlabelled rows for 10 classes"
    query = digits.part(200, 300)[0]
    assert np.array_equal(adapter.decision_function(query), ZeroShot().fit(support, labels).decision_function(query))


@pytest.mark.parametrize("student", ["gda", "linear"])
def test_it_beats_zero_shot_and_fpl_on_real_digits(digits, student):
    support, labels = digits.complete(0, 20)
    wide = with_pool(support, digits.features.image[800:1700])
    query, truth = digits.part(200, 800)
    accuracy = [
        np.mean(adapter.fit(wide, labels).predict(query) == truth)
        for adapter in (ZeroShot(), FewPseudoLabels(student=student), GrowingPseudoLabels(student=student))
    ]
    assert accuracy == sorted(accuracy)
    assert accuracy[2] > accuracy[0] + 0.1


def test_bad_rounds_are_refused(digits):
    with pytest.raises(ParameterError, match=r"`rounds` must be a whole number above 0; got 2\.0"):
        GrowingPseudoLabels(rounds=2.0).fit(*digits.complete(0, 20))
