"""The real models on drawn text, where the extra `ocr` is installed."""

import importlib.util
import sys

import pytest

from evenly.features.errors import WeightsUnavailableError
from evenly.features.pictures.text_reader import LONGEST, TextReader
from tests.drawn_text import drawn_text

installed = pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="the extra `ocr` is not installed")


@pytest.fixture(scope="module")
def reader():
    return TextReader()


@installed
def test_drawn_text_is_read_line_by_line_whatever_is_read_beside_it(reader):
    lines, broken, nothing = drawn_text("SUMMER SALE\nfresh bread"), b"\x89PNG no more", drawn_text("")
    advanced = []
    assert reader.read([lines, broken, nothing, lines], progress=advanced.append) == [
        "SUMMER SALE\nfresh bread",
        "",
        "",
        "SUMMER SALE\nfresh bread",
    ]
    assert advanced == [1] * 4
    assert reader.read([]) == []


@installed
@pytest.mark.parametrize(
    "size", [(2, 3000), *(pytest.param(size, marks=pytest.mark.slow) for size in ((1, 1), (3000, 2)))]
)
def test_pictures_of_any_shape_are_brought_to_one_size(reader, size):
    assert reader.read([drawn_text("", size=size)]) == [""]


@installed
def test_what_is_read_is_printable_and_cut(reader, monkeypatch):
    class Engine:
        txts = ("a\x1b[31m\u202eb", "  ", "c" * 2 * LONGEST)

        def __call__(self, _pixels) -> "Engine":
            return self

    monkeypatch.setitem(reader.__dict__, "_engine", Engine())
    (text,) = reader.read([drawn_text("")])
    assert text.startswith("a [31m b\nccc")
    assert len(text) == LONGEST


@installed
def test_the_identity_is_of_the_models_and_not_of_the_reader(reader):
    assert reader.identity == TextReader().identity


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(WeightsUnavailableError, match=r"pip install 'rapidocr.*`, or leave `read_text` out"):
        TextReader()
