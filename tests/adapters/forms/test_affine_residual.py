"""Zero-shot plus weighted affine evidence: sweeping and counting share work and change no number."""

import numpy as np
import pytest

from evenly.adapters.contract import Adapter
from evenly.adapters.errors import InvalidFeaturesError, NotFittedError, ParameterError
from evenly.adapters.forms import affine_residual
from evenly.adapters.forms.affine_residual import AffineResidual
from evenly.adapters.methods.gda import GDA

POINTS = [{"alpha": alpha} for alpha in (0.0, *AffineResidual.grid.parameters["alpha"])]


@pytest.fixture
def fitted(digits):
    return GDA(alpha=0.3).fit(*digits.part(0, 200))


def test_swept_logits_are_those_of_one_decision_per_point_to_the_bit(fitted, digits, monkeypatch):
    monkeypatch.setattr(affine_residual, "CACHED_ROWS", 7)
    query, _ = digits.part(200, 300)
    for point, logits in zip(POINTS, fitted.sweep(query, POINTS), strict=True):
        alone = GDA(**point).fit(*digits.part(0, 200)).decision_function(query)
        assert logits.dtype == np.float32
        assert np.array_equal(logits, alone)
    assert fitted.alpha == 0.3


def test_a_point_that_leaves_alpha_out_means_that_of_the_adapter(fitted, digits):
    query, _ = digits.part(200, 300)
    (logits,) = fitted.sweep(query, [{}])
    assert np.array_equal(logits, fitted.decision_function(query))


@pytest.mark.parametrize("chunk_rows", [1, 33, 1000])
def test_counts_are_those_of_the_contract(fitted, digits, monkeypatch, chunk_rows):
    monkeypatch.setattr(affine_residual, "CACHED_ROWS", 16)
    query, truth = digits.part(200, 400)
    counts = fitted.correct_counts(query, truth, POINTS, chunk_rows=chunk_rows)
    assert counts.tolist() == Adapter.correct_counts(fitted, query, truth, POINTS).tolist()
    assert len(set(counts.tolist())) > 3


def test_no_rows_and_no_points_count_nothing(fitted, digits):
    query, truth = digits.part(200, 210)
    assert fitted.correct_counts(query.rows(slice(0)), truth[:0], POINTS).tolist() == [0] * len(POINTS)
    assert fitted.correct_counts(query, truth, []).shape == (0,)


def test_what_cannot_be_counted_is_refused_and_leaves_alpha(fitted, digits):
    query, truth = digits.part(200, 210)
    with pytest.raises(ParameterError, match="got `beta`"):
        fitted.correct_counts(query, truth, [{"alpha": 5.0}, {"beta": 1}])
    assert fitted.alpha == 0.3
    with pytest.raises(ParameterError, match="`chunk_rows` must be a whole number above 0; got 0"):
        fitted.correct_counts(query, truth, POINTS, chunk_rows=0)
    with pytest.raises(NotFittedError):
        GDA().correct_counts(query, truth, POINTS)
    with pytest.raises(InvalidFeaturesError):
        fitted.correct_counts(query.with_prototypes(query.prototypes[::-1]), truth, POINTS)
