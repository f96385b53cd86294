"""What stands in for what; that the command says so is tested with the command."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters import ADAPTERS
from evenly.adapters.errors import MissingFeaturesError
from evenly.adapters.own_features.arrays import SHARED, parts_in
from evenly.adapters.own_features.defaults import with_defaults


@pytest.fixture
def complete_arrays(digits):
    """Every key of a file, of 100 rows a part."""
    found = {}
    for part, start in (("train", 0), ("val", 200), ("test", 300), ("ood", 400)):
        features, labels = digits.complete(start, start + 100)
        found |= {f"{part}_features": features.image, f"{part}_labels": labels, f"{part}_norms": features.norms}
        found[f"aux_{part}_features"] = features.second
    features, _ = digits.complete(0, 100)
    found |= {"train_views": features.views, "train_caption_features": features.captions}
    return found | {key: getattr(features, field) for field, key in SHARED.items()}


def test_a_complete_file_needs_no_stand_in(complete_arrays, digits):
    parts = parts_in(complete_arrays)
    train = parts.train.features
    parts = replace(parts, train=parts.train.with_features(replace(train, tower=digits.complete(0, 1)[0].tower)))
    for kind in ADAPTERS.values():
        same, notes = with_defaults(parts, kind)
        assert notes == ()
        assert same.train.features is parts.train.features or kind.__name__ == "Cooked"


def test_what_an_adapter_does_not_need_is_not_asked_for(complete_arrays):
    few = {key: complete_arrays[key] for key in ("prototypes", "train_features", "train_labels")}
    assert with_defaults(parts_in(few), ADAPTERS["gda"])[1] == ()


def test_the_mean_length_of_train_rows_is_given_to_unseen_pictures_too(complete_arrays):
    arrays = {key: array for key, array in complete_arrays.items() if key not in {"ood_norms", "test_norms"}}
    parts, notes = with_defaults(parts_in(arrays), ADAPTERS["cooked"])
    mean = arrays["train_norms"].mean()
    assert np.allclose(parts.unseen["ood"].norms, mean)
    assert np.allclose(parts.test.features.norms, mean)
    assert np.array_equal(parts.val.features.norms, arrays["val_norms"])
    assert notes == ("the mean of `train_norms` as there is no `test_norms`, `ood_norms`",)


def test_given_lengths_of_judged_rows_are_not_mixed_with_none_of_train_rows(complete_arrays):
    parts, notes = with_defaults(
        parts_in({key: array for key, array in complete_arrays.items() if key != "train_norms"}), ADAPTERS["cooked"]
    )
    assert set(parts.test.features.norms.tolist()) == {1.0}
    assert notes == ("each row taken to be of length 1, as there is no `train_norms`",)


def test_the_pool_of_train_rows_holds_no_labels_and_keeps_its_second_backbone(complete_arrays):
    arrays = {key: array for key, array in complete_arrays.items() if "unlabelled" not in key}
    parts, _ = with_defaults(parts_in(arrays), ADAPTERS["nola"])
    assert np.array_equal(parts.train.features.unlabelled, arrays["train_features"])
    assert np.array_equal(parts.train.features.unlabelled_second, arrays["aux_train_features"])


@pytest.mark.parametrize("name", ["amu", "caps", "nola", "vcd", "fudd", "perceptionclip"])
def test_all_that_is_missing_is_named_at_once(complete_arrays, name):
    bare = {"prototypes", *(f"{part}_{key}" for part in ("train", "val", "test") for key in ("features", "labels"))}
    parts = parts_in({key: array for key, array in complete_arrays.items() if key in bare})
    kind = ADAPTERS[name]
    keys = {"second": "aux_val_features", "captions": "train_caption_features", "class_texts": "class_texts"}
    with pytest.raises(MissingFeaturesError) as error:
        with_defaults(parts, kind)
    for field in (*kind.needs, *kind.row_needs):
        if field in keys:
            assert f"`{keys[field]}`" in str(error.value).partition("got none for")[2]


def test_an_empty_pool_is_no_pool(complete_arrays):
    arrays = complete_arrays | {key: complete_arrays[key][:0] for key in complete_arrays if "unlabelled" in key}
    parts, notes = with_defaults(parts_in(arrays), ADAPTERS["grip"])
    assert np.array_equal(parts.train.features.unlabelled, arrays["train_features"])
    assert notes[0].endswith("as there is no `unlabelled_features`")
