import numpy as np
import pytest

from evenly.adapters.errors import ParameterError
from evenly.adapters.evaluation.measures.effective_robustness import (
    effective_robustness,
    fit_logit_line,
    lines_per_source,
    logit,
)

ACCURACY = np.array([0.3, 0.45, 0.6, 0.72, 0.8])
ON_LINE = 1 / (1 + np.exp(-(-0.7 + 0.9 * logit(ACCURACY))))
NAMES = [*"abcde"]


def test_logit_equals_scipys_and_has_no_value_at_the_ends():
    from scipy.special import logit as scipys

    np.testing.assert_allclose(logit(ACCURACY), scipys(ACCURACY))
    assert np.isnan(logit([0, 1, float("nan")])).all()


def test_the_line_equals_scipys_regression_on_logits():
    from scipy.stats import linregress

    shifted = ON_LINE + np.array([0.01, -0.02, 0.015, 0, -0.01])
    line, expected = fit_logit_line(ACCURACY, shifted), linregress(logit(ACCURACY), logit(shifted))
    assert line.slope == pytest.approx(expected.slope)
    assert line.intercept == pytest.approx(expected.intercept)
    assert line.r_squared == pytest.approx(expected.rvalue**2)
    assert line.n == 5


def test_models_on_the_line_have_no_effective_robustness():
    table, line = effective_robustness(NAMES, ACCURACY, ON_LINE)
    assert (line.slope, line.intercept, line.r_squared) == pytest.approx((0.9, -0.7, 1))
    np.testing.assert_allclose(table["effective_robustness"], 0, atol=1e-12)
    np.testing.assert_allclose(table["expected"], ON_LINE)


def test_the_residual_is_measured_from_the_line_of_the_baselines():
    robust, usual = 0.75, 0.7
    table, line = effective_robustness([*NAMES, "robust"], [*ACCURACY, usual], [*ON_LINE, robust], baselines=NAMES)
    row = table.iloc[-1]
    assert not row["baseline"]
    assert row["effective_robustness"] == pytest.approx(robust - line.expected(usual))
    assert row["residual"] == pytest.approx(logit(robust) - (-0.7 + 0.9 * logit(usual)))
    pulled, _ = effective_robustness([*NAMES, "robust"], [*ACCURACY, usual], [*ON_LINE, robust])
    assert 0 < pulled.iloc[-1]["effective_robustness"] < row["effective_robustness"]


def test_an_accuracy_of_0_or_1_is_named_and_leaves_the_fit():
    table, line = effective_robustness([*NAMES, "none"], [*ACCURACY, 0.0], [*ON_LINE, 0.2])
    assert line.n == 5
    assert table["state"].tolist() == [""] * 5 + ["an accuracy of 0 or 1 has no logit"]
    assert table["effective_robustness"].isna().tolist() == [False] * 5 + [True]
    assert not table["baseline"].iloc[-1]


@pytest.mark.parametrize("accuracy", [[], [0.5], [0.5, 0.5]])
def test_too_few_models_have_no_line(accuracy):
    names = NAMES[: len(accuracy)]
    table, line = effective_robustness(names, accuracy, accuracy)
    assert np.isnan([line.slope, line.intercept, line.r_squared]).all()
    assert table["effective_robustness"].isna().all()
    assert set(table["state"]) <= {"no line: too few baselines"}


def test_each_source_has_its_line():
    other = 1 / (1 + np.exp(-(0.2 + 1.1 * logit(ACCURACY))))
    table = lines_per_source(["web"] * 5 + ["books"] * 5, [*ACCURACY, *ACCURACY], [*ON_LINE, *other])
    assert table["source"].tolist() == ["books", "web"]
    np.testing.assert_allclose(table["slope"], [1.1, 0.9])
    np.testing.assert_allclose(table["intercept"], [0.2, -0.7])
    assert table["models"].tolist() == [5, 5]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ParameterError, match="`baselines` must be among the models; got `z`"):
        effective_robustness(NAMES, ACCURACY, ON_LINE, baselines=["z"])
    with pytest.raises(ParameterError, match=r"must hold one value per model, \(5,\)"):
        effective_robustness(NAMES, ACCURACY[:2], ON_LINE)
    with pytest.raises(ParameterError, match="`shifted` must hold one accuracy per model"):
        fit_logit_line(ACCURACY, ON_LINE[:2])
