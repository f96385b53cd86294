"""What is refused or said of the parts of a file: names, groups, twins, classes without rows."""

import numpy as np
import pytest

from evenly.adapters.errors import InvalidFeaturesError, SplitError
from evenly.adapters.own_features.arrays import joined_parts, parts_in


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
        "7 of 100 train rows stand in val or test as well: left out of train",
        "4 of 100 val rows stand in test as well: left out of val",
    )


def test_classes_without_rows_are_named_and_parts_without_rows_are_no_news(arrays):
    kept = arrays["train_labels"] != 4
    arrays |= {"train_features": arrays["train_features"][kept], "train_labels": arrays["train_labels"][kept]}
    del arrays["val_features"], arrays["val_labels"]
    names = [f"digit {place}" for place in range(10)]
    (note,) = parts_in({**arrays, "classes": np.array(names)}).notes
    assert note == "1 of 10 classes without train images (no adapter learned from an image of them): digit 4"


def test_a_pool_of_test_rows_is_said(arrays):
    notes = parts_in({**arrays, "unlabelled_features": arrays["test_features"][:30]}).notes
    assert notes == ("30 of 30 rows of the unlabelled pool are test rows",)
