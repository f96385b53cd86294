"""The ranking head: where it starts, what it minimises, and when the order of the texts stays."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.errors import InvalidFeaturesError, MissingFeaturesError, NotFittedError, ParameterError
from evenly.adapters.evaluation.measures.rank_measures import rank_measures, spearman
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.ranking import STRENGTHS, RankingHead, tune_ranking

SMALL, LARGE = 1, 8


@pytest.fixture
def graded(digits):
    """Digits graded by their number; the texts of the ends are pictures of a small and of a large number."""
    ends = digits.prototypes["names"][[SMALL, LARGE]]
    return digits.features.with_prototypes(ends), digits.labels.astype(float)


def made(n, d=5, seed=0):
    generator = np.random.default_rng(seed)
    features = Features(
        image=unit_rows(generator.normal(size=(n, d))), prototypes=unit_rows(generator.normal(size=(2, d)))
    )
    return features, generator.normal(size=n).round(1)


def naive_loss(weight, head, image, values):
    """The loss of the docstring, all pairs one by one."""
    scores = image @ weight
    pairs = [(i, j) for i in range(len(values)) for j in range(len(values)) if values[i] > values[j]]
    logistic = np.mean([np.log1p(np.exp(-(scores[i] - scores[j]))) for i, j in pairs])
    along = image @ head.direction_
    pull = weight - max(along @ values / (along @ along), 0) * head.direction_
    return np.mean((scores - values) ** 2) / 2 + head.pair_weight * logistic + head.strength / 2 * pull @ pull


@pytest.mark.parametrize("ends", [1, 2])
def test_without_graded_images_the_order_is_that_of_the_texts(graded, ends):
    features, _ = graded
    texts = features.prototypes[:ends].astype(float)
    direction = texts[0] if ends == 1 else texts[1] - texts[0]
    head = RankingHead().fit(features.with_prototypes(features.prototypes[:ends]).rows(slice(0)), np.empty(0))
    assert head.fallback_ == "text order: ranking needs images of 2 different values; got 0"
    expected = features.image @ (direction / np.linalg.norm(direction))
    np.testing.assert_allclose(head.score(features), expected, atol=1e-12)
    assert np.array_equal(head.score(features)[head.order(features)], np.sort(head.score(features))[::-1])


def test_equal_values_keep_the_order_of_the_texts(graded):
    features, _ = graded
    text = RankingHead().fit(features.rows(slice(0)), np.empty(0))
    head = RankingHead().fit(features.rows(slice(20)), np.full(20, 3.0))
    assert head.fallback_.endswith("got 1")
    assert np.array_equal(head.score(features), text.score(features))


@pytest.mark.parametrize("pair_weight", [0.0, 1.0, 5.0])
def test_it_minimises_the_loss_it_states(pair_weight):
    from scipy.optimize import minimize

    features, values = made(12)
    head = RankingHead(strength=0.1, pair_weight=pair_weight).fit(features, values)
    image = features.image.astype(float)
    image -= image.mean(axis=0)
    standard = (values - values.mean()) / values.std()
    found = minimize(naive_loss, np.zeros(5), args=(head, image, standard), method="BFGS")
    own = naive_loss(head.weight_ / values.std(), head, image, standard)
    assert own <= found.fun + 1e-9
    np.testing.assert_allclose(head.score(features).mean(), values.mean(), atol=1e-9)


def test_without_pairs_it_is_ridge_regression_towards_the_text():
    features, values = made(40)
    head = RankingHead(strength=0.3, pair_weight=0.0).fit(features, values)
    image = features.image.astype(float) - features.image.astype(float).mean(axis=0)
    standard = (values - values.mean()) / values.std()
    along = image @ head.direction_
    anchor = max(along @ standard / (along @ along), 0) * head.direction_
    covariance = image.T @ image / 40 + 0.3 * np.eye(5)
    ridge = anchor + np.linalg.solve(covariance, image.T @ (standard - image @ anchor) / 40)
    np.testing.assert_allclose(head.weight_, values.std() * ridge, atol=1e-5)


def test_a_great_strength_gives_the_order_of_the_texts(graded):
    features, values = graded
    some = features.rows(slice(100))
    text = RankingHead().fit(some.rows(slice(0)), np.empty(0)).score(features)
    assert spearman(text[:100], values[:100]) > 0.1
    head = RankingHead(strength=1e9).fit(some, values[:100])
    assert spearman(head.score(features), text) == pytest.approx(1, abs=1e-6)


def test_texts_that_order_backwards_are_not_an_anchor(graded):
    features, values = graded
    backwards = features.with_prototypes(features.prototypes[::-1]).rows(slice(100))
    head = RankingHead(strength=1e9).fit(backwards, values[:100])
    assert np.abs(head.weight_).max() < 1e-6


def test_the_order_of_the_rows_does_not_matter(graded):
    features, values = graded
    mixed = np.random.default_rng(0).permutation(150)
    straight = RankingHead(neighbours=10).fit(features.rows(slice(150)), values[:150]).score(features)
    moved = RankingHead(neighbours=10).fit(features.rows(mixed), values[mixed]).score(features)
    np.testing.assert_allclose(moved, straight, atol=1e-3)


def test_equal_scores_are_ordered_by_the_row_and_not_by_its_place(graded):
    features, _ = graded
    head = RankingHead().fit(features.rows(slice(0)), np.empty(0))
    head.weight_ = np.zeros(64)
    some = features.rows(slice(50))
    mixed = np.random.default_rng(1).permutation(50)
    assert np.array_equal(some.image[head.order(some)], some.image[mixed][head.order(some.rows(mixed))])


def test_graded_images_improve_the_order_of_real_digits(graded):
    features, values = graded
    tuned = tune_ranking(features.rows(slice(300)), values[:300], features.rows(slice(300, 500)), values[300:500])
    assert not tuned.kept_text
    assert tuned.strength in STRENGTHS
    assert tuned.curve["strength"].tolist() == list(STRENGTHS)
    assert tuned.validation_spearman == tuned.curve["validation_spearman"].max() > tuned.text_spearman
    assert tuned.why.startswith("Spearman 0.")
    rest = features.rows(slice(500, 1700))
    text = RankingHead().fit(rest.rows(slice(0)), np.empty(0))
    found = [rank_measures(head.score(rest), values[500:1700]) for head in (text, tuned.head)]
    assert found[1].spearman > found[0].spearman + 0.2
    assert found[1].pairwise_accuracy > found[0].pairwise_accuracy + 0.1


@pytest.mark.parametrize("case", ["perfect texts", "no validation", "equal validation values", "no graded images"])
def test_the_order_of_the_texts_stays_where_validation_shows_no_gain(graded, case):
    features, values = graded
    train, validation = features.rows(slice(100)), features.rows(slice(100, 200))
    text = RankingHead().fit(train.rows(slice(0)), np.empty(0))
    given = {"perfect texts": text.score(validation), "equal validation values": np.ones(100)}
    judged = given.get(case, values[100:200])
    if case == "no validation":
        validation, judged = validation.rows(slice(0)), np.empty(0)
    if case == "no graded images":
        train = train.rows(slice(0))
    tuned = tune_ranking(train, values[: len(train)], validation, judged)
    assert tuned.kept_text
    assert tuned.strength is None
    assert tuned.why.startswith("text order kept: ")
    assert np.array_equal(tuned.head.score(features), text.score(features))


def test_pairs_are_limited(digits):
    features = digits.features.with_prototypes(digits.prototypes["names"][:2]).rows(slice(1000))
    head = RankingHead(neighbours=3).fit(features, digits.labels[:1000].astype(float))
    assert np.isfinite(head.score(features)).all()
    assert spearman(head.score(features), digits.labels[:1000]) > 0.5


def test_images_of_another_encoder_or_before_a_fit_are_refused(graded):
    features, values = graded
    with pytest.raises(NotFittedError, match="`RankingHead` must be fitted before it scores"):
        RankingHead().score(features)
    head = RankingHead().fit(features.rows(slice(30)), values[:30])
    with pytest.raises(InvalidFeaturesError, match="dimension 64, as at `fit`; got 60"):
        head.score(Features(image=unit_rows(features.image[:, :60])))
    with pytest.raises(InvalidFeaturesError, match="`encoder` must be `pixels`, as at `fit`; got `other`"):
        head.score(replace(features, encoder="other"))


def test_texts_that_give_no_direction_are_refused(digits, graded):
    features, values = graded
    with pytest.raises(InvalidFeaturesError, match="must be one text, or two for low and high; got 10"):
        RankingHead().fit(features.with_prototypes(digits.prototypes["names"]), values)
    with pytest.raises(InvalidFeaturesError, match="`prototypes` must differ from low to high"):
        RankingHead().fit(features.with_prototypes(features.prototypes[[0, 0]]), values)
    with pytest.raises(MissingFeaturesError, match="`RankingHead` must hold `prototypes`"):
        RankingHead().fit(replace(features, prototypes=None), values)


@pytest.mark.parametrize(
    ("parameters", "values", "error", "message"),
    [
        ({"strength": 0}, np.ones(5), ParameterError, "`strength` must be a finite number above 0; got 0"),
        ({"pair_weight": -1}, np.ones(5), ParameterError, "`pair_weight` must be a finite number of at least 0"),
        ({"neighbours": 0}, np.ones(5), ParameterError, "`neighbours` must be a whole number above 0; got 0"),
        ({}, np.ones(4), InvalidFeaturesError, r"`values` must hold one number per image, shape \(5,\)"),
        ({}, np.full(5, np.inf), InvalidFeaturesError, "`values` must be finite; got inf at row 0"),
    ],
)
def test_bad_parameters_and_values_are_refused(graded, parameters, values, error, message):
    with pytest.raises(error, match=message):
        RankingHead(**parameters).fit(graded[0].rows(slice(5)), values)
