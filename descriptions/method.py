"""Description methods: questions about classes, how to read the answers, and how a text is made of them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Protocol

from evenly.descriptions.chat.request import ChatRequest, Message
from evenly.descriptions.texts.checks import ReplyRules
from evenly.descriptions.texts.grounding import Subject
from evenly.descriptions.texts.replies import read_list
from evenly.descriptions.texts.words import other_names_in

Scope = Literal["class", "pair", "list"]
"""What a question is about: one class, two that are taken for each other, or the list as a whole."""


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """A phrase of a reply, not yet checked.

    `aspect` is what else it is about (type of an attribute, factor of a context), which stands as `other` in the rows;
    `attribute` names, of a pair, what the two differ in; `second` says that it is about the second of the pair;
    `reason` why reading it refused it already.
    """

    text: str
    aspect: str | None = None
    attribute: str = ""
    second: bool = False
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Facts about the list as a whole that a method may look at.

    `classes` are the names of the list and the singulars of its irregular plurals, `names` these and the lemmas of
    their senses; `attributes` those of `classes` that are plurals of words for attributes ("shapes"), which texts use
    without naming the class; `gloss_of` gives the gloss of any
    noun, None where there is none; `grounded` says whether glosses are to be had at all.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    attributes: frozenset[str] = frozenset()
    gloss_of: Callable[[str], str | None] = lambda _name: None
    grounded: bool = False


class DescriptionMethod(Protocol):
    """One way to put classes into words. Implementations are frozen dataclasses that hold their options.

    A question is asked in rounds until it has brought `wanted` accepted texts: at most `at_once` new samples in each.
    `after` names methods whose accepted phrases become the tags of a class. `instruction` is the wording of the
    questions without the facts about the class, for the check against echoes.
    """

    @property
    def name(self) -> str:
        """The method's name in METHODS and in tables."""

    @property
    def scope(self) -> Scope:
        """The scope of its questions."""

    @property
    def wanted(self) -> int:
        """Accepted texts wanted for each question."""

    @property
    def at_once(self) -> int:
        """Most samples of a question that are asked for side by side."""

    @property
    def after(self) -> tuple[str, ...]:
        """Methods that come before it, where they are chosen."""

    @property
    def rules(self) -> ReplyRules:
        """The checks that each text must pass."""

    @property
    def instruction(self) -> str:
        """The wording of the questions."""

    def questions(self, subject: Subject) -> Sequence[ChatRequest]:
        """Requests about one class, pair or list, as sample 0; none where the method asks no model."""

    def known(self, subject: Subject) -> Sequence[str | Phrase]:
        """Phrases that need no model."""

    def why_none(self, subject: Subject) -> str:
        """Reason for a class that has neither questions nor known phrases."""

    def read(self, reply: str, outcome: str, question: int = 0) -> Sequence[str | Phrase]:
        """The phrases in a reply to the question of this number, unchecked; raises UnreadableReplyError."""

    def refuse(self, subject: Subject, phrase: str, surroundings: Surroundings) -> str:
        """Why a phrase that passed the checks is still no text of this method; "" where it is."""

    def text(self, subject: Subject, phrase: str, aspect: str | None = None) -> str:
        """The text that stands for the class, made of one checked phrase; `aspect` as the phrase has it."""


class TextMethod:
    """The base of methods, with defaults that hold for most of them.

    Questions are about one class, one sample at a time; nothing is known without them. A reply is a list of phrases
    under `key`; a method without a key asks no model. A text is its phrase.
    """

    scope: ClassVar[Scope] = "class"
    after: ClassVar[tuple[str, ...]] = ()
    key: ClassVar[str] = ""

    @property
    def at_once(self) -> int:
        """One."""
        return 1

    def known(self, subject: Subject) -> Sequence[str | Phrase]:
        """Nothing: texts come from the model."""
        del subject
        return ()

    def why_none(self, subject: Subject) -> str:
        """There is always a question."""
        del subject
        return "no_question"

    def questions(self, subject: Subject) -> Sequence[ChatRequest]:
        """None: no model is asked."""
        del subject
        return ()

    def read(self, reply: str, outcome: str, question: int = 0) -> Sequence[str | Phrase]:
        """The phrases of the list."""
        del question
        return read_list(reply, key=self.key, outcome=outcome) if self.key else []

    def refuse(self, subject: Subject, phrase: str, surroundings: Surroundings) -> str:
        """Nothing more than the checks."""
        del subject, phrase, surroundings
        return ""

    def text(self, subject: Subject, phrase: str, aspect: str | None = None) -> str:
        """The phrase."""
        del subject, aspect
        return phrase


GROUP = "The class is a group of many things: say what holds for most of them, and what its usual kinds look like."
"""Said of a class of a plural name."""


def question_about(subject: Subject, instruction: str, *, gloss: bool, small_model: bool = False) -> Message:
    """The question about a class: its facts as one line of JSON data, then the instruction.

    A group is asked about as one. A small model knows little of what many things share: it is asked about one of them.
    """
    about = replace(subject, name=subject.singular, noun="") if small_model else subject
    words = f"{GROUP} {instruction}" if about.noun else instruction
    return Message(role="user", content=f"{json.dumps(facts(about, gloss=gloss), ensure_ascii=False)}\n{words}")


def facts(subject: Subject, *, gloss: bool) -> dict[str, str]:
    """{"class": name, "each": singular of a plural name, "definition": gloss}, the latter two where there are such."""
    data = {"class": subject.name} | ({"each": subject.noun} if subject.noun else {})
    if gloss and subject.gloss is not None:
        data["definition"] = subject.gloss
    return data


def with_name(name: str, sentence: str) -> str:
    """The sentence, after the name where it does not hold it."""
    return sentence if other_names_in(sentence, "", (name,)) else f"{name}: {sentence}"
