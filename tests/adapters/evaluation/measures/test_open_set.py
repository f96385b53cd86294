import numpy as np
import pytest

from evenly.adapters.errors import ParameterError
from evenly.adapters.evaluation.measures.rejection import open_set, open_set_h


@pytest.mark.parametrize(
    ("closed", "opened", "h"), [(0.8, 0.4, 0.64 / 1.2), (1, 1, 1), (0, 0, 0), (0.9, 0, 0), (0.5, 0.5, 0.5)]
)
def test_h_is_the_harmonic_mean(closed, opened, h):
    assert open_set_h(closed, opened) == pytest.approx(h)
    assert open_set_h(opened, closed) == pytest.approx(h)


def test_a_rejected_known_row_is_wrong_and_an_accepted_unknown_row_too():
    labels = np.array([0, 0, 1, 1, -1, -1, -1])
    found = open_set(np.array([0, -1, 1, 0, -1, 1, 0]), labels, unknown=-1)
    assert found.closed == 0.5
    assert found.opened == pytest.approx(1 / 3)
    assert found.h == pytest.approx(open_set_h(0.5, 1 / 3))


def test_no_rows_of_a_kind_give_nan():
    found = open_set(np.array([0]), np.array([0]), unknown=9)
    assert found.closed == 1
    assert np.isnan([found.opened, found.h]).all()


def test_negative_accuracies_are_refused():
    with pytest.raises(ParameterError, match=r"accuracies must be at least 0; got -0.1 and 1"):
        open_set_h(-0.1, 1)
