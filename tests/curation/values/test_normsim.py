"""NormSim against its equation."""

import numpy as np
import pytest

from evenly.curation.errors import RuleError
from evenly.curation.values.normsim import NormSim, Target
from tests.curation.values.test_negclip_loss import at, unit


def by_the_equation(rows, target, p):
    cosines = rows.astype(np.float64) @ target.astype(np.float64).T
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)[:, None] * np.linalg.norm(target.astype(float), axis=1)
    return np.linalg.norm(cosines / lengths, ord=p, axis=1)


@pytest.mark.parametrize(("norm", "p"), [(2, 2), ("inf", np.inf)])
def test_a_value_is_the_norm_of_the_cosines_with_the_target(norm, p):
    rows, target = unit(300, seed=1), unit(70, seed=2)
    values = Target.of(target, NormSim(target="t", norm=norm)).norms(rows)
    assert np.allclose(values, by_the_equation(rows, target, p), atol=1e-6)


@pytest.mark.parametrize(
    ("norm", "expected"), [(2, [1, 1.1584559, 0.9396926]), ("inf", [0.9848078, 0.8191520, 0.9396926])]
)
def test_three_pictures_in_the_plane_have_these_values(norm, expected):
    """As the authors' code gives them; one is nearest to the opposite of a target."""
    values = Target.of(at(80, 190), NormSim(target="t", norm=norm)).norms(at(0, 45, 100))
    assert values == pytest.approx(expected, abs=2e-7)


def test_the_2_norm_is_the_root_of_the_variance_alignment_score():
    rows, target = unit(30, seed=1).astype(np.float64), unit(70, seed=2).astype(np.float64)
    rows, target = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (rows, target))
    scores = [row @ sum(np.outer(one, one) for one in target) @ row for row in rows]
    values = Target.of(target.astype(np.float32), NormSim(target="t")).norms(rows.astype(np.float32))
    assert np.allclose(values**2, scores, atol=1e-5)


@pytest.mark.parametrize("norm", [2, "inf"])
def test_a_value_does_not_depend_on_the_rows_beside_it(norm):
    rows, target = unit(3000, seed=1), unit(50, seed=2)
    of = Target.of(target, NormSim(target="t", norm=norm))
    alone = np.concatenate([of.norms(rows[start : start + 7]) for start in range(0, 3000, 7)])
    assert np.allclose(alone, of.norms(rows), rtol=0, atol=1e-12)


def test_another_norm_is_refused():
    with pytest.raises(RuleError, match="`norm` must be one of 2, inf; got 3"):
        NormSim(target="t", norm=3)
