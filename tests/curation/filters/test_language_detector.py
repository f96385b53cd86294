"""Many captions at once, against the detector of the package, which is asked of one after the other."""

import math
import re
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.curation.arrays import text_buffers
from evenly.curation.errors import ColumnsError
from evenly.curation.filters import language_detector, language_kernel
from evenly.curation.filters.caption_language import LANGUAGES, CaptionLanguage, measure_languages
from evenly.curation.filters.language_detector import LanguageDetector
from evenly.storage.files.unpacked import unpacked_arrays
from tests.curation.interpreted import agreed, interpreted

SCRIPTS = ("en", "fr", "ru", "zh", "ja", "ko", "ar", "th", "hi", "sr", "uz", "vi")  # sr and uz are two classes each
CHINESE, CYRILLIC, GERMAN = (
    "\u9ed1\u8272\u7684\u72d7",
    "\u043a\u0440\u0430\u0441\u043d\u043e\u0435 \u044f\u0431\u043b\u043e\u043a\u043e",
    "Gr\u00fc\u00dfe aus K\u00f6ln",
)
ODD = [
    *(None, "", " ", "123", "!?", "_", "a", "A", "\x00", "a\x00b", "\u00b2", "\u00bd", "\u2163", "\u0663"),
    *("HELLO WORLD", "Hello World", "IMG 123", CYRILLIC.upper(), CYRILLIC.title(), GERMAN.upper(), GERMAN),
    *("\u0130STANBUL", "\u01c5", "\u01c5 A", "\u1e9e", "\u24b6\u24b7", "\ud55c\uad6d\uc5b4", "\u1112\u1161\u11ab"),
    *("e\u0301cole", "a\u030a", "\u212b", "\u0344", "\u0958", "\u0e01\u0e47", "\u09c7\u09be", "q\u0323\u0307"),
    *("\ufb01ne", "\u0e01\u0e48\u0e38", "\U0001f600", "\U0001f468\u200d\U0001f469", "\U0001d4b3", "\U00010400"),
    *("\U00020000\U00020001", "\U0010ffff x"),
    *(CHINESE, CHINESE + " a dog", "a dog. " * 9000, CHINESE * 9000, "AB" * 20_000, "\ufdfa" * 300),
]  # fmt: skip


@pytest.fixture(scope="module")
def detector():
    return language_detector.language_detector(tuple(sorted(LANGUAGES)))


@pytest.fixture(params=["compiled", "arrays"])
def loops(request, monkeypatch):
    """The loops by which texts are judged."""
    monkeypatch.setattr(language_detector, "KERNEL_FROM", 0 if request.param == "compiled" else 1 << 30)
    if request.param == "arrays":
        monkeypatch.delitem(sys.modules, language_kernel.__name__)
    return request.param


def one_by_one(detector: LanguageDetector, texts):
    """What the package says of each text that holds a letter."""
    has_letter = np.array([re.search(r"[^\W\d_]", text or "") is not None for text in texts], np.bool_)
    judged = [text for text, is_judged in zip(texts, has_letter, strict=True) if is_judged]
    ranked = [dict(detector.identifier.rank(text)) for text in judged]
    rows = [[probabilities[code] for code in detector.languages] for probabilities in ranked]
    return has_letter, np.array(rows, np.float32).reshape(-1, len(detector.languages))


def assert_equal(results, expected):
    """To the last bit."""
    for result, wanted in zip(results, expected, strict=True):
        assert result.dtype == wanted.dtype
        assert np.array_equal(result, wanted)


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("among", [LANGUAGES, SCRIPTS, ("de", "en"), None], ids=["default", "scripts", "two", "all"])
def test_odd_texts_have_the_probabilities_that_each_has_alone(detector, among):
    detector = language_detector.language_detector(
        tuple(sorted(among or dict.fromkeys(detector.identifier._full_model[2])))
    )
    texts = ODD if among is LANGUAGES else [text and text[:400] for text in ODD]
    assert_equal(detector.probabilities(pa.array(texts, pa.string())), one_by_one(detector, texts))
    assert_prepared(detector, [text or "" for text in texts])


@pytest.mark.usefixtures("loops")
@settings(max_examples=150, deadline=None)
@given(
    texts=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
        | st.text(st.sampled_from("aeio\u0301\u0323\u0e01\u0e47\u1100\u1161\u11a8 AB\u00c9\u00e9\u0130."), max_size=12),
        max_size=30,
    )
)
def test_any_texts_have_the_probabilities_that_each_has_alone(detector, texts):
    assert_equal(detector.probabilities(pa.array(texts, pa.string())), one_by_one(detector, texts))
    assert_prepared(detector, texts)


def assert_prepared(detector, texts):
    """Captions are prepared to the very bytes that the detector walks."""
    for prepare in (language_detector._prepared, language_detector._prepared_one_by_one):
        has_letter, prepared = prepare(pa.array(texts, pa.string()))
        judged = [text for text, is_judged in zip(texts, has_letter, strict=True) if is_judged]
        assert prepared.cast(pa.binary()).to_pylist() == [detector.identifier._encode(text) for text in judged]


@pytest.fixture(scope="module")
def real_texts():
    """Glosses of ImageNet's classes, and the names of emoji in all languages, short and in a sentence."""
    import emoji

    folder = Path(find_spec("timm").origin).parent / "data" / "_info"  # to import it takes seconds
    lines = (folder / "imagenet_synset_to_definition.txt").read_text(encoding="utf-8").splitlines()
    glosses = [line.partition("\t")[2] for line in lines[::7]]
    for language in LANGUAGES:
        emoji.config.load_language(language)
    names = [data[code] for data in list(emoji.EMOJI_DATA.values())[::40] for code in LANGUAGES if code in data]
    names = [name.strip(":").replace("_", " ") for name in names]
    return [*glosses, *names, *(f"a drawing of {name}" for name in names)]


@pytest.mark.usefixtures("loops")
def test_real_captions_have_the_values_and_languages_that_each_has_alone(detector, real_texts):
    assert len(real_texts) > 4000
    captions = pa.array([*real_texts, None, "1"])
    assert_equal(detector.probabilities(captions), one_by_one(detector, captions.to_pylist()))
    rules = [{}, {"min_confidence": 0.0, "languages": ("en", "zh")}, {"min_confidence": 0.5, "languages": ("de",)}]
    batch = pa.table({"caption": captions})
    results = [measure_languages(batch, CaptionLanguage(**rule)) for rule in rules]
    assert results[0]["value"].null_count == 2
    for rule, result in zip(rules, results, strict=True):
        expected = [defined(detector, caption.as_py(), CaptionLanguage(**rule)) for caption in captions]
        assert result.to_pylist() == [{"value": value, "detected_language": code} for value, code in expected]


def defined(detector, text, rule):
    """The confidence and the language by the definition."""
    if text is None or not any(character.isalpha() for character in text):
        return None, None
    ranked = sorted(detector.identifier.rank(text), key=lambda language: (-language[1], language[0]))
    code, wanted = next(language for language in ranked if language[0] in rule.languages)
    other_code, other = next(language for language in ranked if language[0] not in rule.languages)
    value = round(wanted / (wanted + other), 4)
    return value, code if value >= rule.min_confidence else other_code


def test_few_captions_load_no_compiled_code(detector, monkeypatch):
    monkeypatch.delitem(sys.modules, language_kernel.__name__)
    has_letter, probabilities = detector.probabilities(pa.array(["a dog", None]))
    assert has_letter.tolist() == [True, False]
    assert math.isclose(probabilities.sum(), 1, rel_tol=1e-6)
    assert language_kernel.__name__ not in sys.modules


@pytest.mark.usefixtures("loops")
def test_captions_that_are_no_utf8_are_refused(detector):
    broken = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(np.array([0, 2, 4], np.int32)), pa.py_buffer(b"a \xe4\xbd")]
    )
    with pytest.raises(ColumnsError, match="`caption` must be UTF-8"):
        detector.probabilities(broken)


@pytest.mark.usefixtures("loops")
def test_cuts_change_nothing(detector, monkeypatch):
    captions = pa.array(["a dog", CYRILLIC, "", "une pomme rouge", "x" * 70, CHINESE] * 20).slice(3)
    whole = detector.probabilities(captions)
    monkeypatch.setattr(language_detector, "CUT_ROWS", 7)
    monkeypatch.setattr(language_detector, "CUT_BYTES", 64)
    monkeypatch.setattr(language_detector, "_PRODUCT", 1)
    assert_equal(detector.probabilities(captions), whole)
    cuts = [cut.to_pylist() for cut in language_detector._cuts(captions)]
    assert [text for cut in cuts for text in cut] == captions.to_pylist()
    assert all(len(cut) == 1 or (len(cut) <= 7 and len("".join(cut).encode()) <= 64) for cut in cuts)
    assert max(map(len, cuts)) > 1
    assert len(detector.probabilities(captions.slice(0, 0))[0]) == 0


PLAIN = interpreted(language_kernel.__name__)


@pytest.mark.parametrize("block", [1 << 15, 16])
def test_the_compiled_loops_are_those_of_python(detector, block, monkeypatch):
    monkeypatch.setattr(PLAIN, "BLOCK", block)
    texts = text_buffers(pa.array([text or "" for text in ODD[:-6]]))
    modules = (language_kernel, PLAIN)
    agreed(modules, "text_kinds", texts.data, texts.offsets, language_detector._character_flags())
    counts = np.zeros(len(detector.identifier.nb_ptc), np.int32)
    loop = "find_features", detector._automaton, texts.data, texts.offsets, counts
    (features, times, stops), *_, cleared = agreed(modules, *loop)
    assert stops[-1] == len(features) == len(times) > 100
    assert not cleared.any()
    begins = np.arange(5)
    table = np.arange(2 * len(counts), dtype=np.float32).reshape(-1, 2)
    rows = np.empty((5, 1, 3), np.float32), np.empty((5, 3, 2), np.float32)
    for module in modules:
        module.gather(features, times.astype(np.float32), begins, table, rows)
        assert np.array_equal(rows[1], table[features[begins[:, None] + np.arange(3)]])


@pytest.mark.slow
def test_the_unpacked_model_says_the_same(detector, tmp_path, monkeypatch):
    monkeypatch.setattr(language_detector.Unpacking, "reader", partial(unpacked_arrays, tmp_path))
    texts = pa.array(["a red fox in the snow", "ein roter Fuchs im Schnee", "un renard", "12", None])
    other = language_detector.language_detector.__wrapped__(tuple(sorted(LANGUAGES)))
    assert other.languages == detector.languages
    for values, expected in zip(other.probabilities(texts), detector.probabilities(texts), strict=True):
        np.testing.assert_array_equal(values, expected)
    assert other.identifier.classify("a red fox in the snow") == detector.identifier.classify("a red fox in the snow")
