import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evenly.demo.pictures.duplicates import ALIKE_RMS, SIDE_PX, alike_pairs, find_twins

VALUES = SIDE_PX * SIDE_PX * 3


def test_pictures_drawn_alike_stand_for_each_other():
    farmers = ["1F468-200D-1F33E", "1F9D1-200D-1F33E"]
    assert find_twins([*farmers, "1F34C"]) == dict.fromkeys(farmers, "1F468-200D-1F33E")


def test_skin_tones_and_flags_are_not_alike():
    codes = [
        "1F44D",
        "1F44D-1F3FB",
        "1F44D-1F3FC",
        "1F44D-1F3FD",
        "1F1F7-1F1F4",
        "1F1E7-1F1EA",
        "1F6CC-1F3FB",
        "1F6CC-1F3FC",
    ]
    assert find_twins(codes) == {}


@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_alike_pairs_are_those_within_the_bound(seed, noise):
    rng = np.random.default_rng(seed)
    picture = rng.integers(10, 245, VALUES, dtype=np.uint8)
    changed = (picture + rng.integers(-noise, noise + 1, VALUES)).astype(np.uint8)
    rms = np.sqrt(((picture.astype(float) - changed) ** 2).mean())
    other = rng.integers(0, 255, VALUES, dtype=np.uint8)
    assert alike_pairs(np.stack([picture, other, changed])) == ([(0, 2)] if rms <= ALIKE_RMS else [])
