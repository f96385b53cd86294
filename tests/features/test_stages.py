"""A profile says where the time of encoding went: by the clock, whoever worked."""

import time

import pytest

from evenly.features.encoder import load_encoder
from evenly.features.encoders.stages import (
    COMPUTING,
    DECODING,
    PREPROCESSING,
    READING,
    WRITING,
    Profile,
    profiled,
    timed,
)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_encoding_is_decoding_preprocessing_and_computing(tiny_checkpoint, drawings, device):
    encoder = load_encoder("tiny-random", str(tiny_checkpoint), cache="unused", threads=2, batch_size=4, device=device)
    with profiled() as profile:
        encoder.encode_images(drawings)
    assert profile.pictures == 37
    assert profile.shared == (device == "cpu")
    assert profile.at_once[DECODING] == 2
    assert profile.at_once[COMPUTING] == (2 if device == "cpu" else 1)
    assert {stage for stage, seconds in profile.seconds.items() if seconds} == {DECODING, PREPROCESSING, COMPUTING}
    assert profile.limit in {DECODING, PREPROCESSING, COMPUTING}
    before = dict(profile.seconds)
    encoder.encode_images(drawings)  # nobody takes a profile any more
    assert profile.seconds == before


def profile_of(*, shared, threads=4, **seconds) -> Profile:
    """A profile of ten seconds."""
    profile = Profile()
    profile.of_batches(100, threads=threads, shared=shared)
    profile.add(READING, 0.0, 0.0)
    profile.add(WRITING, 10.0, 10.0)
    profile.seconds |= seconds
    return profile


@pytest.mark.parametrize(
    ("profile", "limit", "busy"),
    [
        (profile_of(shared=True, reading=1.0, decoding=8.0, computing=30.0), "computing", 0.75),
        (profile_of(shared=True, reading=9.9, decoding=8.0, computing=25.0), "reading", 0.99),
        (profile_of(shared=True, decoding=20.0, preprocessing=16.0, computing=2.0), "decoding", 0.5),
        (profile_of(shared=False, decoding=12.0, preprocessing=24.0, computing=8.0), "preprocessing", 0.6),
        (profile_of(shared=False, decoding=12.0, preprocessing=20.0, computing=9.5), "computing", 0.95),
        (profile_of(shared=False, decoding=12.0, writing=9.0), "writing", 0.9),
    ],
)
def test_the_limit_is_the_longest_stage_of_the_busiest_threads(profile, limit, busy):
    assert (profile.limit, profile.busy(limit)) == (limit, pytest.approx(busy))


def test_two_profiles_may_be_taken_at_once():
    with profiled() as outer:
        with profiled() as inner, timed(READING):
            time.sleep(0.01)
        with timed(READING):
            time.sleep(0.01)
    assert outer.seconds[READING] > inner.seconds[READING] > 0.009
