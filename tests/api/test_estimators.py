"""Adapters as scikit-learn estimators: labels of any kind, rows of any container, and what they refuse."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

import evenly
from evenly.adapters import ADAPTERS
from evenly.adapters.errors import InvalidFeaturesError, MissingFeaturesError, ParameterError
from evenly.adapters.features import Features, unit_rows
from evenly.estimators import WITHOUT_TEXTS, AdapterClassifier

NAMES = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
ESTIMATORS = {kind.__name__: getattr(evenly, kind.__name__) for kind in ADAPTERS.values()}
every_estimator = pytest.mark.parametrize("name", ESTIMATORS)
textless = pytest.mark.parametrize("name", [kind.__name__ for kind in WITHOUT_TEXTS])
CANNOT = {"check_estimators_dtypes": "it has a row of zeros, which has no direction"}


@pytest.fixture(scope="module")
def digits():
    """240 rows to learn from and 120 to judge, with names as labels, and a row per class that stands for its text."""
    raw = load_digits()
    rows, labels = raw.data, NAMES[raw.target]
    texts = {name: rows[1000:][labels[1000:] == name].mean(axis=0) for name in NAMES}
    return rows[:240], labels[:240], rows[240:360], labels[240:360], texts


def test_every_adapter_is_an_estimator_of_its_name():
    assert {*ESTIMATORS} <= {*evenly.__all__}
    assert {kind.method for kind in ESTIMATORS.values()} == {*ADAPTERS.values()}
    assert all(issubclass(kind, AdapterClassifier) for kind in ESTIMATORS.values())


@every_estimator
def test_hyper_parameters_and_words_are_those_of_the_adapter(name):
    estimator = ESTIMATORS[name]()
    assert estimator.get_params() == estimator.method().get_params()
    assert estimator.__doc__ == estimator.method.__doc__
    assert repr(estimator) == f"{name}()"


@every_estimator
def test_a_clone_has_the_values_and_nothing_learned(name):
    estimator = ESTIMATORS[name](logit_scale=7.0)
    twin = clone(estimator)
    assert twin is not estimator
    assert twin.get_params() == estimator.get_params()
    assert not hasattr(twin, "classes_")
    assert twin.set_params(logit_scale=8.0) is twin
    assert (twin.logit_scale, estimator.logit_scale) == (8.0, 7.0)
    assert repr(twin) == f"{name}(logit_scale=8.0)"


@textless
def test_scikit_learn_finds_nothing_wrong(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its checks warn of what they skip
        check_estimator(ESTIMATORS[name](), expected_failed_checks=CANNOT)


def test_an_unknown_parameter_or_a_value_out_of_range_is_named(digits):
    with pytest.raises(ParameterError, match=r"parameter of `GDA` must be one of alpha, .*; got `alhpa`"):
        evenly.GDA(alhpa=1.0)
    with pytest.raises(ParameterError, match=r"`alpha` must be a finite number of at least 0; got -1"):
        evenly.GDA(alpha=-1).fit(*digits[:2])


@textless
def test_labels_come_back_as_they_went_in(digits, name):
    X, y, judged, truth, _ = digits
    estimator = ESTIMATORS[name]().fit(X, y)
    assert list(estimator.classes_) == sorted(NAMES)
    assert set(estimator.predict(judged)) <= {*NAMES}
    assert estimator.score(judged, truth) == np.mean(estimator.predict(judged) == truth) > 0.4
    numbers = {name: number for number, name in enumerate(sorted(NAMES))}
    by_number = ESTIMATORS[name]().fit(X, np.array([numbers[label] for label in y]))
    assert [numbers[label] for label in estimator.predict(judged)] == by_number.predict(judged).tolist()


def test_probabilities_have_a_column_per_class_in_the_order_of_the_classes(digits):
    X, y, judged, _, _ = digits
    order = list(NAMES)
    gda = evenly.GDA().fit(X, y, classes=order)
    assert list(gda.classes_) == order
    by_alphabet = evenly.GDA().fit(X, y)
    chances = gda.predict_proba(judged)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    columns = [order.index(name) for name in by_alphabet.classes_]
    np.testing.assert_allclose(chances[:, columns], by_alphabet.predict_proba(judged), atol=1e-5)
    assert list(gda.classes_[chances.argmax(axis=1)]) == list(gda.predict(judged))
    assert gda.decision_function(judged).shape == (len(judged), 10)


def test_two_classes_have_one_decision_that_is_above_zero_for_the_second(digits):
    X, y, judged, _, _ = digits
    keep = np.isin(y, ["one", "two"])
    probe = evenly.LinearProbe().fit(X[keep], y[keep])
    decision = probe.decision_function(judged)
    assert decision.shape == (len(judged),)
    assert list(probe.predict(judged)) == list(np.where(decision > 0, "two", "one"))
    assert probe.predict_proba(judged).shape == (len(judged), 2)


def test_rows_are_an_array_a_list_or_a_data_frame_of_any_length(digits):
    X, y, judged, _, _ = digits
    wanted = evenly.GDA().fit(X, y).predict(judged)
    frame = pd.DataFrame(X, columns=[f"f{place}" for place in range(X.shape[1])])
    by_frame = evenly.GDA().fit(frame, pd.Series(y, dtype="category"))
    assert list(by_frame.feature_names_in_) == list(frame.columns)
    assert list(by_frame.predict(pd.DataFrame(judged, columns=frame.columns))) == list(wanted)
    assert list(evenly.GDA().fit(X.tolist(), y.tolist()).predict(judged.tolist())) == list(wanted)
    assert list(evenly.GDA().fit(3 * X.astype(np.float32), y).predict(judged)) == list(wanted)
    with pytest.raises(ValueError, match="feature names should match"):
        by_frame.predict(pd.DataFrame(judged, columns=frame.columns[::-1]))


def test_without_texts_the_answer_is_the_evidence_alone_and_with_texts_zero_shot_adds_to_it(digits):
    X, y, judged, _, texts = digits
    alone = evenly.GDA(alpha=1.0).fit(X, y)
    form = alone.adapter_.weight_, alone.adapter_.bias_
    evidence = unit_rows(judged).astype(np.float64) @ form[0].T + form[1]
    assert list(alone.predict(judged)) == list(alone.classes_[evidence.argmax(axis=1)])
    never = evenly.GDA(alpha=0.0).fit(X, y, prototypes=texts)
    zero_shot = evenly.ZeroShot().fit(X, y, prototypes=texts)
    np.testing.assert_allclose(never.decision_function(judged), zero_shot.decision_function(judged), rtol=1e-5)


def test_prototypes_are_a_dict_a_data_frame_or_an_array_in_the_order_of_classes(digits):
    X, y, judged, _, texts = digits
    by_dict = evenly.ZeroShot().fit(X, y, prototypes=texts)
    wanted = list(by_dict.predict(judged))
    assert list(by_dict.classes_) == list(NAMES)  # as the dict has them
    table = pd.DataFrame(texts).T
    assert list(evenly.ZeroShot().fit(X, y, prototypes=table).predict(judged)) == wanted
    backward = list(NAMES[::-1])
    array = np.array([texts[name] for name in backward])
    assert list(evenly.ZeroShot().fit(X, y, prototypes=array, classes=backward).predict(judged)) == wanted
    assert list(evenly.ZeroShot().fit(X, y, prototypes=texts, classes=backward).classes_) == backward


def test_a_class_without_rows_is_known_by_its_text(digits):
    X, y, judged, truth, texts = digits
    seen = y != "seven"
    zero_shot = evenly.ZeroShot().fit(X[seen], y[seen], prototypes=texts)
    assert "seven" in set(zero_shot.predict(judged))
    assert zero_shot.score(judged, truth) > 0.6
    probe = evenly.LinearProbe().fit(X[seen], y[seen], classes=list(NAMES))
    assert "seven" not in set(probe.predict(judged))
    assert (probe.predict_proba(judged)[:, list(NAMES).index("seven")] == 0).all()


@pytest.mark.parametrize("name", [name for name, kind in ESTIMATORS.items() if kind.method not in WITHOUT_TEXTS])
def test_what_builds_on_texts_asks_for_them(digits, name):
    with pytest.raises(MissingFeaturesError, match=rf"`{name}` must have a text row per class; got none"):
        ESTIMATORS[name]().fit(*digits[:2])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"prototypes": np.ones((10, 64))}, r"`classes` must name the class of each row of `prototypes`"),
        (
            {"prototypes": np.ones((9, 64)), "classes": list(NAMES)},
            r"must be 10 rows of 64 numbers.* got shape \(9, 64\)",
        ),
        (
            {"prototypes": {"zero": np.ones(64)}, "classes": list(NAMES)},
            r"must have a row for each class; got none for",
        ),
        ({"classes": ["zero", "one"]}, r"labels of the classes 'zero', 'one'; got '\w+' at row 2 "),
        ({"classes": [*NAMES, "zero"]}, r"`classes` must be labels, each once"),
    ],
)
def test_classes_and_texts_that_do_not_fit_are_said(digits, change, error):
    with pytest.raises(InvalidFeaturesError, match=error):
        evenly.GDA().fit(*digits[:2], **change)


def test_nan_and_rows_without_direction_are_refused_where_they_stand(digits):
    X, y, judged, _, _ = digits
    broken = X.copy()
    broken[[3, 8], 5] = np.nan
    with pytest.raises(InvalidFeaturesError, match=r"`X` must be finite; got NaN .* at row 3 \(2 such rows\)"):
        evenly.GDA().fit(broken, y)
    fitted, broken = evenly.GDA().fit(X, y), judged.copy()
    broken[2] = 0
    with pytest.raises(
        InvalidFeaturesError, match=r"`X` must have finite rows longer than 0; got length 0\.0 at row 2"
    ):
        fitted.predict(broken)


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        (lambda y: y[:-1], r"`y` must hold one label per row, 240; got 239"),
        (lambda y: [None, *y[1:]], r"got None or NaN at row 0 \(1 such rows\)"),
        (lambda y: pd.Series(y).where(y != "one"), r"got None or NaN at row 1 "),
        (lambda y: np.array([1, *y[1:]], dtype=object), r"`y` must hold labels of one type; got int and str"),
        (lambda y: ["one"] * len(y), r"`y` must hold at least 2 classes; got 1 class"),
        (lambda y: np.linspace(0, 1, len(y)), r"Unknown label type: continuous"),
    ],
)
def test_labels_that_are_none_are_refused(digits, labels, error):
    X, y = digits[:2]
    with pytest.raises(ValueError, match=error):
        evenly.GDA().fit(X, labels(y))


def test_other_columns_than_at_fit_and_a_fit_that_is_missing_are_told(digits):
    X, y, judged, _, _ = digits
    with pytest.raises(ValueError, match="X has 63 features, but GDA is expecting 64"):
        evenly.GDA().fit(X, y).predict(judged[:, 1:])
    with pytest.raises(NotFittedError, match="This GDA instance is not fitted yet"):
        evenly.GDA().predict(judged)


def test_searches_and_pipelines_of_scikit_learn_take_them(digits):
    X, y, _, _, texts = digits
    assert cross_val_score(evenly.LinearProbe(C=100.0), X, y, cv=3).mean() > 0.8
    zero_shot = cross_val_score(evenly.ZeroShot(), X, y, cv=3, params={"prototypes": texts})
    assert zero_shot.mean() > 0.6
    search = GridSearchCV(evenly.Tip(), {"beta": [1.0, 40.0]}, cv=3).fit(X, y)
    assert search.best_params_ == {"beta": 40.0}
    line = make_pipeline(FunctionTransformer(np.sqrt), evenly.GDA()).fit(X, y)
    assert line.score(X, y) > 0.9


def test_a_record_of_features_brings_what_a_method_needs_besides(digits):
    X, y, judged, truth, texts = digits
    order = list(NAMES)
    shared = {"prototypes": unit_rows(np.array([texts[name] for name in order]))}
    train = Features(image=unit_rows(X), second=unit_rows(X[:, :32] + 1), **shared)
    test = Features(image=unit_rows(judged), second=unit_rows(judged[:, :32] + 1), **shared)
    amu = evenly.AMU().fit(train, y, classes=order)
    assert amu.score(test, truth) > 0.6
    with pytest.raises(MissingFeaturesError, match=r"`AMU` must hold .*`second`"):
        amu.predict(judged)
    with pytest.raises(InvalidFeaturesError, match=r"`classes` must name the class of each row"):
        evenly.AMU().fit(train, y)


def test_lengths_of_rows_reach_the_method_that_uses_them(digits):
    X, y, judged, truth, texts = digits
    assert evenly.Cooked().fit(X, y, prototypes=texts).score(judged, truth) > 0.7


def test_a_fallback_is_said_and_kept(digits):
    X, _, _, _, texts = digits
    with pytest.warns(UserWarning, match=r"LinearProbe: zero-shot: a linear probe needs 2 classes with images; got 1"):
        probe = evenly.LinearProbe().fit(X[:3], ["one"] * 3, prototypes=texts)
    assert probe.fallback_.startswith("zero-shot")
