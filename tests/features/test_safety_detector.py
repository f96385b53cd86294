"""The real model on pictures that show nobody, where the extra `safety` is installed."""

import importlib.util
import io
import sys

import numpy as np
import pytest
from PIL import Image

from evenly.curation.exclusions.safety import EXPOSED
from evenly.features.errors import WeightsUnavailableError
from evenly.features.safety_detector import SafetyDetector

INSTALLED = importlib.util.find_spec("nudenet") is not None
installed = pytest.mark.skipif(not INSTALLED, reason="the extra `safety` is not installed")


def png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def detector():
    return SafetyDetector()


@installed
def test_the_model_knows_the_classes_that_count_as_unsafe(detector):
    assert len(detector.classes) == 18
    assert set(EXPOSED) < set(detector.classes)


@installed
def test_pictures_of_nobody_have_low_scores_that_do_not_depend_on_their_neighbours(detector):
    shades = Image.linear_gradient("L").convert("RGB").resize((640, 200))
    images = [
        png(shades),
        png(shades.rotate(90)),
        b"none",
        png(Image.new("LA", (1, 900))),
        png(Image.new("RGB", (1, 100_000))),
    ]
    scores = detector.scores(images)
    assert scores.shape == (5, 18)
    assert np.isnan(scores[2]).all()
    assert (scores[[0, 1, 3, 4]] < 0.25).all()
    assert np.array_equal(detector.scores(images[3:]), scores[3:])


@installed
def test_photographs_of_a_dressed_woman_and_of_no_one_are_safe(detector):
    from matplotlib.cbook import get_sample_data
    from sklearn.datasets import load_sample_images

    with get_sample_data("grace_hopper.jpg") as stream:
        woman = stream.read()
    photographs = [woman, *(png(Image.fromarray(one)) for one in load_sample_images().images)]
    scores = detector.scores(photographs)
    assert detector.classes[scores[0].argmax()] == "FACE_FEMALE"
    assert scores[0].max() > 0.5
    assert scores[:, [detector.classes.index(name) for name in EXPOSED]].max() < 0.25


@installed
def test_the_identity_follows_from_the_weights(detector, tmp_path):
    other = tmp_path / "other.onnx"
    other.write_bytes(b"other")
    assert SafetyDetector(other).identity != detector.identity == SafetyDetector().identity


def test_without_the_package_the_remedy_is_told(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "nudenet" else found(name))
    with pytest.raises(WeightsUnavailableError, match="pip install 'nudenet"):
        SafetyDetector()


@installed
def test_the_package_itself_is_never_imported(detector):
    detector.scores([])
    assert "nudenet" not in sys.modules
