import json
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.features.dense.given import MOST_LENGTH, MOST_REGIONS, MOST_TEXT, region_entries, stated_regions
from evenly.features.dense.regions import decoded_mask, encoded_mask

SIZE = (12, 8)  # width, height
MASK = np.zeros((8, 12), bool)
MASK[2:5, 3:9] = True
COUNTS = encoded_mask(MASK)
LENGTHS = {"size": [8, 12], "counts": [26, 3, 5, 3, 5, 3, 5, 3, 5, 3, 5, 3, 27]}
SQUARE = [3, 2, 9, 2, 9, 5, 3, 5]


def entry(value, size=SIZE):
    (region,) = region_entries(value, size)
    return region


def reasons(value, size=SIZE):
    return [region.get("reason", "") for region in region_entries(value, size)]


@pytest.mark.parametrize(
    "value",
    [
        [[3, 2, 9, 5], [0, 0, 4, 4]],
        [{"bbox": [3, 2, 6, 3]}, {"box": [0, 0, 4, 4]}],
        {"bbox": [[3, 2, 6, 3], [0, 0, 4, 4]], "id": [7, 8]},
        {"annotations": [{"bbox": [3.0, 2, 6, 3], "id": 1}, {"bbox": [0, 0, 4, 4]}], "categories": []},
    ],
)
def test_boxes_of_every_form_are_corners_also_as_json(value):
    for given_value in (value, json.dumps(value)):
        assert [region["box"] for region in region_entries(given_value, SIZE)] == [(3, 2, 9, 5), (0, 0, 4, 4)]
        assert reasons(given_value) == ["", ""]


def test_names_phrases_and_scores_are_those_of_coco_and_of_its_kin():
    annotations = [
        {"bbox": [0, 0, 4, 4], "category_id": 18, "score": 0.75},
        {"bbox": [0, 0, 4, 4], "category_id": 4, "attributes": ["red", "small"]},
        {"bbox": [0, 0, 4, 4], "category_name": " a\n cup ", "attributes": {"colour": "blue", "occluded": True}},
        {"bbox": [0, 0, 4, 4], "label": "dog", "caption": "a dog that sleeps", "score": None},
        {"bbox": [0, 0, 4, 4], "attributes": {"red": True, "wet": False, "n": 3}},
        {"bbox": [0, 0, 4, 4], "attributes": ["", 4, {}, "sm\nall"]},
        {"bbox": [0, 0, 4, 4], "attributes": "red"},
    ]
    value = {"annotations": annotations, "categories": [{"id": 18, "name": "dog"}, "broken", {"id": None}]}
    regions = stated_regions([None, value], [(1, 1), SIZE], source="column:objects")
    assert regions.labels.tolist() == ["dog", "4", "a cup", "dog", "", "", ""]
    assert regions.phrases.tolist() == ["", "red, small 4", "blue a cup", "a dog that sleeps", "", "sm all", ""]
    assert [score for score in regions.scores if not math.isnan(score)] == [0.75]
    attributes = [{"red": 1, "small": 1}, {"blue": 1, "occluded": 1}, {"red": 1, "wet": 0}, {"sm all": 1}]
    assert [known for known in regions.attributes if known] == attributes
    assert regions.picture.tolist() == [1] * 7
    assert set(regions.sources) == {"column:objects"}
    assert not any(regions.reasons)


@pytest.mark.parametrize("segmentation", [LENGTHS, {"size": [8, 12], "counts": COUNTS}, [SQUARE], SQUARE,
                                          {"size": [8, 12], "counts": COUNTS.encode()}])  # fmt: skip
def test_masks_of_every_form_are_the_same_and_give_the_box_that_is_missing(segmentation):
    region = entry([{"segmentation": segmentation, "label": "cup"}])
    assert region == {"label": "cup", "phrase": "", "mask": COUNTS, "box": (3, 2, 9, 5)}
    assert np.array_equal(decoded_mask(region["mask"], SIZE), MASK)
    assert entry([{"segmentation": segmentation, "bbox": [1, 1, 2, 2]}])["box"] == (1, 1, 3, 3)


def test_what_is_partly_outside_is_cut_at_the_edge_of_the_picture():
    assert entry([[-5, -5, 3.5, 99]])["box"] == (0, 0, 3.5, 8)
    cut = entry([{"segmentation": [[-5, -5, 4, -5, 4, 99, -5, 99]]}])
    assert cut["box"] == (0, 0, 4, 8)
    assert decoded_mask(cut["mask"], SIZE).sum() == 32


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("dog", "not_a_region"), (7, "not_a_region"), (None, "not_a_region"),
        ({}, "not_a_box"), ([], "not_a_box"), ([1, 2, 3], "not_a_box"), ([1, 2, 3, "4"], "not_a_box"),
        ([1, 2, True, 4], "not_a_box"), ([math.nan, 0, 1, 1], "not_a_box"), ([0, 0, math.inf, 1], "not_a_box"),
        ([0, 0, 10**400, 1], "not_a_box"), ([4, 0, 4, 3], "not_a_box"), ([5, 0, 4, 3], "not_a_box"),
        ({"bbox": [1, 1, 0, 3]}, "not_a_box"), ({"bbox": {"x": 1}}, "not_a_box"), ({"bbox": "1 2 3 4"}, "not_a_box"),
        ([12, 0, 20, 4], "outside"), ([-9, -9, 0, 0], "outside"), ({"bbox": [-8, 1, 8, 2]}, "outside"),
        ({"segmentation": [[20, 20, 30, 20, 30, 30]]}, "empty_mask"),
        ({"bbox": [0, 0, 3, 3], "segmentation": {"size": [8, 12], "counts": [96]}}, "empty_mask"),
        ({"bbox": [0, 0, 3, 3], "segmentation": {"size": [12, 8], "counts": COUNTS}}, "mask_of_another_size"),
        ({"bbox": [0, 0, 3, 3], "segmentation": {"size": [8, 12], "counts": [95]}}, "mask_of_another_size"),
        ({"bbox": [0, 0, 3, 3], "segmentation": {"counts": COUNTS}}, "mask_of_another_size"),
        ({"bbox": [0, 0, 3, 3], "segmentation": {"size": [8, 12], "counts": [97, -1]}}, "bad_mask"),
        ({"bbox": [0, 0, 3, 3], "segmentation": {"size": [8, 12], "counts": [2.0, 94]}}, "bad_mask"),
        ({"bbox": [0, 0, 3, 3], "mask": "ooo"}, "bad_mask"),
        ({"bbox": [0, 0, 3, 3], "segmentation": {"size": [8, 12], "counts": "ooo"}}, "bad_mask"),
        ({"bbox": [0, 0, 3, 3], "segmentation": {"size": [8, 12], "counts": "\ud800"}}, "bad_mask"),
        ({"bbox": [0, 0, 3, 3], "segmentation": {"size": [8, 12], "counts": {"a": 1}}}, "bad_mask"),
        ({"bbox": [0, 0, 3, 3], "segmentation": "mask.png"}, "bad_mask"),
        ({"bbox": [0, 0, 3, 3], "segmentation": [[1, 2, 3, 4]]}, "bad_mask"),
        ({"bbox": [0, 0, 3, 3], "segmentation": [SQUARE, None]}, "bad_mask"),
        ({"bbox": [0, 0, 3, 3], "segmentation": [[0, 0, 1e300, 0, 4, 4]]}, "bad_mask"),
        ({"bbox": [0, 0, 3, 3], "segmentation": [[0, 0, math.nan, 0, 4, 4]]}, "bad_mask"),
        ({"box": [0, 0, 3, 3], "label": "x" * (MOST_TEXT + 1)}, "bad_text"),
        ({"box": [0, 0, 3, 3], "label": {"en": "dog"}}, "bad_text"),
        ({"box": [0, 0, 3, 3], "score": "high"}, "not_a_score"),
        ({"box": [0, 0, 3, 3], "score": math.inf}, "not_a_score"),
        ({"box": [0, 0, 3, 3], "iscrowd": 1}, "crowd"),
    ],
)  # fmt: skip
def test_an_entry_that_is_no_region_stays_with_its_reason(item, reason):
    assert reasons([item, [0, 0, 1, 1]]) == [reason, ""]


@pytest.mark.parametrize(
    "value", ["", "{", "7", '"dog"', "[" * 100_000, 7, b"[]", "[" + " " * 4_000_000 + "]", {"annotations": "none"},
              {"bbox": [[0, 0, 1, 1]], "category": ["cup", "dog"]}, "9" * 5_000],
)  # fmt: skip
def test_a_value_that_holds_no_regions_is_one_row_that_says_so(value):
    assert reasons(value) == ["not_regions"]


def test_null_and_empty_lists_are_no_regions_and_too_many_are_none_of_them():
    assert [region_entries(value, SIZE) for value in (None, "null", [], "[]", {"annotations": None})] == [[]] * 5
    assert reasons([[0, 0, 1, 1]] * MOST_REGIONS) == [""] * MOST_REGIONS
    assert reasons([[0, 0, 1, 1]] * (MOST_REGIONS + 1)) == ["too_many_regions"]


def test_polygons_of_a_picture_have_a_length_together():
    size, around = (60_000, 1_000), [0, 0, 60_000, 0, 60_000, 900, 0, 900]  # a length of 121,800
    before = time.process_time()
    listed = reasons([{"segmentation": [around]}] * 20, size)
    assert time.process_time() - before < 5
    fitting = MOST_LENGTH // 121_800
    assert listed == [""] * fitting + ["long_polygons"] * (20 - fitting)


def test_texts_are_one_line_of_unicode():
    assert entry([{"box": [0, 0, 1, 1], "label": "a\ud800\0b\tc"}])["label"] == "a? b c"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.just("bbox"),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(
                [
                    "bbox",
                    "box",
                    "segmentation",
                    "counts",
                    "size",
                    "label",
                    "annotations",
                    "categories",
                    "score",
                    "attributes",
                    "caption",
                    "category_id",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_whatever_a_column_holds_what_counts_is_a_box_inside_the_picture(value):
    regions = stated_regions([value], [SIZE], source="column:x")
    for box, reason in zip(regions.boxes.tolist(), regions.reasons, strict=True):
        assert reason or (0 <= box[0] < box[2] <= SIZE[0] and 0 <= box[1] < box[3] <= SIZE[1])
    json.dumps(regions.rows(), allow_nan=False).encode()
