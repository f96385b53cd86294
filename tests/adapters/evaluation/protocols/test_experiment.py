from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.errors import InvalidFeaturesError, MissingFeaturesError, SplitError, UnknownAdapterError
from evenly.adapters.evaluation.protocols.evaluation_data import EvaluationData
from evenly.adapters.evaluation.protocols.experiment import fit_and_evaluate
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.splits import split_by_group


@pytest.fixture(scope="module")
def split(digits):
    return split_by_group(digits.groups, digits.labels, seed=0)


def run(digits, split, *, labels=None, **options):
    labels = digits.labels if labels is None else labels
    prototypes = options.pop("prototypes", digits.prototypes)
    data = data_of(digits, digits.features, labels, split, digits.groups, prototypes=prototypes)
    return fit_and_evaluate(data, **{"seed": 0} | options)


def data_of(digits, features, labels, split, groups, *, prototypes=None):
    return EvaluationData(
        features=features,
        labels=labels,
        split=split,
        groups=groups,
        classes=digits.classes,
        prototypes=digits.prototypes if prototypes is None else prototypes,
    )


@pytest.fixture(scope="module")
def found(digits, split):
    return run(digits, split)


def row(evaluation, name, texts):
    table = evaluation.results
    return table[(table["name"] == name) & (table["texts"] == texts)].iloc[0]


def test_an_adapter_named_twice_is_fitted_once(digits, split):
    assert len(run(digits, split, adapters=["zero_shot", "zero_shot"]).results) == 3


def test_every_adapter_is_evaluated_with_every_set_of_texts_it_uses(found):
    assert list(zip(found.results["name"], found.results["texts"], strict=True)) == [
        ("zero_shot", "names"), ("zero_shot", "descriptions"), ("zero_shot", "synonyms"),
        ("linear", "none"),
        ("gda", "names"), ("gda", "descriptions"), ("gda", "synonyms"),
    ]  # fmt: skip
    assert set(found.fitted) == set(zip(found.results["name"], found.results["texts"], strict=True))


def test_results_state_intervals_choices_and_sizes(found, split, digits):
    table = found.results
    assert list(table.columns) == [
        "name", "texts", "accuracy", "low", "high", "difference", "difference_low", "difference_high", "n", "groups",
        "top5", "mean_per_class", "calibration_error", "temperature", "temperature_why",
        "calibrated_error", "verdict", "chosen",
        "validation_accuracy", "validation_rows", "kept_zero_shot", "why", "fallback",
    ]  # fmt: skip
    assert (table["n"] == (split == "test").sum()).all()
    assert (table["groups"] == len(set(digits.groups[split == "test"]))).all()
    assert table["accuracy"].between(table["low"], table["high"]).all()
    assert table["difference"].between(table["difference_low"], table["difference_high"]).all()
    np.testing.assert_allclose(table["difference"], table["accuracy"] - table["accuracy"][0])


def test_the_numbers_are_those_of_the_fitted_adapters_on_the_test_rows(found, digits, split):
    test = digits.features.rows(np.flatnonzero(split == "test"))
    for (name, texts), tuned in found.fitted.items():
        right = tuned.adapter.predict(test) == digits.labels[split == "test"]
        assert row(found, name, texts)["accuracy"] == pytest.approx(right.mean())


def test_verdicts_are_words(found):
    assert row(found, "zero_shot", "names")["verdict"] == "same predictions as zero-shot with names"
    assert row(found, "gda", "names")["verdict"] == "better than zero-shot with names: the interval excludes zero"
    assert row(found, "gda", "names")["chosen"].startswith("alpha=")
    assert row(found, "linear", "none")["chosen"].startswith("C=")


def test_an_interval_that_spans_zero_is_said(digits, split):
    near = unit_rows(digits.prototypes["names"] + 0.05 * digits.prototypes["descriptions"])
    found = run(digits, split, prototypes={"names": digits.prototypes["names"], "near": near}, adapters=["zero_shot"])
    assert row(found, "zero_shot", "near")["verdict"] == (
        "interval spans zero: no difference to zero-shot with names is shown"
    )


def test_test_labels_and_test_images_choose_nothing(digits, split, found):
    test = split == "test"
    labels = np.where(test, (digits.labels + 3) % 10, digits.labels)
    image = digits.features.image.copy()
    image[test] = np.roll(image[test], 5, axis=1)
    changed = fit_and_evaluate(
        data_of(digits, Features(image=image, encoder="pixels"), labels, split, digits.groups), seed=0
    )
    assert changed.curves.equals(found.curves)
    for key, tuned in found.fitted.items():
        assert changed.fitted[key].chosen == tuned.chosen
        for name in tuned.adapter.learned_names():
            assert np.array_equal(getattr(changed.fitted[key].adapter, name), getattr(tuned.adapter, name))
    assert (changed.results["accuracy"] != found.results["accuracy"]).all()


def test_the_same_call_gives_the_same_tables(digits, split, found):
    again = run(digits, split)
    assert again.results.equals(found.results)
    assert again.curves.equals(found.curves)
    assert again.per_class.equals(found.per_class)


def test_no_adapter_is_below_zero_shot_on_validation(found):
    for tuned in found.fitted.values():
        assert tuned.validation_accuracy >= tuned.zero_shot_accuracy


def test_the_best_is_named_by_validation_and_the_first_of_equals(found, digits):
    best = max(found.fitted.values(), key=lambda tuned: tuned.validation_accuracy)
    assert found.fitted[found.best_on_validation()] is best
    only_test = np.full(40, "test")
    blind = fit_and_evaluate(
        data_of(digits, digits.features.rows(slice(0, 40)), digits.labels[:40], only_test, digits.groups[:40]), seed=0
    )
    assert blind.best_on_validation() == ("zero_shot", "names")


def test_the_curves_hold_every_point(found):
    counts = found.curves.groupby(["name", "texts"]).size()
    assert counts["gda", "names"] == 7
    assert counts["linear", "none"] == 16
    assert counts["zero_shot", "synonyms"] == 1


def test_classes_that_lack_images_are_reported_and_kept(digits, split):
    gone = split.copy()
    gone[(digits.labels == 2) & (split == "train")] = "val"
    gone[(digits.labels == 7) & (split == "test")] = "val"
    found = fit_and_evaluate(
        data_of(digits, digits.features, digits.labels, gone, np.arange(len(gone)).astype(str)), seed=0
    )
    assert "1 of 10 classes without train images (no adapter learned from an image of them): 2" in found.notes
    assert "1 of 10 classes without test images (their accuracy is unknown): 7" in found.notes
    seven = found.per_class[found.per_class["class"] == "7"]
    assert (seven["test"] == 0).all()
    assert seven["accuracy"].isna().all()
    assert len(found.per_class) == 10 * len(found.results)


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        (["train", "val"], "no test rows: nothing is shown"),
        (["train", "test"], None),
        (["val", "test"], None),
        (["test"], None),
    ],
)
def test_an_empty_part_is_no_crash(digits, parts, verdict):
    some = digits.features.rows(slice(0, 40))
    split = np.array([parts[i % len(parts)] for i in range(40)])
    found = fit_and_evaluate(data_of(digits, some, digits.labels[:40], split, np.arange(40).astype(str)), seed=0)
    if verdict:
        assert set(found.results["verdict"]) == {verdict}
    if "val" not in parts:
        assert row(found, "gda", "names")["why"] == "zero-shot kept: no validation rows"
    if "train" not in parts:
        assert row(found, "gda", "names")["kept_zero_shot"]
    assert len(found.results) == 7


def test_few_rows_per_class_work(digits):
    few = np.concatenate([np.flatnonzero(digits.labels == c)[:3] for c in range(10)])
    groups = few.astype(str)
    split = split_by_group(groups, digits.labels[few], seed=1)
    found = fit_and_evaluate(data_of(digits, digits.features.rows(few), digits.labels[few], split, groups), seed=1)
    assert found.results["n"].iloc[0] == (split == "test").sum()
    assert found.results["accuracy"].between(0, 1).all()


def test_rows_that_do_not_fit_together_are_refused_before_any_fit(digits, split):
    with pytest.raises(SplitError, match="got group `pair 0` in"):
        run(digits, np.array(["train", "test"] * len(split))[: len(split)])
    with pytest.raises(SplitError, match="`split` must hold one value per image"):
        run(digits, split[:-1])
    with pytest.raises(InvalidFeaturesError, match="`labels` must lie in 0 to 9; got -1"):
        run(digits, split, labels=np.full(len(split), -1))
    with pytest.raises(InvalidFeaturesError, match="`prototypes` of `names` must hold one row per class, 10; got 9"):
        run(digits, split, prototypes={"names": digits.prototypes["names"][:9]})
    with pytest.raises(MissingFeaturesError, match="`prototypes` must hold a set of texts"):
        run(digits, split, prototypes={})
    with pytest.raises(UnknownAdapterError, match="zero_shot, linear, gda"):
        run(digits, split, adapters=["nope"])


def test_notes_name_the_classes_that_have_no_texts(digits, split):
    names = digits.prototypes["names"]
    described = replace(digits.features, class_texts=names[:8], class_text_labels=np.arange(8))
    found = run(replace(digits, features=described), split, adapters=["vcd"], guard=False)
    said = f"no texts, and the prototype in their place, for 2 of 10 classes: {', '.join(digits.classes[8:])}"
    assert f"vcd with names: {said}" in found.notes
    assert set(found.results["fallback"]) == {said}
