"""Captions from tags by analogy to examples, as in McKee et al., Language-Guided Music Recommendation (2023)."""

import json
import re
from dataclasses import dataclass
from typing import ClassVar

from evenly.descriptions.chat.request import ChatRequest, Message, Sampling
from evenly.descriptions.method import Surroundings, TextMethod, with_name
from evenly.descriptions.texts.checks import ReplyRules
from evenly.descriptions.texts.grounding import Subject
from evenly.descriptions.texts.replies import list_schema, read_list
from evenly.descriptions.texts.small_patterns import sentence_of
from evenly.descriptions.texts.vocabularies import adds_attribute
from evenly.descriptions.texts.words import says_twice, words_of

_KEY = "captions"
_SAMPLING = Sampling(temperature=0.7, max_tokens=120)
_SMALL = Sampling(temperature=0.5, frequency_penalty=0.8, max_tokens=100)
_PARTS = re.compile(r"[;,:()]|\b(?:with|having|that|which|and)\b")
_EMPTY = frozenset(words_of("a an the of or and for in on at to by any one usually often used has is made thing"))
MOST_TAGS = 8
EXAMPLES = (
    (
        ("lighthouse", "white tower", "red lantern room", "rocky coast"),
        "A white lighthouse with a red lantern room stands on a rocky coast.",
    ),
    (
        ("teapot", "blue glaze", "curved spout", "bamboo handle", "kitchenware"),
        "A teapot with a deep blue glaze, a curved spout and a handle of bamboo.",
    ),
    (
        ("hedgehog", "small mammal", "brown spines", "pointed snout"),
        "A small hedgehog shows its pointed snout below a coat of brown spines.",
    ),
    (
        ("scooter", "two wheels", "folding frame", "aluminum", "street"),
        "On the street stands a scooter with two little wheels and a folding frame of aluminum.",
    ),
)
"""Tags, the first of them the name, and the caption that a person would write; written by hand for this."""


@dataclass(frozen=True, kw_only=True)
class Analogies(TextMethod):
    """A caption made of facts of a class in structured form, shown by four pairs of tags and caption.

    The tags are those handed in, the accepted phrases of `attributes` where that method is chosen, the parts of the
    WordNet definition (with `gloss`) and the other lemmas, at most MOST_TAGS. A caption must hold a word of a tag
    (ignores_tags), and no color, material or other attribute of which neither tags nor definition speak
    (adds_attribute); a small model's is held to the words of the tags, none twice. Differs from the paper: pictures
    instead of music, JSON, and no data-to-text model beside it.
    """

    gloss: bool = True
    small_model: bool = False
    wanted: int = 2

    name = "analogies"
    after: ClassVar[tuple[str, ...]] = ("attributes",)
    instruction = "\n".join(caption for _, caption in EXAMPLES)

    @property
    def at_once(self) -> int:
        """A sample for each caption."""
        return self.wanted

    @property
    def rules(self) -> ReplyRules:
        """A sentence of 5 to 40 words with a visual word and without negation."""
        return ReplyRules(
            min_words=5, max_words=40, max_characters=300, negation=False, known_words=self.small_model, echo_words=5
        )

    def questions(self, subject: Subject) -> tuple[ChatRequest, ...]:
        """One question after the examples; none about a class without tags."""
        tags = self.tags(subject)
        if not tags:
            return ()
        words = re.findall(r"\b[a-z]+\b", " ".join(tags))
        turns = [turn for (name, *example_tags), caption in EXAMPLES for turn in _example(name, example_tags, caption)]
        pattern = sentence_of(subject.singular, words) if self.small_model else None
        return (
            ChatRequest(
                messages=(*turns, Message(role="user", content=_data(subject.singular, tags))),
                schema=list_schema(_KEY, fewest=1, most=1, pattern=pattern),
                sampling=_SMALL if self.small_model else _SAMPLING,
            ),
        )

    def tags(self, subject: Subject) -> tuple[str, ...]:
        """The facts of a class, the given tags first."""
        tags = list(subject.tags)
        if self.gloss:
            parts = (part.strip() for part in _PARTS.split(subject.gloss or ""))
            tags += [part for part in parts if 0 < len(words_of(part)) <= 6]
            tags += [lemma for lemma in subject.lemmas if words_of(lemma) != words_of(subject.name)]
        return tuple(dict.fromkeys(tags))[:MOST_TAGS]

    def why_none(self, subject: Subject) -> str:
        """Nothing is known of the class."""
        del subject
        return "no_tags"

    def read(self, reply: str, outcome: str, question: int = 0) -> list[str]:
        """The caption."""
        del question
        return read_list(reply, key=_KEY, outcome=outcome)

    def refuse(self, subject: Subject, phrase: str, surroundings: Surroundings) -> str:
        """ignores_tags where no word of a tag is in the caption, adds_attribute where another attribute is.

        Of a small model also repeats, where a word stands twice.
        """
        del surroundings
        if self.small_model and says_twice(phrase):
            return "repeats"
        facts = "; ".join((*self.tags(subject), *subject.tags, subject.name, subject.gloss or ""))
        if adds_attribute(phrase, facts):
            return "adds_attribute"
        tag_words = {word for tag in self.tags(subject) for word in words_of(tag)} - _EMPTY - {*words_of(subject.name)}
        return "" if tag_words & {*words_of(phrase)} or not tag_words else "ignores_tags"

    def text(self, subject: Subject, phrase: str, aspect: str | None = None) -> str:
        """The caption, after the name where it does not hold it."""
        del aspect
        return with_name(subject.singular, phrase)


def _example(name: str, tags: list[str], caption: str) -> tuple[Message, Message]:
    reply = json.dumps({_KEY: [caption]}, ensure_ascii=False)
    return Message(role="user", content=_data(name, tags)), Message(role="assistant", content=reply)


def _data(name: str, tags: tuple[str, ...] | list[str]) -> str:
    return json.dumps({"class": name, "tags": list(tags)}, ensure_ascii=False)
