"""Each hostile picture ends within its budget of processor time and memory, and the next picture is decoded."""

import resource
import time

import pytest

from evenly.curation.duplicates.fingerprints import fingerprint
from evenly.storage.decoders.process import cpu_budget_s, memory_budget
from evenly.storage.web.decoding import Measure, PictureChecks, check_picture
from evenly.storage.web.errors import FetchError
from tests.hostile_pictures import HOSTILE, encoded

MAX_PIXELS = 80_000_000
MEASURE = Measure(fingerprint, 1)
QUICK = (
    "JPEG, progressive, 3,000 scans", "JPEG, 400,000 empty segments", "PNG, 400 Mpx", "PNG, iCCP of 200 MB",
    "PNG, zTXt of 200 MB", "PNG, iTXt of 200 MB", "PNG, 1,000,000 empty chunks", "GIF, 1,500 frames",
    "GIF, 18 MB of comments", "WebP, 1,500 frames", "BMP, 9 Mpx in runs of one",
)  # fmt: skip


@pytest.fixture(scope="module")
def checks():
    with PictureChecks(max_pixels=MAX_PIXELS, measure=MEASURE) as pictures:
        yield pictures


def outcome(checks: PictureChecks, data: bytes) -> str:
    try:
        checks.check(data)
    except FetchError as error:
        return error.outcome
    return "success"


@pytest.mark.parametrize("name", QUICK)
def test_a_hostile_picture_ends_soon(checks, name):
    assert outcome(checks, HOSTILE[name]()) in {"success", "too_slow", "too_many_pixels", "truncated_image"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in QUICK])
def test_a_hostile_picture_ends_within_its_budget(name):
    data = HOSTILE[name]()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with PictureChecks(max_pixels=MAX_PIXELS, measure=MEASURE) as checks:
        word = outcome(checks, data)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert word in {"success", "too_slow", "too_much_memory", "too_many_pixels", "truncated_image"}
    assert used < cpu_budget_s(MAX_PIXELS) + 3
    assert after.ru_maxrss * 1024 < memory_budget(MAX_PIXELS, len(data)) + (256 << 20)


@pytest.mark.slow
def test_a_picture_that_is_slow_in_a_way_nobody_thought_of_is_too_slow():
    with PictureChecks(max_pixels=MAX_PIXELS, measure=Measure(spin, 1)) as checks:
        started = time.process_time()
        assert outcome(checks, encoded("PNG", "RGB", (8, 8))) == "too_slow"
        assert time.process_time() - started < 2  # the time is the decoder's, not ours


def spin(_picture: object) -> bytes:
    while True:
        pass


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_ordinary_picture_has_the_facts_and_the_measure_that_decoding_here_gives(checks, kind, mode):
    data = encoded(kind, mode, (300, 200))
    assert checks.check(data) == check_picture(data, max_pixels=MAX_PIXELS, measure=fingerprint)
