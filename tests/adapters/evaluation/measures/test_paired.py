import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import ParameterError, SplitError
from evenly.adapters.evaluation.measures.bootstrap import paired_bootstrap
from evenly.adapters.evaluation.measures.paired import holm, mcnemar, paired_tests

GENERATOR = np.random.default_rng(0)
BASE = GENERATOR.random(300) < 0.7
CORRECT = {
    "base": BASE,
    "same": BASE,
    "better": BASE | (GENERATOR.random(300) < 0.3),
    "other": GENERATOR.random(300) < 0.7,
}


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (0, 5), (3, 12), (10, 10), (40, 71)])
def test_mcnemar_is_the_two_sided_exact_binomial_test(only_a, only_b):
    from scipy.stats import binom

    a = np.r_[np.ones(only_a), np.zeros(only_b), np.ones(7), np.zeros(3)]
    b = np.r_[np.zeros(only_a), np.ones(only_b), np.ones(7), np.zeros(3)]
    found = mcnemar(a, b)
    assert (found.only_a, found.only_b) == (only_a, only_b)
    assert found.p_value == pytest.approx(min(1, 2 * binom.cdf(min(only_a, only_b), only_a + only_b, 0.5)))
    assert mcnemar(b, a).p_value == found.p_value


def test_mcnemar_rejects_a_true_null_no_more_often_than_it_says():
    generator = np.random.default_rng(1)
    p_values = [mcnemar(*(generator.random((2, 60)) < 0.6)).p_value for _ in range(400)]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.06


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_equals_the_definition(p_values):
    ordered = sorted(p_values)
    expected = {p: min(1, max((len(ordered) - i) * q for i, q in enumerate(ordered) if q <= p)) for p in p_values}
    np.testing.assert_allclose(holm(p_values), [expected[p] for p in p_values])


def test_holm_of_a_textbook_case():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


def test_every_pair_has_one_row_with_its_own_numbers():
    table = paired_tests(CORRECT, seed=0, n=300)
    assert list(zip(table["a"], table["b"], strict=True)) == [
        ("base", "same"), ("base", "better"), ("base", "other"), ("same", "better"), ("same", "other"),
        ("better", "other"),
    ]  # fmt: skip
    for _, row in table.iterrows():
        a, b = CORRECT[row["a"]], CORRECT[row["b"]]
        assert (row["only_a"], row["only_b"], row["p_value"]) == mcnemar(a, b)
        alone = paired_bootstrap(a, b, seed=0, n=300)
        np.testing.assert_allclose([row["difference"], row["low"], row["high"]], alone, atol=1e-12)
    np.testing.assert_array_equal(table["p_holm"], holm(table["p_value"]))
    assert (table["n"] == 300).all()


def test_groups_widen_the_interval_and_not_mcnemar():
    groups = np.arange(300) // 10
    table = paired_tests({"a": BASE, "b": np.roll(BASE, 10)}, seed=0, groups=groups)
    alone = paired_bootstrap(BASE, np.roll(BASE, 10), seed=0, groups=groups)
    np.testing.assert_allclose(table.loc[0, ["difference", "low", "high"]].to_numpy(float), alone, atol=1e-12)
    assert table.loc[0, "groups"] == 30
    assert table.loc[0, "p_value"] == mcnemar(BASE, np.roll(BASE, 10)).p_value


def test_a_classifier_against_its_double_shows_nothing():
    row = paired_tests({"a": BASE, "b": BASE}, seed=0).iloc[0]
    assert tuple(row[["difference", "low", "high", "p_value", "p_holm"]]) == (0, 0, 0, 1, 1)


@pytest.mark.parametrize("correct", [{}, {"only": BASE}])
def test_fewer_than_two_have_no_pairs(correct):
    table = paired_tests(correct, seed=0, n=10)
    assert table.empty
    assert "p_holm" in table


def test_no_rows_give_nan():
    row = paired_tests({"a": [], "b": []}, seed=0, n=10).iloc[0]
    assert np.isnan(row["difference"])
    assert row["p_value"] == 1


def test_what_does_not_fit_is_refused():
    with pytest.raises(SplitError, match="`correct_b` must have the shape"):
        mcnemar([1], [1, 0])
    with pytest.raises(SplitError, match=r"`correct` must hold arrays of one length; got \{'a': \(1,\), 'b': \(2,\)\}"):
        paired_tests({"a": [1], "b": [1, 0]}, seed=0)
    with pytest.raises(ParameterError, match="`p_values` must be numbers of 0 to 1"):
        holm([0.5, float("nan")])
