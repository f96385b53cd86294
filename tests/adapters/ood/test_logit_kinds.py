"""Every adapter with every score of its logits: a score is valid for the logits, or left out in words."""

from functools import cache

import numpy as np
import pytest

from evenly.adapters import ADAPTERS
from evenly.adapters.evaluation.measures.unseen import judge_unseen, unseen_inputs
from evenly.adapters.features import Features, GroupedFeatures
from evenly.adapters.methods.cooked import Cooked
from evenly.adapters.methods.perceptionclip import PerceptionCLIP
from evenly.adapters.ood import OOD_SCORES
from evenly.adapters.ood.scores import LOGIT_SCORES, entropy, msp

ROUNDING = 1e-3
"""Float32 log-probabilities of ten classes add up to 1 within this; a score that moves by less says nothing."""


@pytest.fixture(scope="module")
def fitted(digits):
    """An adapter by its name, fitted on 200 rows with every field, and 100 others."""
    query = digits.complete(200, 300)[0]

    @cache
    def fit(name):
        return ADAPTERS[name]().fit(*digits.complete(0, 200)), query

    return fit


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_says_of_which_kind_its_logits_are(name, fitted):
    adapter, query = fitted(name)
    logits = adapter.decision_function(query).astype(float)
    normalised = np.abs(np.logaddexp.reduce(logits, axis=1)).max() < ROUNDING
    assert adapter.logit_kind() == ("log-probabilities" if normalised else "logits with a scale")


@pytest.mark.parametrize("score", LOGIT_SCORES)
@pytest.mark.parametrize("name", ADAPTERS)
def test_a_score_of_logits_tells_rows_apart_or_says_why_it_is_left_out(name, score, fitted):
    adapter, query = fitted(name)
    inputs = unseen_inputs(adapter, (), query)
    lacking = OOD_SCORES[score].lacking(inputs)
    if adapter.logit_kind() in OOD_SCORES[score].valid_for:
        assert lacking == ""
        assert np.ptp(OOD_SCORES[score](inputs)) > ROUNDING
    else:
        assert lacking == "logits with a scale; the adapter gives log-probabilities"


def test_the_table_of_an_ensemble_has_no_energy_and_says_why(digits, fitted):
    cooked, query = fitted("cooked")
    rows = GroupedFeatures(features=query, labels=np.zeros(100, np.int64), groups=np.arange(100))
    table = judge_unseen(cooked, rows, {"far": digits.complete(300, 350)[0]}, seed=0)
    assert table.loc[table["skipped"] == "", "score"].unique().tolist()[:2] == ["msp", "entropy"]
    reasons = table.set_index("score")["skipped"]
    assert reasons["energy"] == reasons["max_logit"] == "logits with a scale; the adapter gives log-probabilities"


def test_a_fallback_to_zero_shot_gives_logits_with_a_scale(digits):
    support, labels = digits.complete(0, 50)
    nobody = Cooked().fit(support.rows(slice(0)), labels[:0])
    no_contexts = np.zeros((0, 10, 64), np.float32)
    bare = Features(image=support.image, prototypes=support.prototypes, context_prototypes=no_contexts)
    for adapter in (nobody, PerceptionCLIP().fit(bare, labels)):
        assert adapter.fallback_.startswith("zero-shot")
        assert adapter.logit_kind() == "logits with a scale"
    inputs = unseen_inputs(nobody, (), support)
    assert OOD_SCORES["energy"].lacking(inputs) == ""
    assert OOD_SCORES["cooked_msp"].lacking(inputs) == "cooked_logits"


@pytest.mark.parametrize("name", ["linear", "cooked"])
def test_zero_shot_stands_beside_whatever_adapter(name, fitted):
    (adapter, query), (zero_shot, _) = fitted(name), fitted("zero_shot")
    inputs, logits = unseen_inputs(adapter, (), query), zero_shot.decision_function(query)
    np.testing.assert_allclose(OOD_SCORES["zero_shot_msp"](inputs), msp(logits), rtol=1e-4)
    np.testing.assert_allclose(OOD_SCORES["zero_shot_entropy"](inputs), entropy(logits), rtol=1e-4, atol=1e-5)
