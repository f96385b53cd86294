"""The protocol of captioners: from pairs of a picture and its texts to captions, each with where it comes from.

Those of a chat endpoint are asked for by a bounded number of requests at a time; refusals have a reason.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Le

from evenly.bounds import FINITE
from evenly.descriptions.asking import in_order
from evenly.descriptions.batch.files import MOST_REQUESTS
from evenly.descriptions.captions.questions import read_caption
from evenly.descriptions.chat.chat import Chat
from evenly.descriptions.chat.endpoint import PaidEndpoint, Payment
from evenly.descriptions.chat.event_loop import run_to_end
from evenly.descriptions.chat.picture import ChatPicture, UnreadablePictureError
from evenly.descriptions.chat.request import ChatRequest, Sampling
from evenly.descriptions.errors import RequestFailedError
from evenly.descriptions.texts.replies import UnreadableReplyError
from evenly.features.errors import UnreadableImageError
from evenly.features.pictures.rgb import scaled_jpeg
from evenly.storage.web.images import read_images
from evenly.tasks.chat.endpoints import account, chat_client, open_endpoint, spent
from evenly.tasks.run import Each, Records, Run

RuleT = TypeVar("RuleT")

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


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Pairs to be captioned, of the pictures in a partition.

    pairs: uid, image_id, texts (its own caption first, then those of pairs merged into it; nulls left out), and tags,
    those of the columns that the captioner reads. places: where pictures lie, PLACES sorted by image_id; None: nobody
    asked. facts: what `prepare` gave. workers: how many partitions are worked on at a time. rehearsal: what answers in
    the place of an endpoint, where it is only estimated what would be asked.
    """

    name: str
    pairs: pa.Table
    places: pa.Table | None
    facts: Any
    workers: int
    rehearsal: Chat | None = None


@dataclass(frozen=True, kw_only=True)
class Captioner(Generic[RuleT]):
    """A kind of captioner.

    rule: its values in a recipe. offer: the captions (MADE) of the pairs of a partition; what it asked or computed is
    stored before it returns, so that nothing is asked or computed twice. prepare: what all partitions need. identity:
    what its captions depend on beside the rule. ready: raises where something that it needs is not there. columns: of
    the pool, those that it reads tags from. reads_pictures: whether it needs their bytes.
    """

    rule: type[RuleT]
    offer: Callable[[Run, RuleT, Shown], pa.Table]
    prepare: Callable[[Run, Records, RuleT, Each], Any] = lambda *_: None
    identity: Callable[[Run, RuleT], str] = lambda *_: ""
    ready: Callable[[Run, RuleT], None] = lambda *_: None
    columns: Callable[[RuleT], Sequence[str]] = lambda _: ()
    reads_pictures: bool = True


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


MOST_SAMPLES = 16
_AT_ONCE = 1024  # rows that are held as Python's objects


@dataclass(frozen=True, kw_only=True)
class ChatCaptions(PaidEndpoint):
    """A chat model that writes captions: its endpoint, what it may cost, and how replies are drawn.

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


def ask_captions(run: Run, rule: ChatCaptions, shown: Shown, questions: Iterable[Question], total: int) -> pa.Table:
    """Ask all, those with a stored reply of nobody; MADE, a row for each question in their order.

    A question is taken when there is room for it, and given up with its answer: beside columns, what is held does not
    grow with their number. Raises EndpointError where none will be answered and BudgetExceededError where the next may
    cost too much: replies that came are stored.
    """
    if shown.rehearsal is not None:
        return run_to_end(_asked(shown.rehearsal, shown, questions, at_once=1, advance=lambda _: None))
    paying = replace(run, payment=payment_of(rule))
    budget = account(paying, account_name(shown.name))
    with open_endpoint(rule) as endpoint, run.progress.bar(f"asking {shown.name}", total) as advance:
        concurrency = max(1, rule.concurrency // shown.workers)
        client = chat_client(paying, endpoint, name=account_name(shown.name), budget=budget, concurrency=concurrency)
        at_once = max(1, min(total, MOST_REQUESTS)) if rule.batch else 2 * concurrency
        return run_to_end(_asked(client, shown, questions, at_once=at_once, advance=advance))


def account_name(captioner: str) -> str:
    """The name of a captioner's account, and of its batches."""
    return f"captions {captioner}"


def payment_of(rule: ChatCaptions) -> Payment:
    """Payment of its requests."""
    return Payment(
        budget_usd=rule.budget_usd,
        prompt_usd_per_million=rule.prompt_usd_per_million,
        completion_usd_per_million=rule.completion_usd_per_million,
        batch=rule.batch,
    )


def account_of(run: Run, rule: ChatCaptions, captioner: str) -> dict[str, object] | None:
    """The budget of a captioner and its costs in this and earlier runs; None where nothing has a price."""
    return spent(account(replace(run, payment=payment_of(rule)), account_name(captioner)))


class SentPictures:
    """The pictures of `shown` as they are sent to a model, by image_id; each is read when it is sent."""

    def __init__(self, run: Run, shown: Shown, *, max_side: int) -> None:
        if shown.places is None:
            raise ValueError(
                "`places` must say where pictures lie; got none. Mark the captioner as one that reads them."
            )
        self._run, self._places, self._max_side = run, shown.places, max_side
        ids = (row["image_id"].encode() for row in each_row(shown.places.select(["image_id"])))
        self._ids = np.fromiter(ids, "S64", shown.places.num_rows)

    def __getitem__(self, image_id: str) -> ChatPicture:
        return ChatPicture(image_id=image_id, max_side=self._max_side, load=partial(self._load, image_id))

    def _load(self, image_id: str) -> bytes:
        start = int(np.searchsorted(self._ids, image_id.encode()))
        (data,) = read_images(self._run.workspace.downloads, [image_id], self._places.slice(start, 1))
        try:
            return scaled_jpeg(data, max_side=self._max_side)
        except UnreadableImageError as error:
            raise UnreadablePictureError("unreadable_picture", str(error)) from None


async def _asked(
    client: Chat, shown: Shown, questions: Iterable[Question], *, at_once: int, advance: Callable[[int], object]
) -> pa.Table:
    answers = _Answers(shown.pairs)
    waiting = iter(enumerate(questions))

    async def work(numbered: Iterator[tuple[int, Question]]) -> None:
        for number, question in numbered:
            answers.add(await _answer(client, question, number))
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


async def _answer(client: Chat, question: Question, number: int) -> _Answer:
    answer = _Answer(
        number=number,
        place=question.place,
        sample=question.request.sample,
        request_id=client.request_id(question.request),
    )
    try:
        reply = await client.ask(question.request)
        return replace(answer, caption=read_caption(reply.text, outcome=reply.outcome))
    except RequestFailedError as error:
        return replace(answer, refused=error.reason, passing=error.passing)
    except UnreadableReplyError as error:
        return replace(answer, refused=error.reason)
