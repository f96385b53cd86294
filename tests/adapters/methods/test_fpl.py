"""FPL: what is selected once from zero-shot, and what the student gains."""

import numpy as np
import pytest

from evenly.adapters.errors import ParameterError
from evenly.adapters.features import Features
from evenly.adapters.forms.pseudolabels import log_probabilities, top_k_per_class
from evenly.adapters.methods.fpl import FewPseudoLabels
from evenly.adapters.methods.zero_shot import ZeroShot
from evenly.adapters.training import row_keys


@pytest.mark.parametrize("k", [1, 16, 50])
def test_zero_shot_selects_k_per_class_once(digits, k):
    support, labels = digits.complete(0, 0)
    adapter = FewPseudoLabels(k=k).fit(support, labels)
    pool = support.unlabelled
    logits = ZeroShot().fit(support, labels)._logits(Features(image=pool))
    rows, classes = top_k_per_class(log_probabilities(logits), k, keys=row_keys(pool))
    assert np.array_equal(adapter.pseudo_rows_, rows)
    assert np.array_equal(adapter.pseudo_labels_, classes)
    assert np.bincount(classes, minlength=10).max() <= k
    assert len(rows) == min(10 * k, 200)


@pytest.mark.parametrize("student", ["gda", "linear", "prompt"])
def test_affine_form_is_the_student(digits, student):
    adapter = FewPseudoLabels(student=student).fit(*digits.complete(0, 20))
    query = digits.part(200, 300)[0]
    weight, bias = adapter.affine_form()
    np.testing.assert_allclose(
        query.image.astype(float) @ weight.T + bias, adapter.decision_function(query), rtol=1e-5, atol=1e-4
    )


def test_labels_of_the_support_are_used_and_ground_truth_of_the_pool_is_not_needed(digits):
    support, labels = digits.complete(0, 60)
    query, truth = digits.part(200, 1400)
    alone = FewPseudoLabels(student="linear").fit(support.rows(slice(0)), labels[:0])
    helped = FewPseudoLabels(student="linear").fit(support, labels)
    assert np.mean(helped.predict(query) == truth) > np.mean(alone.predict(query) == truth) + 0.05


def test_a_bad_k_is_refused(digits):
    with pytest.raises(ParameterError, match=r"`k` must be a whole number above 0; got 1\.5"):
        FewPseudoLabels(k=1.5).fit(*digits.complete(0, 20))
