from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import InvalidFeaturesError, MissingFeaturesError
from evenly.adapters.features import Features, checked_labels, unit_rows


def rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).normal(size=(n, d)))


def broken(value: float) -> np.ndarray:
    array = rows(4, 3)
    array[2, 1] = value
    return array


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image": broken(np.nan)}, r"`image` must be finite; got NaN or infinity at row 2 \(1 such rows\)"),
        ({"image": broken(np.inf)}, "`image` must be finite"),
        ({"image": 2 * rows(4, 3)}, "`image` must have rows of unit length; got 2 at row 0 .4 such rows.*unit_rows"),
        ({"image": np.zeros((2, 3), np.float32)}, "`image` must have rows of unit length; got 0 at row 0"),
        ({"image": rows(4, 3).astype(np.float64)}, "`image` must be a float32 array; got float64"),
        ({"image": rows(4, 3).astype(np.float16)}, "`image` must be a float32 array; got float16"),
        ({"image": rows(4, 3).tolist()}, "`image` must be a float32 array; got list"),
        ({"image": rows(4, 3)[0]}, r"`image` must have shape \(n, d\); got \(3,\)"),
        (
            {"image": rows(4, 3), "prototypes": rows(2, 5)},
            "`prototypes` must have the same dimension as `image`",
        ),
        ({"image": rows(4, 3), "prototypes": rows(0, 3)}, "`prototypes` must hold at least one class"),
        (
            {"image": rows(4, 3), "captions": rows(5, 3)},
            r"same number of rows as `image` \(4\); got 5",
        ),
        ({"image": rows(4, 3), "second": rows(3, 7)}, "`second` must have the same number of rows"),
        ({"image": rows(4, 3), "unlabelled": rows(9, 4)}, "`unlabelled` must have the same dimension"),
        ({"image": rows(4, 3), "views": rows(4, 3)}, r"`views` must have shape \(v, n, d\)"),
        (
            {"image": rows(4, 3), "views": np.stack([2 * rows(4, 3)] * 2)},
            "`views` must have rows of unit.*row 0, 0",
        ),
        ({"image": rows(4, 3), "norms": np.zeros(4, np.float32)}, "`norms` must be above 0; got 0 at row 0"),
    ],
)
def test_malformed_features_are_refused_with_the_place_and_the_remedy(fields, message):
    with pytest.raises(InvalidFeaturesError, match=message):
        Features(**fields)


def test_stored_half_precision_rows_pass_as_unit_rows():
    for d in (8, 512, 1280):
        stored = rows(200, d).astype(np.float16)
        assert len(Features(image=stored.astype(np.float32))) == 200


def test_the_record_and_its_arrays_cannot_be_changed():
    features = Features(image=rows(4, 3))
    with pytest.raises(FrozenInstanceError):
        features.image = rows(4, 3)  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        features.image[0, 0] = 1


def test_rows_takes_every_per_row_field_and_leaves_the_others():
    features = Features(
        image=rows(6, 3),
        norms=np.arange(1, 7, dtype=np.float32),
        views=np.stack([rows(6, 3, 1), rows(6, 3, 2)]),
        second=rows(6, 4),
        captions=rows(6, 3, 3),
        prototypes=rows(2, 3),
        unlabelled=rows(8, 3),
        encoder="e",
    )
    some = features.rows(np.array([4, 0]))
    assert np.array_equal(some.image, features.image[[4, 0]])
    assert np.array_equal(some.norms, [5, 1])
    assert np.array_equal(some.views, features.views[:, [4, 0]])
    assert np.array_equal(some.second, features.second[[4, 0]])
    assert np.array_equal(some.captions, features.captions[[4, 0]])
    assert not any(array.flags.writeable for array in vars(some).values() if isinstance(array, np.ndarray))
    assert (len(some.prototypes), len(some.unlabelled), some.encoder, some.dimension) == (2, 8, "e", 3)


def test_a_missing_field_is_named_with_the_adapter_that_needs_it():
    with pytest.raises(MissingFeaturesError, match=r"adapter `amu` must hold `image`, `second`; got none for `second`"):
        Features(image=rows(2, 3)).require("image", "second", adapter="amu")


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 30), st.floats(1e-3, 1e3))
def test_unit_rows_are_unit_and_do_not_depend_on_the_scale(n, d, scale):
    array = np.random.default_rng(n * d).normal(size=(n, d))
    unit = unit_rows(scale * array)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(unit, unit_rows(array), atol=1e-6)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_row_that_has_no_direction_is_refused(value):
    array = np.ones((3, 2))
    array[1] = value
    with pytest.raises(InvalidFeaturesError, match=r"`texts` must have finite rows longer than 0; got .* at row 1"):
        unit_rows(array, name="texts")


def test_unit_rows_wants_two_axes():
    with pytest.raises(InvalidFeaturesError, match="2 axes"):
        unit_rows(np.ones(3))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1]), r"shape \(3,\); got shape \(2,\)"),
        (np.array([0.0, 1.0, 1.0]), "must be integers; got float64"),
        (np.array([0, 2, 1]), "lie in 0 to 1; got 2 at row 1"),
        (np.array([0, 1, -1]), "lie in 0 to 1; got -1 at row 2"),
        (np.array(["a", "b", "c"]), "must be integers"),
    ],
)
def test_labels_that_do_not_fit_the_class_list_are_refused(labels, message):
    with pytest.raises(InvalidFeaturesError, match=message):
        checked_labels(labels, n=3, n_classes=2)


def test_no_rows_need_no_label_type():
    assert checked_labels(np.array([]), n=0, n_classes=2).dtype == np.int64
