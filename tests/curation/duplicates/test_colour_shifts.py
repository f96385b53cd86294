import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from evenly.curation.duplicates.colours import FAMILIES, find_shifts, shifted_pairs

SKIN, TONE, HAIR, SHIRT = (255, 220, 93), (191, 142, 84), (90, 70, 60), (40, 120, 200)


def picture(skin=SKIN):
    """A face, hair and shirt on white, cells as large as the grid's."""
    grid = np.full((16, 16, 3), 255, np.uint8)
    grid[1:5, 4:12], grid[5:10, 4:12], grid[10:15, 2:14] = HAIR, skin, SHIRT
    return grid


def turned(grid, degrees):
    hue, saturation, value = Image.fromarray(grid).convert("HSV").split()
    hue = hue.point(lambda level: (level + round(degrees / 360 * 256)) % 256)
    return np.asarray(Image.merge("HSV", (hue, saturation, value)).convert("RGB"))


def enhanced(enhance, factor):
    return lambda grid: np.asarray(enhance(Image.fromarray(grid)).enhance(factor))


SHIFTS = {
    "darker": ("brightness", enhanced(ImageEnhance.Brightness, 0.83)),
    "brighter": ("brightness", enhanced(ImageEnhance.Brightness, 1.17)),
    "faded": ("saturation", enhanced(ImageEnhance.Color, 0.6)),
    "vivid": ("saturation", enhanced(ImageEnhance.Color, 1.45)),
    "turned": ("hue", lambda grid: turned(grid, 17)),
    "turned back": ("hue", lambda grid: turned(grid, -13)),
}


def shift_between(one, other, limit=8):
    grids = np.stack([one.reshape(-1), other.reshape(-1)])
    (family,), (rest,) = find_shifts(grids, np.array([0]), np.array([1]), limit)
    return FAMILIES[family], int(rest)


@pytest.mark.parametrize(("family", "change"), SHIFTS.values(), ids=SHIFTS)
def test_a_change_of_the_whole_picture_is_found_by_its_kind(family, change):
    one, other = picture(), change(picture())
    assert abs(one.astype(int) - other).max() > 22
    assert shift_between(one, other)[0] == family
    assert shift_between(one, other) == shift_between(other, one)


@pytest.mark.parametrize("other", [picture(TONE), picture(SHIRT), picture().transpose(1, 0, 2), picture()[..., ::-1]])
def test_a_change_of_a_part_or_of_other_kind_is_none(other):
    assert shift_between(picture(), np.ascontiguousarray(other), limit=16)[0] == ""


@pytest.mark.parametrize("change", [enhanced(ImageEnhance.Brightness, 0.6), lambda grid: turned(grid, 60)])
def test_a_change_beyond_the_slight_is_none(change):
    assert shift_between(picture(), change(picture()), limit=12)[0] == ""


def test_what_is_left_after_the_change_is_told_and_the_limit_is_included():
    other = SHIFTS["faded"][1](picture()).copy()
    _, rest = shift_between(picture(), other)
    other[7, 7, 1] -= 30
    family, more = shift_between(picture(), other, limit=60)
    assert (family, 30 - rest <= more <= 30 + rest) == ("saturation", True)
    assert shift_between(picture(), other, limit=more)[0] == family
    assert shift_between(picture(), other, limit=more - 1)[0] == ""


def pairs_of(grids, hashes, *, max_distance=4, max_colour=22.0, max_shifted=8.0):
    flat = np.stack([grid.reshape(-1) for grid in grids])
    parts = shifted_pairs(flat, max_colour, max_shifted, np.array(hashes, np.uint64), max_distance)
    found = [pair for part in parts for pair in zip(*(side.tolist() for side in part), strict=True)]
    assert len(found) == len(set(found))
    return set(found)


def test_pairs_that_need_no_change_and_plain_pictures_are_left_out():
    plain, darker = np.full((16, 16, 3), 200, np.uint8), np.full((16, 16, 3), 160, np.uint8)
    assert shift_between(plain, darker)[0] == "brightness"
    assert pairs_of([plain, darker, picture(), picture(), SHIFTS["darker"][1](picture())], [0] * 5) == {(2, 4), (3, 4)}


def test_no_rows_have_no_pairs():
    assert not list(shifted_pairs(np.empty((0, 768), np.uint8), 22, 8, np.empty(0, np.uint64), 4))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=12), st.randoms(use_true_random=False), st.data())
def test_every_pair_of_hashes_within_the_distance_is_looked_at(hashes, chance, data):
    max_distance = data.draw(st.integers(0, 8))
    for at in range(1, len(hashes)):
        if chance.random() < 0.6:
            flips = chance.sample(range(64), chance.randrange(10))
            hashes[at] = hashes[0] ^ sum(1 << bit for bit in flips)
    grids = [picture() if at % 2 else SHIFTS["vivid"][1](picture()) for at in range(len(hashes))]
    assert pairs_of(grids, hashes, max_distance=max_distance) == {
        (i, j)
        for j in range(len(hashes))
        for i in range(j)
        if (i + j) % 2 and (hashes[i] ^ hashes[j]).bit_count() <= max_distance
    }
