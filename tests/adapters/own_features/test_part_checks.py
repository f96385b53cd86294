"""What is refused or said of the parts of a file: names, groups, twins, classes without rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import InvalidFeaturesError, SplitError
from evenly.adapters.evaluation.protocols.array_fit import fit_arrays
from evenly.adapters.features import unit_rows
from evenly.adapters.own_features.arrays import joined_parts, parts_in
from evenly.adapters.own_features.part_checks import without_twins
from evenly.adapters.saved import to_arrays
from evenly.adapters.splits import PARTS
from evenly.adapters.twins import TWIN_COSINE


@pytest.fixture
def arrays(digits):
    found = {"prototypes": digits.prototypes["names"]}
    for part, start in (("train", 0), ("val", 200), ("test", 300)):
        features, labels = digits.part(start, start + 100)
        found |= {f"{part}_features": features.image, f"{part}_labels": labels}
    return found


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([*"abcdefghi", "c"], "`classes` must differ; got `c` at positions 2, 9"),
        ([*"abcdefghi", " c "], "`classes` must differ; got `c` at positions 2, 9"),
        ([*"abcdefghi", ""], "`classes` must have names; got '' at position 9"),
        ([*"abcdefghi", "  "], "`classes` must have names; got '' at position 9"),
    ],
)
def test_classes_that_nobody_could_tell_apart_are_refused(arrays, names, message):
    with pytest.raises(InvalidFeaturesError, match=message):
        parts_in({**arrays, "classes": np.array(names)})


@pytest.mark.parametrize("kind", [str, int])
def test_a_group_in_two_parts_is_refused(arrays, kind):
    groups = {f"{part}_groups": np.arange(n, n + 100).astype(kind) for n, part in enumerate(("train", "test"))}
    with pytest.raises(SplitError, match="`train_groups` and `test_groups` must share no group; got `1` in both"):
        parts_in({**arrays, **groups})


def test_rows_without_named_groups_share_none_with_a_part_that_names_them(arrays):
    parts = parts_in({**arrays, "test_groups": np.arange(100).astype(str)})
    assert len(np.unique(joined_parts(parts)[3])) == 300


def test_a_row_that_is_judged_later_is_left_out_of_the_earlier_part_and_said(arrays):
    for part, rows in (("train", slice(0, 7)), ("val", slice(5, 9))):
        arrays[f"{part}_features"] = arrays[f"{part}_features"].copy()
        arrays[f"{part}_features"][rows] = arrays["test_features"][rows]
    groups = {f"{part}_groups": np.char.add(part, np.arange(100).astype(str)) for part in ("train", "val", "test")}
    parts = parts_in({**arrays, **groups})
    assert [len(part.labels) for part in (parts.train, parts.val, parts.test)] == [93, 96, 100]
    assert np.array_equal(parts.train.features.image, arrays["train_features"][7:])
    assert np.array_equal(parts.train.labels, arrays["train_labels"][7:])
    assert parts.train.groups.tolist() == groups["train_groups"][7:].tolist()
    assert parts.notes == (
        "7 of 100 train rows have a twin in val or test (cosine over 0.9999): left out",
        "4 of 100 val rows have a twin in test (cosine over 0.9999): left out",
    )


def test_classes_without_rows_are_named_and_parts_without_rows_are_no_news(arrays):
    kept = arrays["train_labels"] != 4
    arrays |= {"train_features": arrays["train_features"][kept], "train_labels": arrays["train_labels"][kept]}
    del arrays["val_features"], arrays["val_labels"]
    names = [f"digit {place}" for place in range(10)]
    (note,) = parts_in({**arrays, "classes": np.array(names)}).notes
    assert note == "1 of 10 classes without train images (no adapter learned from an image of them): digit 4"


def rounded(rows):
    return rows.astype(np.float16).astype(np.float32)


def jittered(rows):
    noise = np.random.default_rng(0).normal(scale=1e-4, size=rows.shape)
    return unit_rows(rows + noise.astype(np.float32))


@pytest.mark.parametrize("change", [rounded, jittered])
def test_twins_of_judged_rows_are_left_out_of_earlier_parts_and_of_the_pool(arrays, digits, change):
    twins = change(arrays["test_features"][:40])
    arrays["train_features"] = np.concatenate([arrays["train_features"], twins])
    arrays["train_labels"] = np.concatenate([arrays["train_labels"], arrays["test_labels"][:40]])
    strange = np.roll(digits.part(500, 510)[0].image, 20, axis=1)
    pool = np.concatenate([digits.part(400, 450)[0].image, twins[:20], change(arrays["val_features"][:5]), strange])
    parts = parts_in(
        {
            **arrays,
            "unlabelled_features": pool,
            "aux_unlabelled_features": pool[:, :8] / np.linalg.norm(pool[:, :8], axis=1, keepdims=True),
            "ood_features": change(strange),
        },
        normalise=True,
    )
    assert len(parts.train.labels) == 100
    for rows in (parts.train.features, parts.val.features, parts.test.features):
        assert len(rows.unlabelled) == len(rows.unlabelled_second) == 50
        np.testing.assert_allclose(rows.unlabelled, pool[:50], atol=1e-6)
    assert parts.notes == (
        "35 of 85 rows of the unlabelled pool have a twin in val or test or ood (cosine over 0.9999): left out",
        "40 of 140 train rows have a twin in test (cosine over 0.9999): left out",
    )


def test_rows_of_the_pool_may_be_train_rows(arrays):
    parts = parts_in({**arrays, "unlabelled_features": rounded(arrays["train_features"])}, normalise=True)
    assert len(parts.train.features.unlabelled) == len(parts.train.labels) == 100
    assert parts.notes == ()


def test_twins_of_twins_leave_together(arrays):
    first, step = arrays["test_features"][0], np.zeros(64, np.float32)
    step[np.argmin(first)] = 0.012
    chain = [first + step * number for number in range(3)]
    arrays["test_features"] = unit_rows(np.array([chain[0], *arrays["test_features"][1:]]))
    arrays["train_features"] = unit_rows(np.array([chain[2], chain[1], *arrays["train_features"][2:]]))
    assert arrays["train_features"][0] @ arrays["test_features"][0] < 0.9999
    assert len(parts_in(arrays).train.labels) == 98


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["unlabelled", *PARTS, "ood"]), st.integers(0, 9)), max_size=30), st.data())
def test_no_pair_of_twins_is_left_in_two_parts(rows, data):
    scales = st.lists(st.floats(-2e-3, 2e-3), min_size=len(rows), max_size=len(rows))
    steps = np.array(data.draw(scales)).reshape(-1, 1)
    pictures = np.random.default_rng(1).normal(size=(10, 32))
    features = {name: np.empty((0, 32), np.float32) for name in ("unlabelled", *PARTS, "ood")}
    for (name, number), step in zip(rows, steps, strict=True):
        row = pictures[number] + step * 20 * pictures[(number + 1) % 10]
        features[name] = np.concatenate([features[name], unit_rows(row[None])])
    kept, _ = without_twins(
        {part: features[part] for part in PARTS}, judged={"ood": features["ood"]}, pool=features["unlabelled"]
    )
    left = {name: features[name][mask].astype(np.float64) for name, mask in kept.items()}
    assert len(left["test"]) == len(features["test"])
    apart = [("train", "val"), ("train", "test"), ("val", "test"), ("train", "ood"), ("val", "ood")]
    for one, other in [*apart, ("unlabelled", "val"), ("unlabelled", "test"), ("unlabelled", "ood")]:
        assert (left[one] @ left[other].T <= TWIN_COSINE + 1e-9).all()


@pytest.mark.parametrize("adapter", ["tip", "gda_em", "grip", "fpl"])
def test_twins_of_test_rows_change_no_adapter(arrays, digits, adapter):
    pool = digits.part(400, 450)[0].image
    plain = fit_arrays(parts_in({**arrays, "unlabelled_features": pool}, normalise=True), adapter)
    spoilt = {
        **arrays,
        "train_features": np.concatenate([arrays["train_features"], rounded(arrays["test_features"][:40])]),
        "train_labels": np.concatenate([arrays["train_labels"], (arrays["test_labels"][:40] + 1) % 10]),
        "unlabelled_features": np.concatenate([pool, jittered(arrays["test_features"])]),
    }
    twinned = fit_arrays(parts_in(spoilt, normalise=True), adapter)
    assert {name: array.tobytes() for name, array in to_arrays(plain.tuned.adapter).items()} == {
        name: array.tobytes() for name, array in to_arrays(twinned.tuned.adapter).items()
    }
    assert plain.tuned.chosen == twinned.tuned.chosen
