"""The audit of descriptions: verdicts by known rows, and a world in which descriptions do or do not carry meaning."""

import numpy as np
import pytest

from evenly.adapters.errors import MissingFeaturesError
from evenly.adapters.evaluation.protocols.description_audit import compare_texts_and_controls, rightly_classified
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.methods.vcd import DescribedClasses

ROWS = 400


def rows(share: float, *, of: int = ROWS) -> np.ndarray:
    """Right on the first `share` of the rows."""
    return (np.arange(of) < share * of).astype(float)


def audit(*, names: float, real: float, shuffled: float, random: float = 0.3, **more):
    correct = {
        "names": rows(names),
        "real": rows(real),
        "shuffled": np.stack([rows(shuffled - 0.01), rows(shuffled + 0.01)]),
        "random": rows(random),
    }
    return compare_texts_and_controls(correct | more, seed=1, n=300)


@pytest.mark.parametrize(
    ("shares", "finding", "words"),
    [
        ({"names": 0.3, "real": 0.6, "shuffled": 0.4}, "meaning", "and beat the class names"),
        ({"names": 0.6, "real": 0.6, "shuffled": 0.4}, "meaning", "but no gain over the class names is shown"),
        ({"names": 0.8, "real": 0.6, "shuffled": 0.4}, "meaning", "but do worse than the class names"),
        ({"names": 0.3, "real": 0.5, "shuffled": 0.5}, "ensembling", "the gain is only an ensembling effect"),
        ({"names": 0.5, "real": 0.5, "shuffled": 0.5}, "none", "no gain is shown"),
        ({"names": 0.8, "real": 0.5, "shuffled": 0.5}, "none", "the descriptions make it worse"),
        ({"names": 0.5, "real": 0.4, "shuffled": 0.6}, "harm", "the descriptions mislead"),
    ],
)
def test_the_verdict_says_what_the_intervals_show(shares, finding, words):
    found = audit(**shares)
    assert found.finding == finding
    assert words in found.verdict


def test_tables_hold_accuracies_spreads_and_paired_differences():
    found = audit(names=0.3, real=0.6, shuffled=0.4, selected=rows(0.7), captions=rows(0.3))
    table = found.accuracies.set_index("texts")
    assert table["draws"].to_dict() == {"names": 1, "real": 1, "shuffled": 2, "random": 1, "selected": 1, "captions": 1}
    assert table.loc["shuffled", ["accuracy", "lowest", "highest"]].tolist() == pytest.approx([0.4, 0.39, 0.41])
    assert (table["low"] <= table["accuracy"]).all()
    assert (table["accuracy"] <= table["high"]).all()
    differences = found.differences.set_index(["texts", "minus"])["difference"]
    assert differences.to_dict() == pytest.approx(
        {
            ("real", "names"): 0.3,
            ("real", "shuffled"): 0.2,
            ("real", "random"): 0.3,
            ("selected", "captions"): 0.4,
        }
    )


def test_intervals_resample_groups():
    groups = np.repeat(np.arange(4), ROWS // 4)
    correct = {"names": rows(0.5), "real": rows(0.75), "shuffled": rows(0.5), "random": rows(0.5)}
    apart = compare_texts_and_controls(correct, seed=1, n=300)
    together = compare_texts_and_controls(correct, seed=1, n=300, groups=groups)
    assert apart.finding == "meaning"
    assert together.finding == "none"


def test_one_group_shows_nothing():
    groups = np.zeros(ROWS, dtype=int)
    correct = {"names": rows(0.1), "real": rows(0.9), "shuffled": rows(0.1), "random": rows(0.1)}
    found = compare_texts_and_controls(correct, seed=1, groups=groups)
    assert (found.finding, found.verdict.split(":")[0]) == ("none", "nothing is shown")


def test_a_missing_kind_is_named():
    with pytest.raises(MissingFeaturesError, match="shuffled"):
        compare_texts_and_controls({"names": rows(1), "real": rows(1), "random": rows(1)}, seed=0)


def world(*, meaning: bool, seed: int = 0):
    """Images of four classes; names that say half of the truth, and texts that say the rest or nothing at all."""
    rng = np.random.default_rng(seed)
    truth = np.eye(4, 24)
    image = unit_rows(np.repeat(truth, 60, axis=0) + rng.normal(scale=0.35, size=(240, 24)))
    names = unit_rows(truth * 0.3 + rng.normal(scale=0.25, size=(4, 24)))
    described = truth if meaning else np.zeros((4, 24))
    texts = [unit_rows(names[c] + described[c] + rng.normal(scale=0.4, size=(6, 24))) for c in range(4)]
    swapped = [unit_rows(names[c] + described[(c + 1) % 4] + rng.normal(scale=0.4, size=(6, 24))) for c in range(4)]
    return Features(image=image, prototypes=names), np.repeat(np.arange(4), 60), texts, swapped


@pytest.mark.parametrize("meaning", [True, False])
def test_texts_that_mean_something_are_told_from_texts_that_do_not(meaning):
    features, labels, texts, swapped = world(meaning=meaning)
    right = {
        name: rightly_classified(features, labels, some, aggregate="mean_similarity")
        for name, some in (("real", texts), ("shuffled", swapped), ("random", swapped))
    }
    right["names"] = rightly_classified(
        features, labels, [features.prototypes[[c]] for c in range(4)], aggregate="mean_similarity"
    )
    assert (compare_texts_and_controls(right, seed=0).finding == "meaning") == meaning


@pytest.mark.parametrize("aggregate", ["mean_similarity", "mean_embedding", "max"])
def test_an_ensemble_of_one_name_is_the_name_whatever_its_size(aggregate):
    features, labels, _, _ = world(meaning=True)
    bare = [features.prototypes[[c]] for c in range(4)]
    often = [np.repeat(one, 5, axis=0) for one in bare]
    np.testing.assert_array_equal(
        rightly_classified(features, labels, bare, aggregate=aggregate),
        rightly_classified(features, labels, often, aggregate=aggregate),
    )


def test_classes_without_texts_count_by_their_name():
    features, labels, texts, _ = world(meaning=True)
    some = [texts[0], np.empty((0, 24), dtype=np.float32), texts[2], texts[3]]
    right = rightly_classified(features, labels, some, aggregate="max")
    described = Features(
        image=features.image,
        prototypes=features.prototypes,
        class_texts=np.concatenate([texts[0], features.prototypes[[1]], texts[2], texts[3]]),
        class_text_labels=np.repeat([0, 1, 2, 3], [6, 1, 6, 6]),
    )
    adapter = DescribedClasses(aggregate="max").fit(described, labels)
    np.testing.assert_array_equal(right, adapter.predict(described) == labels)
