"""What a description method is: questions about one class, how to read the answers, and how a text is made of them."""

import json
from collections.abc import Sequence
from typing import Protocol

from descriptions.chat_request import ChatRequest
from descriptions.checks import ReplyRules
from descriptions.grounding import Subject


class DescriptionMethod(Protocol):
    """One way to put a class into words. Implementations are frozen dataclasses that hold their options.

    `wanted` is how many accepted texts each question should bring; until then it is asked again, with a new sample.
    `instruction` is the wording of the questions without the facts about the class, for the check against echoes.
    """

    @property
    def name(self) -> str:
        """The method's name in METHODS and in tables."""

    @property
    def wanted(self) -> int:
        """Accepted texts wanted for each question."""

    @property
    def rules(self) -> ReplyRules:
        """What each text must be like."""

    @property
    def instruction(self) -> str:
        """The wording of the questions."""

    def questions(self, subject: Subject) -> Sequence[ChatRequest]:
        """Requests about one class, as sample 0; none where the method asks no model."""

    def known(self, subject: Subject) -> Sequence[str]:
        """Phrases that need no model."""

    def why_none(self, subject: Subject) -> str:
        """Reason for a class that has neither questions nor known phrases."""

    def read(self, reply: str, outcome: str) -> list[str]:
        """The phrases in a reply, unchecked; raises UnreadableReplyError."""

    def text(self, subject: Subject, phrase: str) -> str:
        """The text that stands for the class, made of one checked phrase."""


def quoted(subject: Subject, *, gloss: bool) -> str:
    """The class as one line of JSON data: {"class": name, "definition": gloss}, the latter only with `gloss`."""
    data = {"class": subject.name}
    if gloss and subject.gloss is not None:
        data["definition"] = subject.gloss
    return json.dumps(data, ensure_ascii=False)
