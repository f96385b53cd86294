"""Counting over a grid of weights without logits, against the argmax of the logits."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.features import unit_rows
from evenly.adapters.forms.cache_counts import Weights, answers_over, contest, even_runs, grid_counts
from evenly.adapters.forms.key_cache import key_columns
from evenly.adapters.methods.tip import PUBLISHED_MAXIMA, published_grid

ALPHAS = np.array([0.0, 0.1, 0.5, 1.0, 2.0, 7.5])


def counted(base, evidence, labels, alphas):
    return [np.count_nonzero((base + alpha * evidence).argmax(axis=1) == labels) for alpha in alphas]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), m=st.integers(1, 20), c=st.integers(1, 8))
def test_wins_equal_the_argmax_at_each_alpha(seed, m, c):
    generator = np.random.default_rng(seed)
    base, evidence = generator.normal(size=(m, c)), generator.normal(size=(m, c))
    labels = generator.integers(c, size=m)
    assert contest(base, labels).wins(evidence, ALPHAS).tolist() == counted(base, evidence, labels, ALPHAS)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), c=st.integers(1, 6))
def test_of_exactly_equal_lines_the_earlier_class_wins(seed, c):
    generator = np.random.default_rng(seed)
    # Small whole numbers tie often; alphas of which no quotient of them is the inverse leave ties of whole lines only.
    base, evidence = generator.integers(3, size=(50, c)) * 1.0, generator.integers(3, size=(50, c)) * 1.0
    labels = generator.integers(c, size=50)
    alphas = np.array([0.0, np.pi / 10, np.pi / 3, np.pi])
    assert contest(base, labels).wins(evidence, alphas).tolist() == counted(base, evidence, labels, alphas)


@pytest.mark.parametrize("betas", [np.linspace(0.1, 7, 200), np.linspace(1, 50.755, 200)])
def test_the_recurrence_stays_within_four_roundings_a_step(betas):
    keys = unit_rows(np.random.default_rng(0).normal(size=(40, 8)))
    columns = key_columns(keys, np.arange(40) % 5, n_classes=5)
    gaps = columns.gaps(unit_rows(np.random.default_rng(1).normal(size=(6, 8))))
    runs = even_runs(betas.tolist())
    assert len(runs) == 1
    for step, (beta, answers) in enumerate(answers_over(columns, gaps, betas.tolist())):
        exact = np.exp(np.longdouble(beta) * gaps.astype(np.longdouble))
        # Besides the products: the exponent's own rounding, and the spacing of the betas that are not quite even.
        bound = (4 * (step + 1) + 2 * beta) * 2.0**-53 + 2 * 1e-11
        assert (np.abs(answers - exact) <= bound * exact).all()
        assert np.abs(answers / exact - 1).max() < 1e-12


@pytest.mark.parametrize("maxima", PUBLISHED_MAXIMA.values(), ids=PUBLISHED_MAXIMA)
def test_the_betas_of_every_published_grid_are_one_run(maxima):
    grid = published_grid(max_beta=maxima[0], max_alpha=maxima[1])
    assert even_runs(grid.parameters["beta"]) == [list(grid.parameters["beta"])]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 30), unique=True).map(sorted))
def test_runs_are_even_and_leave_nothing_out(betas):
    runs = even_runs(betas)
    assert list(itertools.chain(*runs)) == betas
    assert all(len(run) != 2 and len({Fraction(b) - a for a, b in itertools.pairwise(run)}) <= 1 for run in runs)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), betas=st.lists(st.floats(0, 12), min_size=1, max_size=6))
def test_counts_over_a_grid_equal_those_of_its_logits(seed, betas):
    generator = np.random.default_rng(seed)
    labels = generator.integers(4, size=30)
    columns = key_columns(unit_rows(generator.normal(size=(30, 5))), labels, n_classes=6)
    image, truth = unit_rows(generator.normal(size=(40, 5))), generator.integers(6, size=40)
    base, further = 3 * generator.normal(size=(40, 6)), generator.normal(size=(40, 6))
    points = [Weights(alpha, beta, gamma) for beta in betas for gamma in (0.0, 0.7) for alpha in (0.0, 0.4, 3.0)]
    expected = [
        np.count_nonzero(
            (base + point.alpha * columns.evidence(image, point.beta) + point.gamma * further).argmax(axis=1) == truth
        )
        for point in points
    ]
    assert grid_counts(columns, image, truth, points, base=base, further=further).tolist() == expected


def test_counts_do_not_depend_on_the_size_of_the_blocks(monkeypatch):
    generator = np.random.default_rng(3)
    columns = key_columns(unit_rows(generator.normal(size=(30, 5))), np.arange(30) % 6, n_classes=6)
    image, truth = unit_rows(generator.normal(size=(50, 5))), generator.integers(6, size=50)
    base, points = 3 * generator.normal(size=(50, 6)), [Weights(1.0, beta / 7) for beta in range(20)]
    none = np.zeros_like(base)
    whole = grid_counts(columns, image, truth, points, base=base, further=none)
    monkeypatch.setattr("evenly.adapters.forms.cache_counts.BLOCK_ENTRIES", 100)
    assert np.array_equal(grid_counts(columns, image, truth, points, base=base, further=none), whole)
