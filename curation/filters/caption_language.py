"""Captions in a wanted language, by the naive Bayes n-gram model of langid (package py3langid).

Captions are short and often name one thing, so no detector is certain. What is stored is therefore a comparison,
not a probability: p(wanted) / (p(wanted) + p(likeliest other)), which does not shrink as languages are added.

Measured on the names of 1,923 emoji (benchmarks/caption_languages.py), share kept at the default threshold 0.07:
English 98.1 % of bare names, 97.3 % of "Flag: Kenya", over 99.9 % of names in a sentence; names in other scripts 0 to
3.4 %; names in other Latin languages 19 to 44 % bare and 0 to 12 % in a short sentence. Lingua keeps as much of bare
names, but 32 to 62 % of the foreign sentences, since its confidence does not grow with length. Recall of English comes
first: a caption wrongly kept is still matched, scored and balanced; one wrongly dropped is gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Flags, Floats, Ints, Singles, column
from evenly.curation.decisions import Decisions
from evenly.curation.errors import RuleError
from evenly.curation.filters.language_detector import language_detector

# ISO 639-1: the commonest of the web for which short labelled texts were at hand to measure with. Each language more
# costs speed and lets more captions look like something else.
LANGUAGES: tuple[str, ...] = ("ar", "de", "en", "es", "fa", "fr", "id", "it", "ja", "ko", "pt", "ru", "tr", "zh")


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

    Of a caption that the rule keeps it is the likeliest wanted language, of another the likeliest unwanted: at
    `min_confidence` 0.5 that is the likeliest of all. Null where the caption has no letters to judge by.
    """
    detector = language_detector(tuple(sorted(set(rule.among))))
    has_letter, probabilities = detector.probabilities(column(batch, "caption", pa.string()))
    is_wanted = np.array([code in rule.languages for code in detector.languages])
    wanted, wanted_codes = _likeliest(probabilities, detector.languages, is_wanted)
    unwanted, unwanted_codes = _likeliest(probabilities, detector.languages, ~is_wanted)
    values = _rounded(wanted / (wanted + unwanted))
    codes = np.where(values >= rule.min_confidence, wanted_codes, unwanted_codes)
    columns = {
        "value": _of_rows(has_letter, pa.array(values)),
        "detected_language": _of_rows(has_letter, pa.array(detector.languages, pa.string()).take(pa.array(codes))),
    }
    return pa.table(columns)


def judge_language(values: pa.Array, rule: CaptionLanguage) -> Decisions:
    """Judge confidences: below the rule's goes as wrong_language; null stays, since nothing speaks against it."""
    wrong = pc.fill_null(pc.less(values, rule.min_confidence), False)
    return Decisions.of(reason=pc.if_else(wrong, "wrong_language", ""), value=values)


def _likeliest(probabilities: Singles, languages: Sequence[str], is_meant: Flags) -> tuple[Floats, Ints]:
    """The highest probability of each row (m,) among the languages meant, and whose it is; of equals the first code."""
    numbers = np.array(sorted(np.flatnonzero(is_meant).tolist(), key=lambda number: languages[number]))
    likeliest = numbers[probabilities[:, numbers].argmax(axis=1)]
    return probabilities[np.arange(len(likeliest)), likeliest].astype(np.float64), likeliest


def _rounded(shares: Floats) -> Floats:
    """Round to 4 digits as `round` does, which looks at the exact number; numpy takes that times 10,000, rounded."""
    scaled = shares * 1e4
    rounded: Floats = np.rint(scaled) / 1e4
    for row in np.flatnonzero(np.abs(scaled - np.floor(scaled) - 0.5) < 1e-6):
        rounded[row] = round(float(shares[row]), 4)
    return rounded


def _of_rows(has_letter: Flags, values: pa.Array) -> pa.Array:
    """The values of rows that hold a letter, in order, with null for the others."""
    if has_letter.all():
        return values
    return values.take(pa.array(np.cumsum(has_letter) - 1, mask=~has_letter))
