import numpy as np

from evenly.adapters.methods.zero_shot import ZeroShot


def test_logits_are_a_hundred_times_the_cosine(digits):
    features, labels = digits.part(0, 50)
    logits = ZeroShot().fit(features, labels).decision_function(features)
    images, texts = features.image.astype(float), features.prototypes.astype(float)
    naive = [[100 * sum(x * t) for t in texts] for x in images]
    np.testing.assert_allclose(logits, naive, rtol=1e-6)


def test_other_texts_are_other_prototypes_of_the_same_adapter(digits):
    for texts in ("names", "descriptions", "synonyms"):
        features = digits.features.with_prototypes(digits.prototypes[texts])
        predicted = ZeroShot().fit(features, digits.labels).predict(digits.features)
        assert np.array_equal(predicted, (digits.features.image @ digits.prototypes[texts].T).argmax(axis=1))


def test_images_teach_it_nothing(digits):
    features, labels = digits.part(0, 50)
    one = ZeroShot().fit(features, labels).decision_function(features)
    assert np.array_equal(one, ZeroShot().fit(features, (labels + 1) % 10).decision_function(features))
