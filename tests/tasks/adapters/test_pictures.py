"""Pictures of no build: encoded batch by batch in their order, and those that cannot be read are named."""

import base64
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from evenly.curation.duplicates.fingerprints import measure_fingerprint
from evenly.features.pictures.rgb import open_rgb
from evenly.storage.files.image_folders import Picture
from evenly.tasks.adapters import pictures as module
from evenly.tasks.adapters.pictures import encode_pictures
from evenly.tasks.decoding import PictureReader, fingerprint_in_process
from evenly.tasks.run import Run, SecondChoice
from tests.tasks.whole_rebuild import BLUE, GREEN, RED, ColourWords, picture


@pytest.fixture
def run(workspace, colour_words) -> Run:  # noqa: ARG001 - the run's encoder
    return Run(workspace=workspace, seed=3, processes=1)


def given(*contents: bytes, **errors: str) -> list[Picture]:
    pictures = [Picture(name=f"{at}.png", content=content, error="") for at, content in enumerate(contents)]
    return pictures + [Picture(name=name, content=b"", error=why) for name, why in errors.items()]


CONTENTS = [picture(colour, pattern=pattern) for pattern in range(3) for colour in (RED, GREEN, BLUE)]


def test_rows_are_unit_length_in_the_order_of_the_pictures(run):
    found = encode_pictures(run, given(*CONTENTS))
    assert found.places == tuple(range(9))
    assert found.names == tuple(f"{at}.png" for at in range(9))
    np.testing.assert_allclose(np.linalg.norm(found.image, axis=1), 1, atol=1e-6)
    assert found.image.argmax(axis=1).tolist() == [0, 1, 2] * 3
    assert found.second is None
    assert found.failed == ()


def test_this_process_decodes_none(run, monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Image, "open", refused)
    assert len(encode_pictures(run, iter(given(*CONTENTS)), total=9).image) == 9


def test_what_cannot_be_read_is_named_and_leaves_its_place(run):
    found = encode_pictures(run, [*given(CONTENTS[0], b"no picture", CONTENTS[1]), *given(gone="not there")])
    assert found.places == (0, 2)
    assert [name for name, _ in found.failed] == ["1.png", "gone"]
    assert found.failed[0][1].startswith("undecodable (")
    assert found.failed[1][1] == "not there"


@pytest.mark.parametrize("pictures", [[], given(b"no picture")])
def test_no_picture_gives_no_rows(run, pictures):
    found = encode_pictures(run, pictures)
    assert (len(found.image), len(found.norms), found.names) == (0, 0, ())
    assert len(found.failed) == len(pictures)


@pytest.mark.parametrize("at_once", [1, 2, 9, 100])
def test_a_second_backbone_gives_rows_beside(workspace, colour_words, monkeypatch, at_once):  # noqa: ARG001 - the run's encoder
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    backbone = SimpleNamespace(identity="2", encode_images=lambda images: ColourWords().encode_images(images)[:, ::-1])
    monkeypatch.setattr(module, "open_second", lambda _run: backbone)
    found = encode_pictures(Run(workspace=workspace, seed=3, second=SecondChoice(), processes=1), given(*CONTENTS))
    np.testing.assert_allclose(found.second, found.image[:, ::-1], atol=1e-6)


# The reader that looks before anything else decodes.


def test_a_reader_says_what_is_wrong_and_measures_what_is_right(run):
    with PictureReader(run) as reader:
        right, wrong, empty = reader.read([CONTENTS[0], CONTENTS[0][:200], b""])
    with PictureReader(run, "pillow") as reader:
        (plain,) = reader.read([CONTENTS[0]])
    assert right.error == ""
    assert right.fingerprint
    assert wrong.error
    assert empty.error
    assert (wrong.fingerprint, empty.fingerprint, plain.fingerprint) == (None, None, None)
    assert plain.pixels.tobytes() == open_rgb(CONTENTS[0]).tobytes()


@pytest.mark.parametrize(
    "reply", [{}, {"shape": [2, 2, 3]}, {"shape": [9, 9, 3], "bytes": np.zeros(12, np.uint8)}, {"shape": 3, "bytes": 1}]
)
def test_a_decoder_that_makes_up_its_reply_is_a_reason(run, monkeypatch, reply):
    with PictureReader(run, "torch") as reader:
        monkeypatch.setattr(reader, "_pool", SimpleNamespace(run=lambda *_: {"error": "", **reply}, close=lambda: None))
        (one,) = [reader.read_one(CONTENTS[0])]
    assert one.error.startswith("decoder_crashed (")
    assert one.pixels is None


def test_the_job_of_a_reader_answers_in_plain_values():
    right = fingerprint_in_process(CONTENTS[0], {})
    assert base64.b64decode(right.pop("fingerprint")) == measure_fingerprint(CONTENTS[0])
    assert right == {"error": ""}
    wrong = fingerprint_in_process(b"no picture", {})
    assert list(wrong) == ["error"]
    assert wrong["error"].startswith("undecodable (")
