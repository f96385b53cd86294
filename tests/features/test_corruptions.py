import io
import zlib
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from evenly.features.corruptions import (
    CORRUPTIONS,
    FAMILIES,
    STRENGTHS,
    corrupt,
    corrupted_bytes,
    kinds,
    resized,
)
from evenly.features.errors import CorruptionError, UnreadableImageError

NAMES = (
    "gaussian_noise", "shot_noise", "impulse_noise", "gaussian_blur", "defocus_blur", "motion_blur",
    "fog", "brightness", "contrast", "jpeg", "pixelate", "posterize",
)  # fmt: skip
DRAWN = ("gaussian_noise", "shot_noise", "impulse_noise", "motion_blur", "fog")
every_corruption = pytest.mark.parametrize("name", NAMES)


def file_of(pixels, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="module")
def photographs():
    """Two photographs of 640 x 427, brought to 224 pixels of height, and a digit of 8 x 8."""
    from sklearn.datasets import load_digits, load_sample_images

    photos = [resized(file_of(image)) for image in load_sample_images().images]
    digit = np.repeat((load_digits().images[7] / 16 * 255).astype(np.uint8)[:, :, None], 3, axis=2)
    return [*photos, resized(file_of(digit), side=96)]


def change(picture, name, strength, **options):
    given = {"strength": strength, "seed": 0, "key": "a"} | options
    return np.abs(corrupt(picture, name, **given).astype(int) - picture).mean()


def test_families_hold_each_corruption_once():
    assert tuple(CORRUPTIONS) == NAMES
    assert [name for names in FAMILIES.values() for name in names] == list(NAMES)
    assert set(FAMILIES) == {"noise", "blur", "weather", "digital"}


@every_corruption
def test_each_strength_changes_real_pictures_more_than_the_last(name, photographs):
    for picture in photographs:
        changes = [change(picture, name, strength) for strength in (0, *STRENGTHS)]
        assert changes[0] == 0
        assert (np.diff(changes) > 0).all(), changes


@every_corruption
def test_shape_and_type_stay_and_the_picture_given_too(name, photographs):
    for picture in photographs:
        before = zlib.crc32(picture)
        found = corrupt(picture, name, strength=5, seed=0, key="a")
        assert found.shape == picture.shape
        assert found.dtype == np.uint8
        assert zlib.crc32(picture) == before


@every_corruption
def test_the_picture_depends_on_seed_corruption_strength_and_key_alone(name, photographs):
    picture = photographs[0][:64, :80]
    first = corrupt(picture, name, strength=3, seed=1, key="a")
    np.random.default_rng(0).random(10)
    assert np.array_equal(corrupt(picture.copy(), name, strength=3, seed=1, key="a"), first)
    others = [corrupt(picture, name, strength=3, seed=2, key="a"), corrupt(picture, name, strength=3, seed=1, key="b")]
    assert all(np.array_equal(other, first) for other in others) == (name not in DRAWN)


@every_corruption
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 40, 3), (33, 2, 3)])
@pytest.mark.parametrize("value", [0, 255])
def test_tiny_black_and_white_pictures_are_no_error(name, shape, value):
    for strength in (1, 5):
        assert corrupt(np.full(shape, value, np.uint8), name, strength=strength, seed=0, key="a").shape == shape


def test_stronger_noise_is_the_same_noise(photographs):
    picture = photographs[0]
    grey = np.full_like(picture, 128)
    weak, strong = (corrupt(grey, "gaussian_noise", strength=s, seed=0, key="a").astype(int) - 128 for s in (1, 2))
    inside = (strong > -128) & (strong < 127)
    np.testing.assert_allclose(strong[inside] * 0.08 / 0.12, weak[inside], atol=1)
    hit = [corrupt(picture, "impulse_noise", strength=s, seed=0, key="a") != picture for s in STRENGTHS]
    assert all((weaker <= stronger).all() for weaker, stronger in pairwise(hit))


def test_noise_has_the_stated_size():
    grey = np.full((300, 300, 3), 128, np.uint8)
    noisy = corrupt(grey, "gaussian_noise", strength=1, seed=0, key="a") / 255
    assert noisy.std() == pytest.approx(0.08, rel=0.02)
    shot = corrupt(grey, "shot_noise", strength=1, seed=0, key="a") / 255
    assert shot.mean() == pytest.approx(128 / 255, rel=0.01)
    assert shot.std() == pytest.approx(np.sqrt(128 / 255 / 60), rel=0.02)
    impulse = corrupt(grey, "impulse_noise", strength=5, seed=0, key="a")
    assert (impulse != 128).mean() == pytest.approx(0.27, rel=0.02)
    assert (impulse == 0).mean() == pytest.approx(0.135, rel=0.03)


@pytest.mark.parametrize("name", FAMILIES["blur"])
@pytest.mark.parametrize("strength", STRENGTHS)
def test_blur_keeps_flat_pictures_and_the_mean(name, strength):
    flat = np.full((40, 50, 3), 77, np.uint8)
    assert np.array_equal(corrupt(flat, name, strength=strength, seed=0, key="a"), flat)
    dot = np.zeros((101, 101, 3), np.uint8)
    dot[46:55, 46:55] = 255
    blurred = corrupt(dot, name, strength=strength, seed=0, key="a")
    assert blurred.mean() == pytest.approx(dot.mean(), rel=0.05)


def test_convolution_equals_scipys_ndimage(photographs):
    from scipy.ndimage import convolve

    picture = photographs[0][:60, :70]
    x, y = kinds._grid(4)
    kernel = (3.5 - np.hypot(x, y)).clip(0, 1)
    expected = convolve(picture / 255, (kernel / kernel.sum())[:, :, None], mode="reflect")
    assert np.abs(kinds._convolved(picture, kernel).astype(int) - np.rint(expected * 255)).max() <= 1


def test_brightness_is_that_of_hsv(photographs):
    from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

    picture = photographs[1]
    hsv = rgb_to_hsv(picture / 255)
    hsv[:, :, 2] = (hsv[:, :, 2] + 0.3).clip(0, 1)
    expected = np.rint(hsv_to_rgb(hsv) * 255)
    assert np.abs(corrupt(picture, "brightness", strength=3, seed=0, key="a") - expected).max() <= 1


def test_fog_is_uneven_and_only_whitens(photographs):
    foggy = corrupt(photographs[0], "fog", strength=3, seed=0, key="a")
    assert (foggy >= photographs[0]).all()
    veil = kinds._clouds((50, 60), np.random.default_rng(0))
    assert (veil.min(), veil.max()) == (0, 1)
    assert np.abs(np.diff(veil, axis=0)).max() < 0.5


@pytest.mark.parametrize(("strength", "levels"), [(1, 12), (2, 8), (3, 5), (4, 3), (5, 2)])
def test_posterized_channels_have_that_many_levels(photographs, strength, levels):
    found = corrupt(photographs[0], "posterize", strength=strength, seed=0, key="a")
    assert len(np.unique(found)) == levels


@every_corruption
def test_files_come_back_as_png_of_one_size(name, photographs):
    data = file_of(photographs[0][:100, :150], "JPEG")
    found = corrupted_bytes(data, name, strength=2, seed=0, key="a", side=64)
    with Image.open(io.BytesIO(found)) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (96, 64))
        pixels = np.asarray(picture)
    assert np.array_equal(pixels, corrupt(resized(data, side=64), name, strength=2, seed=0, key="a"))
    assert corrupted_bytes(data, name, strength=2, seed=0, key="a", side=64) == found


def test_strength_0_is_the_resized_picture(photographs):
    data = file_of(photographs[0])
    with Image.open(io.BytesIO(corrupted_bytes(data, "fog", strength=0, seed=0, key="a"))) as picture:
        assert np.array_equal(np.asarray(picture), resized(data))


def test_a_strip_is_not_blown_up():
    assert resized(file_of(np.zeros((1, 5000, 3), np.uint8))).shape == (1, 1792, 3)
    assert resized(file_of(np.zeros((2, 3, 3), np.uint8)), side=10).shape == (10, 15, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "rain"}, "`name` must be one of gaussian_noise, shot_noise, .*; got `rain`"),
        ({"strength": 6}, r"`strength` must be 0 \(as it is\) or 1 to 5; got 6"),
        (
            {"rgb": np.zeros((4, 4), np.uint8)},
            r"`rgb` must be a uint8 array \(h, w, 3\) with pixels; got uint8 \(4, 4\)",
        ),
        ({"rgb": np.zeros((4, 4, 3))}, "`rgb` must be a uint8 array"),
        ({"rgb": np.zeros((0, 4, 3), np.uint8)}, "`rgb` must be a uint8 array"),
    ],
)
def test_what_is_no_corruption_or_no_picture_is_refused(options, message):
    given = {"rgb": np.zeros((4, 4, 3), np.uint8), "name": "fog", "strength": 1, "seed": 0, "key": "a"} | options
    with pytest.raises(CorruptionError, match=message):
        corrupt(given.pop("rgb"), given.pop("name"), **given)


def test_files_that_do_not_decode_and_sides_of_nothing_are_refused():
    with pytest.raises(UnreadableImageError):
        corrupted_bytes(b"nothing", "fog", strength=1, seed=0, key="a")
    with pytest.raises(CorruptionError, match="`side` must be at least 1 pixel; got 0"):
        corrupted_bytes(file_of(np.zeros((2, 2, 3), np.uint8)), "fog", strength=1, seed=0, key="a", side=0)
