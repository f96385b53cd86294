"""Attributes of a class by type (color, shape, material, ...), for attribute prompts and tags."""

import re
from dataclasses import dataclass, replace

from evenly.descriptions.chat.request import ChatRequest, Sampling
from evenly.descriptions.method import Phrase, TextMethod, question_about
from evenly.descriptions.methods.description import Description
from evenly.descriptions.texts.checks import FEW_WORDS, ReplyRules
from evenly.descriptions.texts.grounding import Subject
from evenly.descriptions.texts.replies import object_schema, read_lists, strings_schema
from evenly.descriptions.texts.vocabularies import FREE, article, attributes_in, goes_after, types_of, with_article

_SAMPLING = Sampling(temperature=0.7, max_tokens=300)
TYPES = ("color", "shape", "material", "part", "size", "texture", "pattern")


@dataclass(frozen=True, kw_only=True)
class Attributes(TextMethod):
    """Values for each of seven types; a text is "a photo of a {value} {name}", of parts and marks "... with {value}".

    The type is the row's `other`. What the WordNet definition says comes first (attributes_in), then up
    to four values a type of the model. A value that belongs to another type and not to its own is refused (wrong_type).
    Vocabularies of attributes go back to VAW, OVAD and OvarNet; the words here are ours. A small model calls everything
    red, blue and square: it is asked by the request of `description`, and of its phrases only the parts are taken.
    """

    gloss: bool = True
    small_model: bool = False
    wanted: int = 2

    name = "attributes"
    instruction = (
        "Give typical visible attributes of this class in a photo, by type: its color, shape, material, parts, size, "
        "texture and pattern. Answer with words, up to four for each type; none where a type does not apply."
    )

    @property
    def rules(self) -> ReplyRules:
        """One to four words."""
        return replace(FEW_WORDS, known_words=self.small_model)

    def questions(self, subject: Subject) -> tuple[ChatRequest, ...]:
        """One question for all types."""
        if self.small_model:
            return Description(gloss=self.gloss, small_model=True).questions(subject)
        message = question_about(subject, self.instruction, gloss=self.gloss)
        schema = object_schema({kind: strings_schema(fewest=0, most=4) for kind in TYPES})
        return (ChatRequest(messages=(message,), schema=schema, sampling=_SAMPLING),)

    def known(self, subject: Subject) -> tuple[Phrase, ...]:
        """The attributes that the definition names."""
        attributes = attributes_in(subject.gloss or "") if self.gloss else ()
        return tuple(Phrase(text=word, aspect=kind) for kind, word in attributes)

    def read(self, reply: str, outcome: str, question: int = 0) -> list[Phrase]:
        """The values, each with its type."""
        if self.small_model:
            phrases = Description(gloss=self.gloss, small_model=True).read(reply, outcome, question)
            named = (pair for phrase in phrases for pair in attributes_in(phrase))
            return [Phrase(text=word, aspect=kind) for kind, word in dict.fromkeys(named) if kind in FREE]
        by_type = read_lists(reply, keys=TYPES, outcome=outcome)
        return [
            Phrase(text=re.sub(r"^(?:made of|with) ", "", value), aspect=kind, reason=_wrong_type(value, kind))
            for kind, values in by_type.items()
            for value in values
        ]

    def text(self, subject: Subject, phrase: str, aspect: str | None = None) -> str:
        """A short caption with the value before the name, or a part or mark after it."""
        if goes_after(phrase, aspect or ""):
            return f"a photo of a {subject.singular} with {with_article(phrase)}"
        return f"a photo of {article(phrase)} {phrase} {subject.singular}"


def _wrong_type(value: str, kind: str) -> str:
    """wrong_type where words of the value belong to other types and none to its own."""
    types = types_of(value)
    return "wrong_type" if types and kind not in types and kind not in FREE else ""
