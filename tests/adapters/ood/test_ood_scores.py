"""The whole dict OOD_SCORES, on digits with prototypes of 0 to 7: eights and nines are near, scrambled pixels far."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.errors import InvalidFeaturesError, MissingFeaturesError
from evenly.adapters.evaluation.measures.classification import softmax
from evenly.adapters.features import Features
from evenly.adapters.methods.zero_shot import ZeroShot
from evenly.adapters.ood import OOD_SCORES, OODInputs
from evenly.adapters.ood.metrics import auroc

NEEDS = {
    "msp": ("logits",),
    "max_logit": ("logits",),
    "energy": ("logits",),
    "entropy": ("logits",),
    "zero_shot_msp": ("image", "prototypes"),
    "zero_shot_entropy": ("image", "prototypes"),
    "clipn_ctw": ("image", "prototypes", "negation_prototypes"),
    "clipn_atd": ("image", "prototypes", "negation_prototypes"),
    "near_miss": ("image", "prototypes", "rejection_prototypes"),
    "near_miss_max": ("image", "prototypes", "rejection_prototypes"),
    "cooked_msp": ("cooked_logits",),
    "cooked_entropy": ("cooked_logits",),
}


@pytest.fixture(scope="module")
def rows(digits):
    """600 pictures, their labels, and a function from pictures to the record of what is known of them."""
    complete, labels = digits.complete(0, 600)
    prototypes = digits.prototypes["descriptions"]
    few = Features(
        image=complete.image,
        prototypes=prototypes[:8],
        negation_prototypes=complete.negation_prototypes[:8],
        rejection_prototypes=prototypes[8:],
    )
    zero_shot = ZeroShot().fit(few.rows([]), labels[:0])

    def record(image):
        features = replace(few, image=image)
        logits = zero_shot.decision_function(features)
        return OODInputs.of(features, logits=logits, cooked_logits=np.log(softmax(logits)))

    return complete.image, labels, record


@pytest.fixture(scope="module")
def inputs(rows):
    image, _, record = rows
    return record(image)


def test_every_score_states_what_it_needs():
    assert {name: score.needs for name, score in OOD_SCORES.items()} == NEEDS


@pytest.mark.parametrize("name", NEEDS)
def test_higher_is_more_in_distribution(name, rows):
    image, labels, record = rows
    score = OOD_SCORES[name]
    known = score(record(image[labels < 8]))
    unknown = record(image[labels >= 8] if name.startswith("near_miss") else image[:, np.argsort(np.arange(64) % 7)])
    assert known.shape == ((labels < 8).sum(),)
    assert known.dtype == np.float64
    assert auroc(known, score(unknown)) > 0.75


def test_all_needs_met_lacks_nothing_and_what_must_be_said_is_noted(inputs):
    assert not any(score.lacking(inputs) for score in OOD_SCORES.values())
    notes = {name: score.note(inputs.trained_no) for name, score in OOD_SCORES.items()}
    plain = dict.fromkeys(["clipn_ctw", "clipn_atd"], "plain-CLIP negations (not the trained CLIPN no-encoder)")
    assert {name: note for name, note in notes.items() if note} == plain
    assert OOD_SCORES["clipn_ctw"].note(True) == "learned no-prompts (not the trained CLIPN no-encoder)"


def test_what_cannot_be_computed_is_named_with_what_lacks():
    bare = OODInputs(logits=np.eye(3), image=np.eye(3))
    lacking = {name: score.lacking(bare) for name, score in OOD_SCORES.items()}
    assert [name for name, reason in lacking.items() if not reason] == ["msp", "max_logit", "energy", "entropy"]
    assert lacking["clipn_atd"] == "prototypes, negation_prototypes"
    assert lacking["cooked_msp"] == "cooked_logits"


def test_a_score_asked_for_alone_names_what_it_lacks():
    with pytest.raises(MissingFeaturesError, match=r"it lacks negation_prototypes\. Hand them in"):
        OOD_SCORES["clipn_ctw"](OODInputs(image=np.eye(3), prototypes=np.eye(3)))


def test_rows_that_do_not_match_are_refused():
    with pytest.raises(
        InvalidFeaturesError, match=r"`logits`, `image` must have the same number of rows; got \[3, 2\]"
    ):
        OODInputs(logits=np.eye(3), image=np.ones((2, 4)))
