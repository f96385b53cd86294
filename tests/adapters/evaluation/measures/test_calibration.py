import numpy as np
import pytest

from evenly.adapters.errors import InvalidFeaturesError, ParameterError
from evenly.adapters.evaluation.measures.calibration import (
    calibration,
    fit_temperature,
    log_likelihood_loss,
    reliability,
)
from evenly.adapters.evaluation.measures.classification import expected_calibration_error, softmax


def drawn(temperature: float, n: int = 4000, seed: int = 0):
    """Logits whose labels are drawn from softmax(logits / temperature)."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, 6)) * 2 * temperature
    odds = softmax(logits / temperature)
    return logits, (odds.cumsum(axis=1) < generator.random(n)[:, None]).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.02, 0.5, 1, 3, 100])
def test_the_temperature_that_made_the_labels_is_found(temperature):
    assert fit_temperature(*drawn(temperature)).value == pytest.approx(temperature, rel=0.06)


def test_no_other_temperature_is_likelier():
    logits, labels = drawn(2.5, n=300)
    found = fit_temperature(logits, labels).value
    best = log_likelihood_loss(logits / found, labels)
    for other in np.geomspace(0.01, 100, 200):
        assert log_likelihood_loss(logits / other, labels) >= best - 1e-10


def test_likelihood_loss_equals_scikit_learns():
    from sklearn.metrics import log_loss

    logits, labels = drawn(1.0, n=200)
    expected = log_loss(labels, softmax(logits), labels=np.arange(6))
    assert log_likelihood_loss(logits, labels) == pytest.approx(expected)


def test_float32_logits_and_shifts_change_nothing():
    logits, labels = drawn(2.0, n=500)
    found = fit_temperature(logits, labels).value
    assert fit_temperature(logits.astype(np.float32), labels).value == pytest.approx(found, rel=1e-3)
    assert fit_temperature(logits + 1e3, labels).value == pytest.approx(found, rel=1e-3)


def test_calibration_lowers_the_error_of_overconfident_rows():
    logits, labels = drawn(4.0)
    found = calibration(logits[2000:], labels[2000:], validation_logits=logits[:2000], validation_labels=labels[:2000])
    assert found.temperature == fit_temperature(logits[:2000], labels[:2000])
    assert not found.temperature.why
    assert (found.validation_rows, found.n) == (2000, 2000)
    assert found.error == expected_calibration_error(softmax(logits[2000:]), labels[2000:])
    assert found.error > 0.2
    assert found.error_calibrated < 0.05
    assert found.likelihood_loss_calibrated < found.likelihood_loss


@pytest.mark.parametrize(
    ("logits", "labels", "why"),
    [
        (np.empty((0, 3)), [], "undetermined: no validation rows"),
        (np.ones((5, 3)), [0, 1, 2, 0, 1], "undetermined: all logits of each of the 5 validation rows are equal"),
        (np.eye(3), [0, 1, 2], "undetermined: all 3 validation rows are right, so the smaller the likelier"),
        (np.eye(3), [1, 2, 0], "undetermined: the likeliest lies beyond 1000, the end of the search"),
        (np.array([[1e-5, 0], [1e-5, 0], [0, 1e-5]]), [0, 0, 0], "undetermined: the likeliest lies below 0.001"),
    ],
    ids=["no rows", "flat rows", "all right", "all wrong", "tiny logits"],
)
def test_rows_without_a_likeliest_temperature_are_said_to_have_none(logits, labels, why):
    labels = np.array(labels, dtype=np.int64)
    found = calibration(logits, labels, validation_logits=logits, validation_labels=labels)
    assert np.isnan(found.temperature.value)
    assert np.isnan(found.error_calibrated)
    assert found.temperature.why.startswith(why)


def test_a_class_that_is_ruled_out_has_no_say_in_the_temperature():
    logits, labels = drawn(2.5)
    logits[:, 4] = -1e4
    others = labels != 4
    ruled_out = np.arange(6) == 4
    found = fit_temperature(logits, labels, ruled_out=ruled_out)
    without = fit_temperature(logits[others][:, ~ruled_out], labels[others] - (labels[others] > 4))
    assert found == without
    assert found.value == pytest.approx(2.5, rel=0.1)
    assert fit_temperature(logits, labels).why.startswith("undetermined: the likeliest lies beyond 1000")
    alone = fit_temperature(logits[~others], labels[~others], ruled_out=ruled_out)
    assert alone.why.startswith("undetermined: no validation rows of the classes that have training rows")


def test_the_diagram_adds_up_to_the_calibration_error():
    logits, labels = drawn(4.0, n=700)
    table = reliability(softmax(logits), labels)
    assert len(table) == 15
    assert table["n"].sum() == 700
    expected = (table["gap"].abs() * table["n"]).sum() / 700
    assert expected_calibration_error(softmax(logits), labels) == pytest.approx(expected)


def test_the_diagram_equals_scikit_learns_curve():
    from sklearn.calibration import calibration_curve

    logits, labels = drawn(4.0, n=700)
    probabilities = softmax(logits)
    right = probabilities.argmax(axis=1) == labels
    share, confidence = calibration_curve(right, probabilities.max(axis=1), n_bins=15)
    table = reliability(probabilities, labels).dropna()
    np.testing.assert_allclose(table["accuracy"], share)
    np.testing.assert_allclose(table["confidence"], confidence)


def test_empty_bins_are_nan_and_no_rows_are_no_error():
    table = reliability(np.array([[0.9, 0.1]]), np.array([0]), bins=5)
    assert table["n"].tolist() == [0, 0, 0, 0, 1]
    assert table["accuracy"].isna().tolist() == [True] * 4 + [False]
    assert reliability(np.empty((0, 2)), np.empty(0, np.int64))["n"].sum() == 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(InvalidFeaturesError, match="`labels` must lie in 0 to 2; got 3"):
        fit_temperature(np.zeros((1, 3)), np.array([3]))
    with pytest.raises(ParameterError, match="`bins` must be at least 1; got 0"):
        reliability(np.zeros((0, 2)), np.empty(0, np.int64), bins=0)
