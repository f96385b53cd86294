import numpy as np
import pytest

from evenly.adapters.errors import InvalidFeaturesError, MissingFeaturesError
from evenly.adapters.own_features.arrays import joined_parts, parts_in, text_arrays


@pytest.fixture
def arrays(digits):
    found = {"prototypes": digits.prototypes["names"]}
    for part, start in (("train", 0), ("val", 200), ("test", 300)):
        features, labels = digits.complete(start, start + 100)
        found |= {f"{part}_features": features.image, f"{part}_labels": labels, f"{part}_norms": features.norms}
        found[f"aux_{part}_features"] = features.second
    features, _ = digits.complete(0, 100)
    found |= {"train_views": features.views, "train_caption_features": features.captions}
    return found | {"unlabelled_features": features.unlabelled, "ood_features": features.rejection_prototypes}


def test_each_part_is_a_record_with_labels_and_groups(arrays):
    parts = parts_in(arrays)
    assert [len(part.labels) for part in (parts.train, parts.val, parts.test)] == [100, 100, 100]
    assert parts.train.features.views.shape == (2, 100, 64)
    assert parts.val.features.views is None
    assert parts.test.features.second.shape == (100, 16)
    assert parts.train.features.unlabelled.shape == (200, 64)
    assert list(parts.unseen) == ["ood"]
    assert len(np.unique(parts.test.groups)) == 100


def test_names_of_rejections_go_into_a_file_and_come_back(arrays):
    arrays["rejection_prototypes"] = arrays["ood_features"][:2]
    fields = {"rejection_prototypes": arrays["ood_features"][:2], "rejection_names": ("fog", "café")}
    written = text_arrays(fields)
    assert written["rejection_names"].dtype.kind == "U"
    parts = parts_in({**arrays, **written})
    assert parts.train.features.rejection_names == joined_parts(parts)[0].rejection_names == ("fog", "café")
    assert parts_in(arrays).train.features.rejection_names == ()


def test_parts_that_are_not_there_are_empty(arrays):
    few = {name: arrays[name] for name in ("prototypes", "train_features", "train_labels")}
    parts = parts_in(few)
    assert len(parts.val.features) == len(parts.test.features) == 0
    assert parts.unseen == {}


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_floats_of_any_width_are_taken(arrays, kind):
    parts = parts_in({**arrays, "train_features": arrays["train_features"].astype(kind)})
    assert parts.train.features.image.dtype == np.float32


def test_rows_that_are_not_of_unit_length_are_refused_under_their_own_name(arrays):
    with pytest.raises(InvalidFeaturesError, match=r"`val_features` must have rows of unit length.*--normalise"):
        parts_in({**arrays, "val_features": arrays["val_features"] * 3})


def test_normalise_scales_the_rows_and_keeps_their_lengths_as_norms(arrays):
    del arrays["val_norms"]
    parts = parts_in({**arrays, "val_features": arrays["val_features"] * 3}, normalise=True)
    np.testing.assert_allclose(parts.val.features.image, arrays["val_features"], atol=1e-6)
    np.testing.assert_allclose(parts.val.features.norms, 3, rtol=1e-5)
    np.testing.assert_allclose(parts.train.features.views, arrays["train_views"], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"train_labels": None}, MissingFeaturesError, "must hold `train_labels`"),
        ({"val_labels": None}, MissingFeaturesError, "`val_labels` must come with `val_features`"),
        ({"test_labels": np.arange(99)}, InvalidFeaturesError, "`test_labels` must hold one class index per image"),
        ({"train_labels": np.full(100, 10)}, InvalidFeaturesError, "`train_labels` must lie in 0 to 9; got 10"),
        ({"train_labels": np.full(100, 0.5)}, InvalidFeaturesError, "`train_labels` must be integers"),
        ({"train_features": np.full((100, 64), np.nan)}, InvalidFeaturesError, "`train_features` must be finite"),
        ({"val_groups": np.arange(3)}, InvalidFeaturesError, "`val_groups` must hold one value per row"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(arrays, change, error, message):
    changed = {name: array for name, array in (arrays | change).items() if array is not None}
    with pytest.raises(error, match=message):
        parts_in(changed)


def test_joined_parts_hold_every_row_once_and_rows_of_two_parts_are_of_two_groups(arrays):
    features, labels, split, groups = joined_parts(parts_in(arrays))
    assert len(features) == len(labels) == len(split) == 300
    assert np.unique(split, return_counts=True)[1].tolist() == [100, 100, 100]
    assert len(np.unique(groups)) == 300
    assert features.views is None
    assert features.second.shape == (300, 16)
    assert np.array_equal(features.captions[:100], arrays["train_caption_features"])


def test_joined_parts_keep_the_groups_of_the_file(arrays):
    named = {f"{part}_groups": np.repeat([f"{part} a", f"{part} b"], 50) for part in ("train", "val", "test")}
    groups = joined_parts(parts_in({**arrays, **named}))[3]
    assert len(np.unique(groups)) == 6
