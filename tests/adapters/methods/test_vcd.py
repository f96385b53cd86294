"""Classification by description: the three aggregates, classes without texts, and what the explanation says."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from evenly.adapters.errors import InvalidFeaturesError, ParameterError
from evenly.adapters.features import Features
from evenly.adapters.methods import vcd
from evenly.adapters.methods.vcd import DescribedClasses
from evenly.adapters.methods.zero_shot import ZeroShot

AGGREGATES = ("mean_similarity", "mean_embedding", "max")


def fitted(digits, *, aggregate="mean_similarity", keep=None):
    """An adapter and its record, with the class texts of `keep` only, in an order that mixes the classes."""
    features, labels = digits.complete(0, 5)
    kept = np.flatnonzero(np.isin(features.class_text_labels, range(10) if keep is None else keep))
    kept = np.random.default_rng(0).permutation(kept)
    features = replace(
        features, class_texts=features.class_texts[kept], class_text_labels=features.class_text_labels[kept]
    )
    return DescribedClasses(aggregate=aggregate).fit(features, labels), features


def by_loop(features, image, aggregate):
    """Logits by the definition, class by class, image by image, float64."""
    logits = np.empty((len(image), 10))
    for c in range(10):
        texts = features.class_texts[features.class_text_labels == c].astype(float)
        texts = texts if len(texts) else features.prototypes[c : c + 1].astype(float)
        for i, x in enumerate(image.astype(float)):
            if aggregate == "mean_embedding":
                mean = texts.mean(axis=0)
                logits[i, c] = 100 * x @ mean / np.linalg.norm(mean)
            else:
                logits[i, c] = 100 * (np.mean if aggregate == "mean_similarity" else np.max)([x @ t for t in texts])
    return logits


@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize("keep", [None, (0, 3, 4)])
def test_logits_equal_the_definition(digits, aggregate, keep):
    adapter, features = fitted(digits, aggregate=aggregate, keep=keep)
    query = digits.part(200, 230)[0]
    np.testing.assert_allclose(
        adapter.decision_function(query), by_loop(features, query.image, aggregate), rtol=1e-5, atol=1e-4
    )


def test_a_mean_of_similarities_is_not_the_similarity_of_the_mean(digits):
    query = digits.part(200, 300)[0]
    of_means, of_similarities = (
        fitted(digits, aggregate=aggregate)[0].decision_function(query) for aggregate in AGGREGATES[1::-1]
    )
    assert not np.allclose(of_means, of_similarities, atol=0.5)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_classes_without_texts_fall_back_to_their_prototype_and_are_counted(digits, aggregate):
    adapter, features = fitted(digits, aggregate=aggregate, keep=range(8))
    assert adapter.fallback_ == "no texts, and the prototype in their place, for 2 of 10 classes: 8, 9"
    query = digits.part(200, 300)[0]
    zero_shot = ZeroShot().fit(features, np.zeros(5, np.int64)).decision_function(query)
    np.testing.assert_allclose(adapter.decision_function(query)[:, 8:], zero_shot[:, 8:], rtol=1e-6)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_without_texts_it_is_zero_shot_exactly(digits, aggregate):
    adapter, features = fitted(digits, aggregate=aggregate, keep=())
    query = digits.part(200, 300)[0]
    zero_shot = ZeroShot().fit(features, np.zeros(5, np.int64))
    assert adapter.fallback_ == "zero-shot: no class texts"
    assert np.array_equal(adapter.decision_function(query), zero_shot.decision_function(query))


def test_texts_that_cancel_have_no_mean_direction(digits):
    features, labels = digits.complete(0, 5)
    text = features.class_texts[:1]
    against = replace(features, class_texts=np.vstack([text, -text]), class_text_labels=np.array([4, 4]))
    adapter = DescribedClasses(aggregate="mean_embedding").fit(against, labels)
    assert (
        adapter.fallback_
        == "no texts, and the prototype in their place, for 10 of 10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    )
    assert DescribedClasses().fit(against, labels).decision_function(features)[:, 4].tolist() == [0.0] * 5


def test_descriptions_of_real_pictures_beat_one_text_per_class(digits):
    adapter, features = fitted(digits)
    query, truth = digits.part(200, 1700)
    zero_shot = np.mean(ZeroShot().fit(features, np.zeros(5, np.int64)).predict(query) == truth)
    assert np.mean(adapter.predict(query) == truth) > zero_shot + 0.05


def test_the_explanation_adds_up_to_the_logits(digits):
    adapter, _ = fitted(digits, keep=range(8))
    query = digits.part(200, 260)[0]
    told = adapter.explain(query)
    logits = adapter.decision_function(query)
    means = told.groupby(["row", "side", "class"])["similarity"].mean().reset_index()
    assert means["row"].tolist() == np.repeat(np.arange(60), 2).tolist()
    for line in means.itertuples():
        assert 100 * line.similarity == pytest.approx(logits[line.row, line[3]], abs=1e-4)
    order = np.argsort(-logits, axis=1, kind="stable")
    for place, side in enumerate(("class", "against")):
        assert means.loc[means["side"] == side, "class"].tolist() == order[:, place].tolist()


def test_the_explanation_names_the_text(digits):
    adapter, features = fitted(digits, keep=(1, 2))
    query = digits.part(200, 203)[0]
    told = adapter.explain(query, classes=np.array([1, 5, 2]), against=np.array([2, 1, 7]))
    assert told.columns.tolist() == ["row", "side", "class", "text", "similarity"]
    assert told.groupby(["row", "side"], sort=False).size().tolist() == [5, 5, 1, 5, 5, 1]
    for line in told.itertuples(index=False):
        row, side, label, text, similarity = line
        assert side in {"class", "against"}
        known = features.prototypes[label] if text == -1 else features.class_texts[text]
        assert text == -1 or features.class_text_labels[text] == label
        assert similarity == pytest.approx(query.image[row].astype(float) @ known.astype(float))
    assert sorted(told.loc[told["text"] == -1, "class"]) == [5, 7]


def test_explanation_and_best_text_in_chunks_equal_those_at_once(digits, monkeypatch):
    adapter, _ = fitted(digits, aggregate="max")
    query = digits.part(200, 230)[0]
    whole, logits = adapter.explain(query), adapter.decision_function(query)
    monkeypatch.setattr(vcd, "ROWS_AT_A_TIME", 7)
    pd.testing.assert_frame_equal(adapter.explain(query), whole)
    np.testing.assert_allclose(adapter.decision_function(query), logits, rtol=1e-6)


def test_a_single_class_has_nothing_to_hold_against_it(digits):
    features, _ = digits.complete(0, 5)
    one = Features(
        image=features.image,
        prototypes=features.prototypes[:1],
        class_texts=features.class_texts[:3],
        class_text_labels=np.zeros(3, np.int64),
    )
    told = DescribedClasses().fit(one, np.zeros(5, np.int64)).explain(one)
    assert set(told["side"]) == {"class"}
    assert len(told) == 15


def test_no_images_have_no_explanation(digits):
    adapter, features = fitted(digits)
    assert adapter.explain(features.rows(slice(0))).empty


def test_bad_calls_are_refused(digits):
    with pytest.raises(ParameterError, match="`aggregate` must be one of mean_similarity, mean_embedding, max; got 'm"):
        fitted(digits, aggregate="mean")
    adapter, features = fitted(digits)
    with pytest.raises(InvalidFeaturesError, match="must lie in 0 to 9; got 10"):
        adapter.explain(features, classes=np.full(5, 10))
    with pytest.raises(InvalidFeaturesError, match=r"shape \(5,\); got shape \(2,\)"):
        adapter.explain(features, against=np.zeros(2, np.int64))
