"""Descriptions of a class list: all methods ask about all classes, and each reply is checked; none is lost."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from evenly.descriptions.asking import Asking, Row
from evenly.descriptions.chat.chat import Chat
from evenly.descriptions.chat.client import ClientCounts
from evenly.descriptions.chat.event_loop import synchronous
from evenly.descriptions.chat.reply_log import RecordingChat
from evenly.descriptions.class_list import ClassEntry, ClassList, shown
from evenly.descriptions.descriptions import FAILED, Descriptions, table_of
from evenly.descriptions.method import DescriptionMethod, Surroundings
from evenly.descriptions.texts.grounding import Grounding, Subject, ungrounded
from evenly.descriptions.texts.neighbours import Neighbours
from evenly.descriptions.texts.vocabularies import ATTRIBUTE_WORDS

Pairs = Sequence[tuple[str, str]]


async def describe_async(
    class_list: ClassList,
    *,
    methods: Sequence[DescriptionMethod],
    client: Chat,
    grounding: Grounding | None = None,
    samples: int = 4,
    pairs: Pairs = (),
    phrases: Mapping[str, Sequence[str]] = MappingProxyType({}),
    progress: Callable[[int, int], None] | None = None,
) -> Descriptions:
    """Texts for every class by every method, in the order of the list, rejected and failed ones included.

    A question is asked again, in at most `samples` rounds in all, until it has brought the accepted texts that its
    method wants. Methods about pairs ask about `pairs` of class names only, those about the list once, with the class
    "" in their rows, which come last. The same stored replies give the same table. `progress` is called with (pairs of
    subject and method that are finished, pairs in all). Raises EndpointError where the endpoint is of no use; replies
    so far are stored.
    """
    subjects = tuple(
        replace(subject, phrases=tuple(phrases.get(subject.name, ())))
        for subject in _subjects(class_list, methods, grounding=grounding)
    )
    surroundings = _surroundings(subjects, grounding)
    vocabulary = grounding.vocabulary if grounding else None
    counts_at_start = client.counts
    askings = [
        Asking(subject=subject, method=method, surroundings=surroundings, vocabulary=vocabulary)
        for subject, method in _questions(subjects, methods, _pairs_of(class_list, pairs))
    ]
    recorder = RecordingChat(client)
    await _run(askings, recorder, samples=samples, progress=progress)
    rows = [row for asking in askings for row in asking.rows]
    rows += _without_pair(subjects, methods, rows)
    return Descriptions(
        class_list=class_list.name,
        class_list_identity=class_list.identity,
        classes=class_list.classes,
        methods=tuple(method.name for method in methods),
        table=table_of(_in_order(rows, class_list.classes, methods)),
        ungrounded=ungrounded(subjects),
        counts=_difference(client.counts, counts_at_start),
        made_by=recorder.facts(),
        list_methods=tuple(method.name for method in methods if method.scope == "list"),
    )


describe = synchronous(describe_async)


async def _run(
    askings: Sequence[Asking], client: Chat, *, samples: int, progress: Callable[[int, int], None] | None
) -> None:
    """Let all ask at the same time; one whose method comes `after` others waits for these on its own class."""
    tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
    by_key = {(asking.subject.name, asking.method.name): asking for asking in askings}
    finished = 0

    async def run(asking: Asking) -> None:
        nonlocal finished
        for name in asking.method.after:
            if (earlier := tasks.get((asking.subject.name, name))) is not None:
                await earlier
                asking.subject = _with_tags(asking.subject, by_key[asking.subject.name, name].accepted)
        await asking.run(client, samples=samples)
        finished += 1
        if progress is not None:
            progress(finished, len(askings))

    async with client:
        try:
            async with asyncio.TaskGroup() as group:
                for asking in sorted(askings, key=lambda asking: bool(asking.method.after)):
                    tasks[asking.subject.name, asking.method.name] = group.create_task(run(asking))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None


def _questions(
    subjects: Sequence[Subject], methods: Sequence[DescriptionMethod], pairs: Pairs
) -> Iterable[tuple[Subject, DescriptionMethod]]:
    """Everything that is asked about: the classes by their methods, then pairs, then the list."""
    by_name = {subject.name: subject for subject in subjects}
    yield from ((subject, method) for subject in subjects for method in methods if method.scope == "class")
    for first, second in pairs:
        subject = replace(by_name[first], against=by_name[second])
        yield from ((subject, method) for method in methods if method.scope == "pair")
    yield from ((Subject(name=""), method) for method in methods if method.scope == "list")


def _subjects(
    class_list: ClassList, methods: Sequence[DescriptionMethod], *, grounding: Grounding | None
) -> tuple[Subject, ...]:
    subjects = grounding.subjects(class_list) if grounding else tuple(map(_bare, class_list.entries))
    if grounding is None or not any(method.name == "near_misses" for method in methods):
        return subjects
    neighbours = Neighbours(grounding)
    return tuple(replace(subject, neighbours=neighbours.of(subject)) for subject in subjects)


def _surroundings(subjects: Sequence[Subject], grounding: Grounding | None) -> Surroundings:
    classes = tuple(name for subject in subjects for name in subject.own_names)
    lemmas = (lemma for subject in subjects for lemma in subject.lemmas)
    names = tuple(dict.fromkeys((*classes, *lemmas)))
    if grounding is None:
        return Surroundings(classes=classes, names=names)
    attributes = frozenset(subject.name for subject in subjects if subject.noun in ATTRIBUTE_WORDS)
    return Surroundings(classes=classes, names=names, attributes=attributes, gloss_of=grounding.gloss_of, grounded=True)


def _pairs_of(class_list: ClassList, pairs: Pairs) -> Pairs:
    """Each pair once, its names in alphabetical order: a list in another order asks the same."""
    names = set(class_list.classes)
    for pair in pairs:
        if not (len(pair) == 2 and set(pair) <= names and pair[0] != pair[1]):
            raise ValueError(
                f"`pairs` must hold two different classes of the list each; got {shown(str(tuple(pair)))}. "
                "Take the names as the list has them."
            )
    return tuple(dict.fromkeys((min(pair), max(pair)) for pair in pairs))


def _without_pair(
    subjects: Sequence[Subject], methods: Sequence[DescriptionMethod], rows: Sequence[Row]
) -> Iterable[Row]:
    """A row for each class about which a method of pairs was not asked."""
    covered = {(row["class"], row["method"]) for row in rows} | {(row["other"], row["method"]) for row in rows}
    for method in methods:
        for subject in subjects if method.scope == "pair" else ():
            if (subject.name, method.name) not in covered:
                facts = {"class": subject.name, "method": method.name, "synset": subject.synset, "text": ""}
                yield facts | {"phrase": "", "verdict": FAILED, "reason": method.why_none(subject)}


def _in_order(rows: Iterable[Row], classes: Sequence[str], methods: Sequence[DescriptionMethod]) -> list[Row]:
    """By class, then by method; what is about the list comes last."""
    places = {name: place for place, name in enumerate((*classes, ""))}
    columns = {method.name: place for place, method in enumerate(methods)}
    return sorted(rows, key=lambda row: (places[row["class"]], columns[row["method"]]))


def _bare(entry: ClassEntry) -> Subject:
    return Subject(name=entry.name, synset=entry.synset, gloss=entry.gloss)


def _with_tags(subject: Subject, tags: Collection[str]) -> Subject:
    return replace(subject, tags=tuple(dict.fromkeys((*subject.tags, *tags))))


def _difference(end: ClientCounts, start: ClientCounts) -> ClientCounts:
    return ClientCounts(**{name: value - getattr(start, name) for name, value in vars(end).items()})
