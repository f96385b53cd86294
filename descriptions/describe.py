"""Describes a class list: every method asks about every class, every reply is checked, nothing is dropped silently."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from descriptions.chat_request import ChatRequest
from descriptions.checks import check_reply
from descriptions.class_list import ClassEntry, ClassList
from descriptions.client import ChatClient, Counts
from descriptions.descriptions import ACCEPTED, FAILED, REJECTED, Descriptions, table_of
from descriptions.errors import RequestFailedError
from descriptions.grounding import Grounding, Subject, ungrounded
from descriptions.method import DescriptionMethod
from descriptions.replies import UnreadableReplyError

Row = dict[str, Any]


def describe(
    class_list: ClassList,
    *,
    methods: Sequence[DescriptionMethod],
    client: ChatClient,
    grounding: Grounding | None = None,
    samples: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> Descriptions:
    """Texts for every class by every method; see `describe_async`. Not for use inside a running event loop."""
    return asyncio.run(
        describe_async(
            class_list, methods=methods, client=client, grounding=grounding, samples=samples, progress=progress
        )
    )


async def describe_async(
    class_list: ClassList,
    *,
    methods: Sequence[DescriptionMethod],
    client: ChatClient,
    grounding: Grounding | None = None,
    samples: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> Descriptions:
    """Texts for every class by every method, in the order of the list, rejected and failed ones included.

    A question is asked again, at most `samples` times in all, until it has brought the accepted texts that its method
    wants. The same stored replies give the same table. `progress` is called with (pairs of class and method that are
    finished, pairs in all). Raises EndpointError where the endpoint is of no use; replies so far are stored.
    """
    subjects = grounding.subjects(class_list) if grounding else tuple(map(_bare, class_list.entries))
    vocabulary = grounding.vocabulary if grounding else None
    before = client.counts
    finished = 0

    async def one(subject: Subject, method: DescriptionMethod) -> list[Row]:
        nonlocal finished
        task = _Task(subject=subject, method=method, classes=class_list.classes, vocabulary=vocabulary)
        await task.run(client, samples=samples)
        finished += 1
        if progress is not None:
            progress(finished, len(subjects) * len(methods))
        return task.rows

    async with client:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(subject, method)) for subject in subjects for method in methods]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
    return Descriptions(
        class_list=class_list.name,
        class_list_identity=class_list.identity,
        classes=class_list.classes,
        methods=tuple(method.name for method in methods),
        table=table_of([row for task in tasks for row in task.result()]),
        ungrounded=ungrounded(subjects),
        counts=_difference(client.counts, before),
    )


@dataclass(kw_only=True)
class _Task:
    """One class by one method; rows in the order of known phrases, then questions, samples, places in a reply."""

    subject: Subject
    method: DescriptionMethod
    classes: Sequence[str]
    vocabulary: Collection[str] | None
    rows: list[Row] = field(default_factory=list)

    async def run(self, client: ChatClient, *, samples: int) -> None:
        questions = self.method.questions(self.subject)
        self._judge(self.method.known(self.subject), request_id=None, sample=None)
        if not questions and not self.rows:
            self._add(verdict=FAILED, reason=self.method.why_none(self.subject), request_id=None, sample=None)
        for question in questions:
            goal = len(self._accepted()) + self.method.wanted
            for sample in range(samples):
                if len(self._accepted()) >= goal:
                    break
                await self._ask(client, replace(question, sample=sample))

    async def _ask(self, client: ChatClient, request: ChatRequest) -> None:
        """Add the rows of one request. An unreadable reply or a failed request is one row without text."""
        source = {"request_id": client.request_id(request), "sample": request.sample}
        try:
            reply = await client.ask(request)
            phrases = self.method.read(reply.text, reply.outcome)
        except UnreadableReplyError as error:
            self._add(verdict=REJECTED, reason=error.reason, **source)
        except RequestFailedError as error:
            self._add(verdict=FAILED, reason=error.reason, **source)
        else:
            self._judge(phrases, **source)

    def _judge(self, phrases: Sequence[str], **source: Any) -> None:  # noqa: ANN401 - columns of the table
        for phrase in phrases:
            checked = check_reply(
                phrase,
                self.subject.name,
                self.classes,
                rules=self.method.rules,
                instruction=self.method.instruction,
                accepted=self._accepted(),
                vocabulary=self.vocabulary,
            )
            text = self.method.text(self.subject, checked.text) if checked.text else ""
            verdict = REJECTED if checked.reason else ACCEPTED
            self._add(verdict=verdict, reason=checked.reason, text=text, phrase=checked.text, **source)

    def _add(self, **columns: Any) -> None:  # noqa: ANN401 - columns of the table
        row = {"class": self.subject.name, "method": self.method.name, "synset": self.subject.synset}
        self.rows.append({"text": "", "phrase": ""} | row | columns)

    def _accepted(self) -> list[str]:
        return [row["phrase"] for row in self.rows if row["verdict"] == ACCEPTED]


def _bare(entry: ClassEntry) -> Subject:
    return Subject(name=entry.name, synset=entry.synset, gloss=entry.gloss)


def _difference(after: Counts, before: Counts) -> Counts:
    return Counts(**{name: value - getattr(before, name) for name, value in vars(after).items()})
