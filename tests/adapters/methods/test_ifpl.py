"""IFPL: each student labels the pool for the next one."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.errors import ParameterError
from evenly.adapters.features import Features
from evenly.adapters.forms.pseudolabels import log_probabilities, top_k_per_class
from evenly.adapters.methods.fpl import FewPseudoLabels
from evenly.adapters.methods.ifpl import IterativeFewPseudoLabels
from evenly.adapters.training import row_keys


def test_one_round_is_fpl(digits):
    support, query = digits.complete(0, 20), digits.part(200, 300)[0]
    once = FewPseudoLabels(k=5).fit(*support).decision_function(query)
    assert np.array_equal(IterativeFewPseudoLabels(k=5, rounds=1).fit(*support).decision_function(query), once)


@pytest.mark.parametrize("student", ["gda", "linear"])
def test_each_round_selects_by_the_student_of_the_round_before(digits, student):
    support, labels = digits.complete(0, 20)
    pool = support.unlabelled
    one = IterativeFewPseudoLabels(k=8, rounds=1, student=student).fit(support, labels)
    two = IterativeFewPseudoLabels(k=8, rounds=2, student=student).fit(support, labels)
    rows, classes = top_k_per_class(log_probabilities(one._logits(Features(image=pool))), 8, keys=row_keys(pool))
    assert np.array_equal(two.pseudo_rows_, rows)
    assert np.array_equal(two.pseudo_labels_, classes)
    assert not np.array_equal(one.pseudo_rows_, rows)


def test_no_round_holds_more_than_k_per_class(digits):
    adapter = IterativeFewPseudoLabels(k=4).fit(*digits.complete(0, 0))
    assert np.bincount(adapter.pseudo_labels_, minlength=10).tolist() == [4] * 10


def test_rounds_help_on_a_pool_of_real_digits(digits):
    support, labels = digits.complete(0, 20)
    wide = replace(support, unlabelled=digits.features.image[800:1700], unlabelled_second=None)
    query, truth = digits.part(200, 800)
    once = FewPseudoLabels().fit(wide, labels).predict(query)
    often = IterativeFewPseudoLabels().fit(wide, labels).predict(query)
    assert np.mean(often == truth) > np.mean(once == truth)


def test_bad_rounds_are_refused(digits):
    with pytest.raises(ParameterError, match="`rounds` must be a whole number above 0; got 0"):
        IterativeFewPseudoLabels(rounds=0).fit(*digits.complete(0, 20))
    with pytest.raises(ParameterError, match="`k` must be a whole number above 0; got -3"):
        IterativeFewPseudoLabels(k=-3).fit(*digits.complete(0, 20))
