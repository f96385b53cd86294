"""The oracle of out-of-distribution scores: each of OOD_SCORES against its equation, in float64, to 1e-9."""

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp, softmax
from scipy.stats import entropy

from evenly.adapters.features import unit_rows
from evenly.adapters.ood import OOD_SCORES, OODInputs

RNG = np.random.default_rng(5)
N, C, R, D = 40, 7, 3, 16


def drawn(rows):
    return unit_rows(RNG.normal(size=(rows, D)))


IMAGE, YES, NO, NEAR = drawn(N), drawn(C), drawn(C), drawn(R)
LOGITS = RNG.normal(size=(N, C)) * 5
LOG_P = log_softmax(RNG.normal(size=(N, C)) * 3, axis=1)
INPUTS = OODInputs(
    logits=LOGITS,
    cooked_logits=LOG_P,
    image=IMAGE,
    prototypes=YES,
    negation_prototypes=NO,
    rejection_prototypes=NEAR,
)
X, T, T_NO, T_NEAR = (rows.astype(float) for rows in (IMAGE, YES, NO, NEAR))
L_YES, L_NO, L_NEAR = (100 * X @ texts.T for texts in (T, T_NO, T_NEAR))


def yes_no():
    # xmed-lab/CLIPN src/zero_shot_infer.py, e465074: softmax over (yes, no) of each class, the first of the two
    return softmax(np.stack([L_YES, L_NO], axis=-1), axis=-1)[:, :, 0]


def near_miss():
    # OSLoPrompt's names as further text classes (arXiv:2503.16106; no code for texts alone): mass left to the classes
    return softmax(np.concatenate([L_YES, L_NEAR], axis=1), axis=1)[:, :C]


FORMULAS = {
    # xmed-lab/CLIPN src/zero_shot_infer.py, e465074: msp_score, max_logit_score, energy_score
    "msp": lambda: softmax(LOGITS, axis=1).max(axis=1),
    "max_logit": lambda: LOGITS.max(axis=1),
    "energy": lambda: logsumexp(LOGITS, axis=1),
    # glhr/COOkeD eval_utils.py softmax_entropy, 2172232, in nats; negated, so that higher is in-distribution
    "entropy": lambda: -entropy(softmax(LOGITS, axis=1), axis=1),
    "zero_shot_msp": lambda: softmax(L_YES, axis=1).max(axis=1),
    "zero_shot_entropy": lambda: -entropy(softmax(L_YES, axis=1), axis=1),
    "clipn_ctw": lambda: yes_no()[np.arange(N), L_YES.argmax(axis=1)],
    "clipn_atd": lambda: (yes_no() * softmax(L_YES, axis=1)).sum(axis=1),
    "near_miss": lambda: near_miss().sum(axis=1),
    "near_miss_max": lambda: near_miss().max(axis=1),
    # glhr/COOkeD eval.py, 2172232: of the mean of three softmaxes
    "cooked_msp": lambda: np.exp(LOG_P).max(axis=1),
    "cooked_entropy": lambda: -entropy(np.exp(LOG_P), axis=1),
}


def test_every_score_has_a_formula():
    assert list(FORMULAS) == list(OOD_SCORES)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_score_is_that_of_its_formula(name):
    expected = FORMULAS[name]()
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(OOD_SCORES[name](INPUTS), expected, rtol=1e-9, atol=1e-12)
