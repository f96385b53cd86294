"""Views are fixed by the picture's id and a number, lie on the picture, and show what they say."""

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from evenly.features.errors import BoxError, UnreadableImageError
from evenly.features.pictures.rgb import open_rgb
from evenly.features.pictures.views import AREAS, MOST_CROPS, RATIOS, View, ViewRule, box_views, view_files


def ramp(width: int, height: int) -> bytes:
    """A picture whose pixels say where they are: x in red, y in green."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    file = io.BytesIO()
    Image.fromarray(np.stack([x, y, 0 * x], axis=2).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def seen(data: bytes, view: View, key: str = "k") -> np.ndarray:
    (file,) = view_files(data, [view], key)
    return np.asarray(open_rgb(file)).astype(int)


def place(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """Of a view of a ramp: left, upper, right, lower; left beyond right where it is mirrored."""
    return (*pixels[0, 0, :2].tolist(), *pixels[-1, -1, :2].tolist())


PICTURE = ramp(120, 80)


@given(st.integers(1, 250), st.integers(1, 250), st.text(max_size=8), st.integers(0, MOST_CROPS))
def test_a_crop_lies_on_its_picture_and_has_the_area_and_the_ratio_asked_for(width, height, key, number):
    pixels = seen(ramp(width, height), View(crop=number), key)
    high, wide = pixels.shape[:2]
    left, upper, right, lower = place(pixels)
    assert 0 <= left <= right < width
    assert 0 <= upper <= lower < height
    if min(width, height) >= 60 and RATIOS[0] <= width / height <= RATIOS[1]:
        assert AREAS[0] * 0.97 <= wide * high / (width * height) <= AREAS[1]
        assert RATIOS[0] * 0.97 <= wide / high <= RATIOS[1] * 1.03


def test_a_crop_is_the_same_whatever_is_asked_for_beside_it():
    views = [View(crop=number, flip=True) for number in range(6)]
    all_of_them = view_files(PICTURE, views, "k")
    assert all_of_them == [view_files(PICTURE, [view], "k")[0] for view in views]
    assert len(set(all_of_them)) == 6
    assert view_files(PICTURE, views, "other") != all_of_them


def test_crops_are_pinned():
    """Stored features of views are looked up by their number: another law of drawing needs another name of the view."""
    assert [place(seen(PICTURE, View(crop=number))) for number in range(3)] == [
        (14, 0, 84, 69),
        (18, 6, 100, 67),
        (45, 1, 114, 77),
    ]


def test_half_of_the_crops_are_mirrored_where_asked():
    mirrored = []
    for number in range(200):
        left, _, right, _ = place(seen(PICTURE, View(crop=number, flip=True)))
        plain = place(seen(PICTURE, View(crop=number)))
        assert (left, right) in {(plain[0], plain[2]), (plain[2], plain[0])}
        mirrored.append(left > right)
    assert abs(np.mean(mirrored) - 0.5) < 3 * 0.5 / math.sqrt(200)


def test_boxes_and_mirror_images():
    assert place(seen(PICTURE, View(flip=True))) == (119, 0, 0, 79)
    assert place(seen(PICTURE, View(box=(10, 20, 30, 40)))) == (10, 20, 29, 39)
    assert place(seen(PICTURE, View(box=(-5, 0.5, 1000, 2.1)))) == (0, 0, 119, 2)
    assert place(seen(PICTURE, View(box=(10, 20, 30, 40), flip=True))) == (29, 20, 10, 39)
    beside = [View(box=(120, 0, 130, 10)), View(box=(0, -9, 5, 0))]
    assert view_files(PICTURE, beside, "k") == [b"", b""]
    with pytest.raises(UnreadableImageError):
        view_files(b"<html>", [View(flip=True)], "k")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "four numbers, x0, y0, x1, y1; got None"),
        ([1, 2, 3], "four numbers"),
        ([1, 2, 3, float("nan")], "four numbers"),
        ([1, 2, 3, 10**400], "four numbers"),
        ([1, 2, 3, "4"], "four numbers"),
        ([5, 0, 5, 9], "x0 < x1 and y0 < y1; got"),
    ],
)
def test_what_is_no_box_is_named(value, message):
    (error,) = box_views([value])
    assert isinstance(error, BoxError)
    assert message in str(error)


@pytest.mark.parametrize("value", [[[0, 1, 2.5, 3], [4, 5, 6, 7]], "[[0, 1, 2.5, 3], [4.0, 5, 6, 7]]"])
def test_boxes_are_a_list_or_its_json(value):
    assert box_views(value) == [View(box=(0, 1, 2.5, 3)), View(box=(4, 5, 6, 7))]


@pytest.mark.parametrize("value", ["", "none", "[" * 100_000, "{}", "3", 3, {"x0": 1}, "[[1, 2, 3, 1e999]]", [None]])
def test_what_is_no_list_of_boxes_counts_as_one_that_is_none(value):
    (error,) = box_views(value)
    assert isinstance(error, BoxError)
    assert box_views(None) == box_views("null") == box_views([]) == []


def test_a_rule_gives_its_views_by_name():
    assert [str(view) for view in ViewRule(crops=2).views] == ["crop 0", "crop 1"]
    assert [str(view) for view in ViewRule(crops=1, flip=True).views] == ["crop 0 flip"]
    assert [str(view) for view in ViewRule(flip=True).views] == ["flip"]
    assert str(View(box=(0, 1, 2.5, 3))) == "box 0 1 2.5 3"
    assert ViewRule(boxes="objects").views == ()
    assert str(ViewRule(crops=1, boxes="objects")) == "crop 0, boxes of `objects`"
    with pytest.raises(ValueError, match="views must be crops, flip or boxes; got none of them"):
        ViewRule()
    with pytest.raises(ValueError, match="`crops` must be 0 to 64; got 65"):
        ViewRule(crops=65)


@pytest.mark.parametrize(("width", "height"), [(120, 80), (7, 5), (1, 1)])
def test_quarters_cover_the_picture_from_the_upper_left(width, height):
    corners = [place(seen(ramp(width, height), View(quarter=number))) for number in range(4)]
    left, right = (width - 1) // 2, width // 2
    upper, lower = (height - 1) // 2, height // 2
    assert corners[:2] == [(0, 0, left, upper), (right, 0, width - 1, upper)]
    assert corners[2:] == [(0, lower, left, height - 1), (right, lower, width - 1, height - 1)]
    assert str(View(quarter=2)) == "quarter 2"
