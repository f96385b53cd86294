"""Sentences about a class: the part that the methods `prompts` and `questions` share."""

import re
from dataclasses import dataclass

from evenly.descriptions.method import Surroundings, TextMethod, with_name
from evenly.descriptions.texts.checks import ReplyRules
from evenly.descriptions.texts.grounding import Subject
from evenly.descriptions.texts.small_patterns import sentence_of
from evenly.descriptions.texts.vocabularies import adds_attribute, mostly_visual
from evenly.descriptions.texts.words import says_twice, words_of

KEY = "sentences"
_TASK = frozenset(
    words_of(
        "class classes classification category definition description example image picture sentence attribute json "
        "name called known referred term concept"
    )
)


@dataclass(frozen=True, kw_only=True)
class SentenceMethod(TextMethod):
    """A method whose texts are whole sentences about a class.

    `gloss` gives the model the WordNet definition. With `small_model` a pattern and `doubt` hold its sentences to what
    the definition says.
    """

    gloss: bool = True
    small_model: bool = False

    key = KEY

    @property
    def rules(self) -> ReplyRules:
        """A sentence of 5 to 40 words with a visual word and without negation."""
        return ReplyRules(min_words=5, max_words=40, max_characters=300, negation=False, known_words=self.small_model)

    def pattern(self, subject: Subject) -> str | None:
        """The pattern of a sentence of a small model; None for a larger one."""
        return sentence_of(subject.singular, gloss_words(subject, gloss=self.gloss)) if self.small_model else None

    def refuse(self, subject: Subject, phrase: str, surroundings: Surroundings) -> str:
        """prompt_echo, repeats, little_to_see or adds_attribute, of a small model."""
        del surroundings
        return doubt(phrase, subject, gloss=self.gloss) if self.small_model else ""

    def text(self, subject: Subject, phrase: str, aspect: str | None = None) -> str:
        """The sentence, after the name where it does not hold it."""
        del aspect
        return with_name(subject.singular, phrase)


def gloss_words(subject: Subject, *, gloss: bool) -> tuple[str, ...]:
    """The words of the definition as they stand there; none without one."""
    return tuple(re.findall(r"\b[a-z]+\b", subject.gloss)) if gloss and subject.gloss else ()


def doubt(sentence: str, subject: Subject, *, gloss: bool) -> str:
    """Why a sentence of a small model is no good: prompt_echo, repeats, little_to_see, adds_attribute; "" else."""
    if not _TASK.isdisjoint(words_of(sentence)):
        return "prompt_echo"
    if says_twice(sentence):
        return "repeats"
    facts = f"{subject.name}; {subject.gloss or ''}"
    if not mostly_visual(sentence, facts):
        return "little_to_see"
    return "adds_attribute" if gloss and subject.gloss and adds_attribute(sentence, facts) else ""
