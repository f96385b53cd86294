"""Phrases that captions of a class hold more often than captions of the others: weighted log-odds (Monroe et al.)."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from evenly.descriptions.method import TextMethod
from evenly.descriptions.texts.checks import ReplyRules
from evenly.descriptions.texts.grounding import Subject
from evenly.descriptions.texts.words import SMALL_WORDS, plain_words

MOST_WORDS = 3
LEAST_CAPTIONS = 2
LEAST_Z = 1.645
"""The z-score from which a phrase is more frequent in a class than chance makes it, at 95 %."""
MOST_PHRASES = 24


@dataclass(frozen=True, kw_only=True)
class CaptionPhrases(TextMethod):
    """Frequent phrases of the captions of a class that separate the classes, the clearest first; no model is asked.

    Only captions of train pairs are counted (`phrases` of a subject; without a build there are none). Which of them
    help, and so how many, validation says. Differs from Fightin' Words (Monroe, Colaresi and Quinn, 2008): captions
    instead of speeches, phrases of one to MOST_WORDS words instead of words, each counted once in a caption.
    """

    name = "caption_phrases"
    instruction = ""
    wanted: int = 0

    @property
    def rules(self) -> ReplyRules:
        """At most MOST_WORDS words, and no name of another class."""
        return ReplyRules(max_words=MOST_WORDS, max_characters=100, visual_word=False)

    def known(self, subject: Subject) -> tuple[str, ...]:
        """The phrases of its captions."""
        return subject.phrases

    def why_none(self, subject: Subject) -> str:
        """No phrase of the captions of a build is the class's, or no build is named."""
        del subject
        return "no_phrase"


@dataclass(frozen=True, kw_only=True)
class SeparatingPhrase:
    """A phrase of a class: `captions` of the class that hold it and those `elsewhere`, and its z-score."""

    class_name: str
    phrase: str
    captions: int
    elsewhere: int
    z: float


def separating_phrases(captions: Mapping[str, Sequence[str]]) -> tuple[SeparatingPhrase, ...]:
    """The phrases that captions of each class hold more often than those of the others, by class, clearest first.

    The log-odds of a phrase in the class against the others, with its frequency in all captions as prior, over its
    standard deviation is z, at least LEAST_Z; LEAST_CAPTIONS of the class hold it. A phrase inside a longer one, or
    around a shorter one, that stands in the same captions is told once, by the one with the larger z.
    """
    counts = {
        name: Counter(phrase for text in texts for phrase in phrases_of(text)) for name, texts in captions.items()
    }
    everywhere = sum(counts.values(), Counter[str]())
    total = everywhere.total()
    return tuple(
        phrase
        for name, of_class in counts.items()
        for phrase in _clearest(
            SeparatingPhrase(
                class_name=name,
                phrase=phrase,
                captions=count,
                elsewhere=everywhere[phrase] - count,
                z=_z_score((count, of_class.total()), (everywhere[phrase], total)),
            )
            for phrase, count in of_class.items()
            if count >= LEAST_CAPTIONS
        )
    )


def phrases_of(text: str) -> frozenset[str]:
    """The phrases of one to MOST_WORDS words of a text, each once, that neither begin nor end with a small word."""
    words = plain_words(text)
    spans = (
        words[start:stop]
        for start in range(len(words))
        for stop in range(start + 1, min(start + MOST_WORDS, len(words)) + 1)
    )
    return frozenset(" ".join(span) for span in spans if not {span[0], span[-1]} & SMALL_WORDS)


def _z_score(of_class: tuple[int, int], everywhere: tuple[int, int]) -> float:
    """Log-odds (count, of how many) in a class against the others over its standard deviation: equations 16 to 22.

    The prior is the frequency everywhere, and weighs as much as what the class holds. 0 for the only phrase there is.
    """
    (count, n), (count_everywhere, total) = of_class, everywhere
    if count_everywhere == total:
        return 0.0
    elsewhere, n_elsewhere = count_everywhere - count, total - n
    prior = count_everywhere * n / total
    odds = (count + prior) / (2 * n - count - prior)
    odds_elsewhere = (elsewhere + prior) / (n_elsewhere + n - elsewhere - prior)
    return math.log(odds / odds_elsewhere) / math.sqrt(1 / (count + prior) + 1 / (elsewhere + prior))


def _clearest(phrases: Iterable[SeparatingPhrase]) -> list[SeparatingPhrase]:
    """At most MOST_PHRASES phrases of LEAST_Z or more: the largest z first, of equal ones the longest, each once."""
    chosen: list[SeparatingPhrase] = []
    clear = (phrase for phrase in phrases if phrase.z >= LEAST_Z)
    for phrase in sorted(clear, key=lambda phrase: (-phrase.z, -len(phrase.phrase.split()), phrase.phrase)):
        if not any(_are_one(phrase, clearer) for clearer in chosen):
            chosen.append(phrase)
        if len(chosen) == MOST_PHRASES:
            break
    return chosen


def _are_one(first: SeparatingPhrase, second: SeparatingPhrase) -> bool:
    """Whether one phrase stands in the other and in as many captions."""
    texts = f" {first.phrase} ", f" {second.phrase} "
    counts = [(phrase.captions, phrase.elsewhere) for phrase in (first, second)]
    return counts[0] == counts[1] and (texts[0] in texts[1] or texts[1] in texts[0])
