"""Measure the language filter on short captions: the names of emoji in English and 13 other languages.

Prints the share kept at several thresholds, per language and kind of caption, and the speed. With lingua installed
it measures that too, on the same scale. Run: python -m benchmarks.caption_languages
"""

import time
from collections.abc import Callable

import emoji
import numpy as np
import pyarrow as pa

from evenly.curation.filters.caption_language import LANGUAGES, CaptionLanguage, measure_language

THRESHOLDS = (0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)
SENTENCES = {
    "de": "ein Foto von {}",
    "fr": "une photo de {}",
    "es": "una foto de {}",
    "it": "una foto di {}",
    "pt": "uma foto de {}",
}
TONES = {chr(code) for code in range(0x1F3FB, 0x1F400)}


def captions() -> dict[str, list[str]]:
    """Return captions per kind: English ones in several forms, and foreign names that are no English name."""
    for language in LANGUAGES:
        emoji.config.load_language(language)
    plain = {
        name: data
        for name, data in emoji.EMOJI_DATA.items()
        if data["status"] == emoji.STATUS["fully_qualified"] and not TONES & set(name)
    }
    flags = [name for name in plain if len(name) == 2 and 0x1F1E6 <= ord(name[0]) <= 0x1F1FF]
    names = {code: [words(plain[name][code]) for name in plain if code in plain[name]] for code in LANGUAGES}
    english = names.pop("en")
    kinds = {"en name": english, "en a drawing of a": [f"a drawing of a {name}" for name in english]}
    kinds["en icon"] = [f"{name} icon" for name in english]
    kinds["en Flag:"] = [f"Flag: {words(plain[name]['en'])}" for name in flags]
    known = {name.lower() for name in english}
    foreign = {code: [name for name in found if name.lower() not in known] for code, found in names.items()}
    sentences = {form: [form.format(name) for name in foreign[code]] for code, form in SENTENCES.items()}
    return kinds | foreign | sentences


def words(name: str) -> str:
    return name.strip(":").replace("_", " ")


def by_filter(texts: list[str]) -> np.ndarray:
    values = measure_language(pa.table({"caption": texts}), CaptionLanguage())
    return values.fill_null(1.0).to_numpy()


def by_lingua(texts: list[str]) -> np.ndarray:
    from lingua import IsoCode639_1, LanguageDetectorBuilder

    codes = [getattr(IsoCode639_1, code.upper()) for code in LANGUAGES]
    detector = LanguageDetectorBuilder.from_iso_codes_639_1(*codes).build()
    found = []
    for text in texts:
        ranked = {e.language.iso_code_639_1.name: e.value for e in detector.compute_language_confidence_values(text)}
        wanted, other = ranked.pop("EN"), max(ranked.values())
        found.append(wanted / (wanted + other) if wanted + other else 1.0)
    return np.array(found)


def show(name: str, detect: Callable[[list[str]], np.ndarray], kinds: dict[str, list[str]]) -> None:
    start = time.perf_counter()
    values = {kind: detect(texts) for kind, texts in kinds.items()}
    speed = sum(map(len, kinds.values())) / (time.perf_counter() - start)
    print(f"\n{name}: {speed:,.0f} captions/s; share kept at each threshold")
    print("kind".ljust(18), "n".rjust(5), *(f"{threshold:7}" for threshold in THRESHOLDS))
    for kind, found in values.items():
        shares = [f"{np.mean(found >= threshold):7.3f}" for threshold in THRESHOLDS]
        print(kind.ljust(18), str(len(found)).rjust(5), *shares)


if __name__ == "__main__":
    all_kinds = captions()
    show("langid", by_filter, all_kinds)
    try:
        show("lingua", by_lingua, all_kinds)
    except ImportError:
        print("\nlingua is not installed: nothing to compare with")
