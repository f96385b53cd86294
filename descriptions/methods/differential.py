"""Differences between two classes, as in FuDD (Esfandiarpoor and Bach, Follow-up Differential Descriptions, 2024)."""

import json
import re
from dataclasses import dataclass
from typing import ClassVar

from evenly.descriptions.chat.request import ChatRequest, Message, Sampling
from evenly.descriptions.method import Phrase, Scope, Surroundings, TextMethod, facts
from evenly.descriptions.methods.description import Description, join
from evenly.descriptions.texts.checks import ReplyRules, clean_text
from evenly.descriptions.texts.grounding import Subject
from evenly.descriptions.texts.replies import object_schema, read_records
from evenly.descriptions.texts.words import words_of

_KEY = "differences"
_FIELDS = ("attribute", "first", "second")
_SAMPLING = Sampling(temperature=0.7, max_tokens=400)
_MOST_ATTRIBUTE_CHARACTERS = 40
_WORD = re.compile(r"[\w'-]+")
_OPENING_WORDS = frozenset(words_of("a an the has have with made of and or its"))


@dataclass(frozen=True, kw_only=True)
class Differential(TextMethod):
    """For a pair of classes, attributes in which they differ, with a phrase for each; a text is as of `description`.

    Asked for given pairs only. A text about class a has b as its `other`, and the other way round. Refused: both
    phrases of an attribute where they are the same (same_for_both), and a phrase whose words all stand in the
    definition of the other class (fits_both). Differs from the paper: phrases joined to the name instead of whole
    captions, JSON instead of free text, the WordNet definitions of both in the question. A small model cannot compare:
    it is asked about each of the two alone, by the requests of `description`, and only the refusals look at the other.
    """

    gloss: bool = True
    small_model: bool = False

    name = "differential"
    scope: ClassVar[Scope] = "pair"
    instruction = (
        "Two classes are easily confused. List what can be seen in a photo and differs between them: for each such "
        'attribute (parts, shape, color, surface, size) how the first looks and how the second looks. Write "first" '
        'and "second" as short phrases of 2 to 8 words that name neither.'
    )

    @property
    def wanted(self) -> int:
        """Four texts about a pair, two about each of its classes."""
        return 2 if self.small_model else 4

    @property
    def rules(self) -> ReplyRules:
        """A phrase of at most 14 words with a visual word, without the names of classes and without negation."""
        return ReplyRules(max_words=14, own_name=False, negation=False, known_words=self.small_model)

    def questions(self, subject: Subject) -> tuple[ChatRequest, ...]:
        """One question about the subject and what it is against; to a small model one about each."""
        if subject.against is None:
            return ()
        if self.small_model:
            single = Description(gloss=self.gloss, small_model=True)
            return (*single.questions(subject), *single.questions(subject.against))
        pair = {"first": facts(subject, gloss=self.gloss), "second": facts(subject.against, gloss=self.gloss)}
        entry = object_schema({name: {"type": "string"} for name in _FIELDS})
        listed = {"type": "array", "items": entry, "minItems": 2, "maxItems": 4}
        message = Message(role="user", content=f"{json.dumps(pair, ensure_ascii=False)}\n{self.instruction}")
        return (ChatRequest(messages=(message,), schema=object_schema({_KEY: listed}), sampling=_SAMPLING),)

    def why_none(self, subject: Subject) -> str:
        """The class is in no pair."""
        del subject
        return "no_pair"

    def read(self, reply: str, outcome: str, question: int = 0) -> list[Phrase]:
        """Two phrases for each attribute, the first class's first; or phrases about one of the two."""
        if self.small_model:
            single = Description(gloss=self.gloss, small_model=True)
            return [Phrase(text=text, second=question == 1) for text in single.read(reply, outcome)]
        records = read_records(reply, key=_KEY, fields=_FIELDS, outcome=outcome)
        return [phrase for record in records for phrase in _both(*record)]

    def refuse(self, subject: Subject, phrase: str, surroundings: Surroundings) -> str:
        """fits_both where the definition of the other class holds every word of the phrase; else as `description`."""
        rival = subject.against
        single = Description(gloss=self.gloss, small_model=self.small_model)
        if reason := single.refuse(subject, phrase, surroundings):
            return reason
        if rival is None or rival.gloss is None:
            return ""
        words = set(words_of(phrase)) - _OPENING_WORDS
        return "fits_both" if words <= set(words_of(f"{rival.name} {rival.gloss}")) else ""

    def text(self, subject: Subject, phrase: str, aspect: str | None = None) -> str:
        """Name, join words and phrase."""
        del aspect
        return join(subject.name, phrase, plural=bool(subject.noun))


def _both(attribute: str, first: str, second: str) -> tuple[Phrase, Phrase]:
    kind = " ".join(_WORD.findall(clean_text(attribute)))[:_MOST_ATTRIBUTE_CHARACTERS].strip()
    reason = "same_for_both" if words_of(_opened(first)) == words_of(_opened(second)) else ""
    phrase = Phrase(text=_opened(first), attribute=kind, reason=reason)
    return phrase, Phrase(text=_opened(second), attribute=kind, reason=reason, second=True)


def _opened(phrase: str) -> str:
    """The phrase with "has" for "with" at its start."""
    return re.sub(r"^with\b", "has", phrase)
