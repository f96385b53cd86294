"""Prompts as students of pseudo-labels: the loss of the public code, rounds, and what needs the tower."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from evenly.adapters.errors import MissingFeaturesError
from evenly.adapters.features import Features, LabelledFeatures
from evenly.adapters.forms.pseudolabels import growing_sizes, log_probabilities, top_k_per_class
from evenly.adapters.labelled import takes_tower
from evenly.adapters.methods.grip import GrowingPseudoLabels
from evenly.adapters.methods.zero_shot import ZeroShot
from evenly.adapters.prompts.learner import problem_of
from evenly.adapters.prompts.student import PromptStudent
from evenly.adapters.saved import from_arrays, to_arrays, to_card
from evenly.adapters.search import tune
from evenly.adapters.training import row_keys
from tests.adapters.prompts.test_formulas import LABELS, LEARNED, QUERY, X, tower_rows, unit


class TextualFPL:
    """BatsResearch/menghini-neurips23-code methods/semi_supervised_learning/textual_fpl.py, b387624."""

    def __init__(self, unlabelled, n_labelled) -> None:
        self.check_unlabeled = unlabelled
        self.balance_param = len(unlabelled) / n_labelled

    def define_loss_function(self, logits, labels, paths):
        return self.balance_param * self.cross_entropy(logits, labels, paths, False) + self.cross_entropy(
            logits, labels, paths, True
        )

    def cross_entropy(self, logits, labels, paths, unlabelled):
        chosen = [place for place, path in enumerate(paths) if (path in self.check_unlabeled) == unlabelled]
        return cross_entropy(logits[chosen], labels[chosen]) if chosen else 0


@pytest.mark.parametrize("batch", [[0, 3, 12, 20, 29], [1, 4], [15, 16, 28]], ids=["mixed", "labelled", "pseudo"])
@pytest.mark.parametrize("n_labelled", [5, 12])
def test_the_loss_is_that_of_the_public_code(batch, n_labelled):
    student = PromptStudent(n_labelled=n_labelled)
    context = torch.tensor(LEARNED.tower.vectors("a photo of a"))
    rows = unit(tower_rows(context.numpy().astype(float)))
    logits, labels = torch.from_numpy(100 * X[batch] @ rows.T), torch.from_numpy(LABELS[batch])
    expected = TextualFPL(set(range(n_labelled, 30)), n_labelled).define_loss_function(logits, labels, batch)
    loss = student._loss(problem_of(LEARNED, LABELS), {"context": context}, np.array(batch))
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("n_labelled", [0, 30])
def test_rows_of_one_kind_weigh_as_in_coop(n_labelled):
    context = torch.tensor(LEARNED.tower.vectors("a photo of a"))
    student, problem, batch = PromptStudent(n_labelled=n_labelled), problem_of(LEARNED, LABELS), np.arange(7)
    expected = super(PromptStudent, student)._loss(problem, {"context": context}, batch)
    assert float(student._loss(problem, {"context": context}, batch)) == pytest.approx(float(expected), rel=1e-6)


def test_each_round_starts_a_new_prompt_on_what_the_last_one_selects():
    adapter = GrowingPseudoLabels(student="prompt", rounds=2, steps=5, learning_rate=0.1).fit(LEARNED, LABELS)
    pool, teacher = LEARNED.unlabelled, ZeroShot().fit(LEARNED, LABELS)
    for k in growing_sizes(60, 5, rounds=2):
        logits = teacher.decision_function(Features(image=pool)).astype(float)
        rows, classes = top_k_per_class(log_probabilities(logits), k, keys=row_keys(pool))
        image, labels = np.concatenate([LEARNED.image, pool[rows]]), np.concatenate([LABELS, classes])
        teacher = PromptStudent(n_labelled=30, steps=5, learning_rate=0.1)
        teacher.fit(Features(image=image, prototypes=LEARNED.prototypes, tower=LEARNED.tower), labels)
    assert np.array_equal(adapter.pseudo_rows_, rows)
    np.testing.assert_allclose(adapter.decision_function(QUERY), teacher.decision_function(QUERY), atol=1e-5)
    np.testing.assert_allclose(teacher.contexts_[0], LEARNED.tower.vectors("a photo of a"))


def test_a_saved_fit_predicts_without_the_tower():
    adapter = GrowingPseudoLabels(student="prompt", rounds=1, steps=5).fit(LEARNED, LABELS)
    card = to_card(adapter)
    read = from_arrays("grip", to_arrays(adapter), card["parameters"], learned=card["learned"])
    assert np.array_equal(read.decision_function(QUERY), adapter.decision_function(QUERY))


@pytest.mark.parametrize(("student", "points"), [("gda", 3), ("linear", 1), ("prompt", 1)])
def test_alpha_is_searched_where_gda_is_the_student(student, points):
    rows = LabelledFeatures(features=LEARNED, labels=LABELS)
    fixed = {"student": student, "rounds": 1, "steps": 5}
    tuned = tune(GrowingPseudoLabels, train=rows, validation=rows, fixed=fixed, guard=False)
    assert len(tuned.curve) == points
    assert set(tuned.chosen) == ({"alpha"} if points > 1 else set())
    assert tuned.adapter.student == student


def test_the_tower_is_needed_by_a_prompt_alone():
    bare = replace(LEARNED, tower=None)
    GrowingPseudoLabels(rounds=1).fit(bare, LABELS)
    with pytest.raises(MissingFeaturesError, match=r"GrowingPseudoLabels\(student='prompt'\).* got none for `tower`"):
        GrowingPseudoLabels(student="prompt").fit(bare, LABELS)
    assert takes_tower(["gda", "grip"])
    assert not takes_tower(["gda", "tip"])
