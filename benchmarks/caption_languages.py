"""Measure the language filter on short captions: the names of emoji in English and 13 other languages.

Prints the share kept at several thresholds, per language and kind of caption. With lingua installed it measures that
too, on the same scale.

Then it compares the speed with that of the public detector, which is asked of each caption in a loop: both take the
same slices in turn, the values of all captions are compared, and ratios are medians, on one core of processor time, so
that other load on the machine weighs little. Of two threads it is wall time, which needs an idle machine.

Run: python -m benchmarks.caption_languages [--texts FILE]
"""

import argparse
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from statistics import median

import emoji
import numpy as np
import pyarrow as pa
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from evenly.curation.filters.caption_language import LANGUAGES, CaptionLanguage, measure_language

LETTER = re.compile(r"[^\W\d_]")
SLICE, TURNS = 40_000, 7
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


@cache
def public_detector() -> LanguageIdentifier:
    detector = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    detector.set_languages(LANGUAGES)
    return detector


def by_public_loop(texts: list[str]) -> np.ndarray:
    """The values of the filter, with the public detector asked of each text; 1 where there is no letter to judge by."""
    detector, values = public_detector(), []
    for text in texts:
        ranked = dict(detector.rank(text))
        wanted, other = ranked.pop("en"), max(ranked.values())
        values.append(round(wanted / (wanted + other), 4) if LETTER.search(text) else 1.0)
    return np.array(values)


def timed(detect: Callable[[list[str]], np.ndarray], texts: list[str]) -> tuple[np.ndarray, float]:
    """The values, and microseconds of the processor per text."""
    started = time.process_time()
    values = detect(texts)
    return values, (time.process_time() - started) / len(texts) * 1e6


def compare(texts: list[str]) -> None:
    """Print the speed of the filter and of the public loop; ends with an error where a value differs."""
    by_filter(texts[:SLICE]), by_public_loop(texts[:1])  # load what they need
    spent: list[tuple[float, float]] = []
    for start in range(0, len(texts), SLICE):
        part = texts[start : start + SLICE]
        (values, ours), (public_values, public) = timed(by_filter, part), timed(by_public_loop, part)
        if not np.array_equal(values, public_values):
            raise SystemExit("the filter and the public loop find other values")
        spent.append((ours, public))
    ours, public = (median(side) for side in zip(*spent, strict=True))
    ratios = sorted(loop / filtered for filtered, loop in spent)
    print(f"\none core: {ours:.2f} us per caption, public loop {public:.2f}, all {len(texts):,} values equal:", end=" ")
    print(f"{median(ratios):.1f} times as fast ({ratios[0]:.1f} to {ratios[-1]:.1f})")
    walls = [[on_threads(texts, threads) for threads in (1, 2)] for _ in range(TURNS)]
    print(f"two threads: {median(one / two for one, two in walls):.2f} times as fast as one")


def on_threads(texts: list[str], threads: int) -> float:
    """Wall seconds by so many threads."""
    parts = [pa.table({"caption": texts[start : start + SLICE // 4]}) for start in range(0, len(texts), SLICE // 4)]
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        list(pool.map(lambda part: measure_language(part, CaptionLanguage()), parts))
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=Path, help="a file with a caption per line, to compare speed on")
    options = parser.parse_args()
    all_kinds = captions()
    show("langid", by_filter, all_kinds)
    try:
        show("lingua", by_lingua, all_kinds)
    except ImportError:
        print("\nlingua is not installed: nothing to compare with")
    lines = options.texts.read_text(encoding="utf-8").splitlines() if options.texts else []
    compare(lines or [text for texts in all_kinds.values() for text in texts])


if __name__ == "__main__":
    main()
