"""Captions in a wanted language, by the naive Bayes n-gram model of langid (package py3langid).

Captions are short and often name one thing, so no detector is certain. What is stored is therefore a comparison,
not a probability: p(wanted) / (p(wanted) + p(likeliest other)), which does not shrink as languages are added.

Measured on the names of 1,923 emoji (benchmarks/caption_languages.py), share kept at the default threshold 0.07:
English 98.1 % of bare names, 97.3 % of "Flag: Kenya", over 99.9 % of names in a sentence; names in other scripts 0 to
3.4 %; names in other Latin languages 19 to 44 % bare and 0 to 12 % in a short sentence. Lingua keeps as much of bare
names, but 32 to 62 % of the foreign sentences, since its confidence does not grow with length. Recall of English comes
first: a caption wrongly kept is still matched, scored and balanced; one wrongly dropped is gone.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.columns import column
from evenly.curation.decisions import Decisions
from evenly.curation.errors import RuleError

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# ISO 639-1: the commonest of the web for which short labelled texts were at hand to measure with. Each language more
# costs speed and lets more captions look like something else.
LANGUAGES: tuple[str, ...] = ("ar", "de", "en", "es", "fa", "fr", "id", "it", "ja", "ko", "pt", "ru", "tr", "zh")


_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True, kw_only=True)
class CaptionLanguage:
    """Keep captions whose confidence to be in one of `languages` is at least `min_confidence`.

    `languages` and `among` are ISO 639-1 codes; `among` are the languages that are told apart.
    """

    languages: tuple[str, ...] = ("en",)
    min_confidence: float = 0.07
    among: tuple[str, ...] = LANGUAGES

    def __post_init__(self) -> None:
        unknown = sorted(set(self.languages) - set(self.among))
        if unknown or not self.languages:
            choices = ", ".join(self.among)
            raise RuleError(
                f"`languages` must be some of {choices}; got {list(self.languages)}. Add it to `among` too."
            )
        if not set(self.among) - set(self.languages):
            raise RuleError(f"`among` must hold another language than `languages`; got {list(self.among)}. Add one.")
        if not 0 <= self.min_confidence <= 1:
            raise RuleError(f"`min_confidence` must be in [0, 1]; got {self.min_confidence}. Correct the recipe.")


def measure_language(batch: pa.Table, rule: CaptionLanguage) -> pa.Array:
    """Return the confidence in [0, 1], 4 digits, that each `caption` is in a wanted language.

    Above 0.5 a wanted language is the likeliest. Null where the caption has no letters to judge by.
    """
    return measure_languages(batch, rule)["value"].combine_chunks()


def measure_languages(batch: pa.Table, rule: CaptionLanguage) -> pa.Table:
    """Return [value, detected_language] of each `caption`: the confidence of `measure_language`, and a code of `among`.

    Of a caption that the rule keeps it is the likeliest wanted language, of another the likeliest other: at
    `min_confidence` 0.5 that is the likeliest of all. Null where the caption has no letters to judge by.
    """
    captions = pc.fill_null(column(batch, "caption", pa.string()), "")
    coded = captions.dictionary_encode()
    detector = _detector(tuple(sorted(set(rule.among))))
    languages = [_compared(detector, text, rule) for text in coded.dictionary.to_pylist()]
    columns = {
        "value": pa.array([value for value, _ in languages], pa.float64()),
        "detected_language": pa.array([code for _, code in languages], pa.string()),
    }
    return pa.table(columns).take(coded.indices)


def judge_language(values: pa.Array, rule: CaptionLanguage) -> Decisions:
    """Judge confidences: below the rule's goes as wrong_language; null stays, since nothing speaks against it."""
    wrong = pc.fill_null(pc.less(values, rule.min_confidence), False)
    return Decisions.of(reason=pc.if_else(wrong, "wrong_language", ""), value=values)


def likely_languages(captions: pa.Array, among: Sequence[str] = LANGUAGES) -> pa.StringArray:
    """Return the likeliest language of each caption, an ISO 639-1 code of `among`; null where it has no letters.

    For captions whose pool names no language. Short ones are often mistaken between languages of one script. langid
    tells Thai, Lao, Khmer, Burmese, Chinese and Japanese apart; it has no bo, and takes Tibetan script for dz.
    """
    detector = _detector(tuple(sorted(set(among))))
    coded = pc.fill_null(captions.cast(pa.string()), "").dictionary_encode()
    texts = coded.dictionary.to_pylist()
    codes = [detector.classify(text)[0] if _LETTER.search(text) else None for text in texts]
    return pa.array(codes, pa.string()).take(coded.indices)


def _compared(detector: "LanguageIdentifier", text: str, rule: CaptionLanguage) -> tuple[float | None, str | None]:
    """Return the confidence of a text and its language, None and None where there is nothing to judge by."""
    if not _LETTER.search(text):
        return None, None
    ranked = sorted(detector.rank(text), key=lambda ranked_language: (-ranked_language[1], ranked_language[0]))
    code, wanted = next(ranked_language for ranked_language in ranked if ranked_language[0] in rule.languages)
    other_code, other_probability = next(
        ranked_language for ranked_language in ranked if ranked_language[0] not in rule.languages
    )
    value = round(float(wanted / (wanted + other_probability)), 4)
    return value, code if value >= rule.min_confidence else other_code


@functools.lru_cache(maxsize=4)
def _detector(codes: tuple[str, ...]) -> "LanguageIdentifier":
    """Return a detector that tells `codes` apart."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    detector = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    unknown = sorted(set(codes) - set(detector.labels))
    if unknown:
        raise RuleError(f"`among` must be ISO 639-1 codes that langid knows; got {unknown}. Leave them out.")
    detector.set_languages(codes)
    return detector
