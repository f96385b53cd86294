"""Captions of a chat model: questions about pairs, and the answers in their order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol

import pyarrow as pa
from annotated_types import Ge, Le

from evenly.bounds import FINITE
from evenly.descriptions.asking import in_order
from evenly.descriptions.captions.questions import read_caption
from evenly.descriptions.chat.chat import Chat
from evenly.descriptions.chat.endpoint import PaidEndpoint, Payment
from evenly.descriptions.chat.request import ChatRequest, Sampling
from evenly.descriptions.errors import RequestFailedError
from evenly.descriptions.texts.replies import UnreadableReplyError

MADE = pa.schema(
    [
        ("uid", pa.string()),
        ("image_id", pa.string()),
        ("caption", pa.string()),
        ("sample", pa.int32()),
        ("request_id", pa.string()),
        ("refused", pa.string()),
        ("passing", pa.bool_()),
    ]
)
"""What a captioner makes of a pair: captions by number, with the request of each, or why one was refused ("": not).

passing: whether it may be had another time, as from a server that was busy.
"""


def made(
    pairs: pa.Table,
    *,
    places: Sequence[int],
    captions: Sequence[str | None],
    samples: Sequence[int] | None = None,
    request_ids: Sequence[str | None] | None = None,
    refused: Sequence[str] | None = None,
    passing: Sequence[bool] | None = None,
) -> pa.Table:
    """MADE of captions for the pairs at `places`; sample 0, no request and no refusal where these are not given."""
    n = len(captions)
    indices = pa.array(places, pa.int64())
    columns = [
        pairs["uid"].combine_chunks().take(indices),
        pairs["image_id"].combine_chunks().take(indices),
        captions,
        samples or [0] * n,
        request_ids or [None] * n,
        refused or [""] * n,
        passing or [False] * n,
    ]
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, MADE.types, strict=True)], schema=MADE)


class ReadReply(Protocol):
    """Reads the text that is wanted out of a reply. Raises UnreadableReplyError."""

    def __call__(self, reply: str, *, outcome: str = "reply") -> str:
        """The text."""
        ...


MOST_SAMPLES = 16
_AT_ONCE = 1024  # rows that are held as Python's objects


@dataclass(frozen=True, kw_only=True)
class ChatCaptions(PaidEndpoint):
    """A chat model that writes captions: the endpoint, the budget, and how replies are drawn.

    samples: captions for each pair. concurrency: requests at a time, by all workers together. max_side: pixels of the
    longer side to which a picture is scaled before it is sent.
    """

    samples: Annotated[int, Ge(1), Le(MOST_SAMPLES)] = 1
    temperature: Annotated[float, Ge(0), Le(2), FINITE] = 0.7
    max_tokens: Annotated[int, Ge(1), Le(4096)] = 200
    seed: int = 0
    max_side: Annotated[int, Ge(32), Le(4096)] = 512
    concurrency: Annotated[int, Ge(1), Le(1024)] = 8

    @property
    def sampling(self) -> Sampling:
        """Sampling of replies."""
        return Sampling(temperature=self.temperature, max_tokens=self.max_tokens, seed=self.seed)


UNSTORED = (*Payment.__dataclass_fields__, "concurrency")
"""Fields that change no caption: what requests cost, and how many are under way."""


def check_sees(rule: ChatCaptions) -> None:
    """Raise ValueError where the model is the embedded one, which is shown no pictures."""
    if rule.is_embedded:
        raise ValueError("base_url must be of an endpoint whose model sees pictures; the embedded one does not")


@dataclass(frozen=True, kw_only=True)
class Question:
    """A request about the pair at `place`."""

    place: int
    request: ChatRequest


def each_row(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows of a table in order; _AT_ONCE of them are Python's objects at a time."""
    return (row for batch in table.to_batches(_AT_ONCE) for row in batch.to_pylist())


async def asked(
    client: Chat,
    pairs: pa.Table,
    questions: Iterable[Question],
    *,
    at_once: int,
    advance: Callable[[int], object],
    read: ReadReply = read_caption,
) -> pa.Table:
    """The answers (MADE) to questions about `pairs`, in their order; `at_once` of them are open at a time."""
    answers = _Answers(pairs)
    waiting = iter(enumerate(questions))

    async def work(numbered: Iterator[tuple[int, Question]]) -> None:
        for number, question in numbered:
            answers.add(await _answer(client, question, number, read))
            advance(1)

    async with client:
        await in_order([work(waiting) for _ in range(at_once)])
    return answers.table()


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """The outcome of question `number`, on sample `sample` of the pair at `place`: a caption, or why there is none."""

    number: int
    place: int
    sample: int
    request_id: str
    caption: str | None = None
    refused: str = ""
    passing: bool = False


class _Answers:
    """Answers in whatever order they come, as columns; the last of them, fewer than _AT_ONCE, as objects."""

    def __init__(self, pairs: pa.Table) -> None:
        self._pairs = pairs.select(["uid", "image_id"]).combine_chunks()
        self._tables: list[pa.Table] = []
        self._last: list[_Answer] = []

    def add(self, answer: _Answer) -> None:
        """Take an answer."""
        self._last.append(answer)
        if len(self._last) == _AT_ONCE:
            self._to_columns()

    def table(self) -> pa.Table:
        """MADE of all, in the order of the questions."""
        self._to_columns()
        return pa.concat_tables(self._tables).sort_by("number").drop(["number"])

    def _to_columns(self) -> None:
        last, self._last = self._last, []
        rows = made(
            self._pairs,
            places=[answer.place for answer in last],
            captions=[answer.caption for answer in last],
            samples=[answer.sample for answer in last],
            request_ids=[answer.request_id for answer in last],
            refused=[answer.refused for answer in last],
            passing=[answer.passing for answer in last],
        )
        self._tables.append(rows.append_column("number", pa.array([answer.number for answer in last], pa.int64())))


async def _answer(client: Chat, question: Question, number: int, read: ReadReply) -> _Answer:
    answer = _Answer(
        number=number,
        place=question.place,
        sample=question.request.sample,
        request_id=client.request_id(question.request),
    )
    try:
        reply = await client.ask(question.request)
        return replace(answer, caption=read(reply.text, outcome=reply.outcome))
    except RequestFailedError as error:
        return replace(answer, refused=error.reason, passing=error.passing)
    except UnreadableReplyError as error:
        return replace(answer, refused=error.reason)
