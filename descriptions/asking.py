"""The questions of one method about one class, pair or list, in rounds; every reply becomes rows with a verdict."""

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from evenly.descriptions.chat.client import Reply
from evenly.descriptions.chat.request import ChatRequest
from evenly.descriptions.descriptions import ACCEPTED, FAILED, REJECTED
from evenly.descriptions.errors import RequestFailedError
from evenly.descriptions.method import GROUP, DescriptionMethod, Phrase, Surroundings
from evenly.descriptions.texts.checks import check_reply
from evenly.descriptions.texts.grounding import Subject
from evenly.descriptions.texts.replies import UnreadableReplyError

Row = dict[str, Any]
Result = TypeVar("Result")


class RequestSender(Protocol):
    """A client that sends requests."""

    def request_id(self, request: ChatRequest) -> str:
        """The address of a request."""

    async def ask(self, request: ChatRequest) -> Reply:
        """The reply; raises RequestFailedError where this request gets none."""


@dataclass(kw_only=True)
class Asking:
    """One subject by one method; `rows` in the order of known phrases, then questions, samples, places in a reply.

    The same replies give the same rows, whatever order they come in: a round is judged when all of it is there.
    """

    subject: Subject
    method: DescriptionMethod
    surroundings: Surroundings
    vocabulary: Collection[str] | None
    rows: list[Row] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)

    async def run(self, client: RequestSender, *, samples: int) -> None:
        """Ask each question in at most `samples` rounds, of `at_once` samples each, until its texts are there."""
        questions = self.method.questions(self.subject)
        self._judge(self.method.known(self.subject), question=-1, request_id=None, sample=None)
        if not questions and not self.rows:
            reason = self.method.why_none(self.subject)
            self._add(verdict=FAILED, reason=reason, question=-1, request_id=None, sample=None)
        n_asked = [0] * len(questions)
        for _ in range(samples):
            requests = [
                (number, replace(question, sample=n_asked[number] + offset))
                for number, question in enumerate(questions)
                for offset in range(min(self.method.at_once, self._missing(number)))
            ]
            replies = await in_order([_reply(client, request) for _, request in requests])
            for (number, request), reply in zip(requests, replies, strict=True):
                n_asked[number] += 1
                self._read(reply, number, request_id=client.request_id(request), sample=request.sample)
        self.rows.sort(key=lambda row: row.pop("question"))

    def _missing(self, question: int) -> int:
        n_accepted = sum(row["question"] == question and row["verdict"] == ACCEPTED for row in self.rows)
        return max(self.method.wanted - int(n_accepted), 0)

    def _read(self, reply: Reply | RequestFailedError, question: int, **source: Any) -> None:  # noqa: ANN401
        """Add the rows of one request. An unreadable reply or a failed request is one row without text."""
        source["question"] = question
        if isinstance(reply, RequestFailedError):
            self._add(verdict=FAILED, reason=reply.reason, **source)
            return
        try:
            phrases = self.method.read(reply.text, reply.outcome, question)
        except UnreadableReplyError as error:
            self._add(verdict=REJECTED, reason=error.reason, **source)
        else:
            self._judge(phrases, **source)

    def _judge(self, phrases: Sequence[str | Phrase], **source: Any) -> None:  # noqa: ANN401 - columns of the table
        for phrase in phrases:
            self._judge_one(phrase if isinstance(phrase, Phrase) else Phrase(text=phrase), **source)

    def _judge_one(self, phrase: Phrase, **source: Any) -> None:  # noqa: ANN401 - columns of the table
        subject, aspect = self.subject, phrase.aspect
        if subject.against is not None:
            if phrase.second:
                subject = replace(subject.against, against=subject)
            aspect = subject.against.name if subject.against else aspect
        unnamed = {*subject.own_names[1:], *(self.surroundings.attributes - {subject.name})}
        checked = check_reply(
            phrase.text,
            subject.name,
            [name for name in self.surroundings.classes if name not in unnamed],
            noun=subject.noun,
            rules=self.method.rules,
            instruction=f"{GROUP}\n{self.method.instruction}" if subject.noun else self.method.instruction,
            accepted=self.accepted,
            vocabulary=self.vocabulary,
        )
        reason = checked.reason or phrase.reason or self.method.refuse(subject, checked.text, self.surroundings)
        text = self.method.text(subject, checked.text, phrase.aspect) if checked.text else ""
        if not reason:
            self.accepted.append(checked.text)
        self._add(
            subject,
            verdict=REJECTED if reason else ACCEPTED,
            reason=reason,
            text=text,
            phrase=f"{phrase.attribute}: {checked.text}" if phrase.attribute else checked.text,
            other=aspect,
            **source,
        )

    def _add(self, subject: Subject | None = None, **columns: Any) -> None:  # noqa: ANN401 - columns of the table
        described = subject or self.subject
        row = {"class": described.name, "method": self.method.name, "synset": described.synset, "other": None}
        if subject is None and self.subject.against is not None:
            row["other"] = self.subject.against.name
        self.rows.append({"text": "", "phrase": ""} | row | columns)


async def _reply(client: RequestSender, request: ChatRequest) -> Reply | RequestFailedError:
    try:
        return await client.ask(request)
    except RequestFailedError as error:
        return error


async def in_order(coroutines: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """The results in order; the first error cancels the others."""
    if len(coroutines) == 1:
        return [await coroutines[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
