"""Captions asked of a chat endpoint: a bounded number of requests at a time, replies read, refusals with a reason."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Le

from evenly.bounds import FINITE
from evenly.descriptions.asking import in_order
from evenly.descriptions.captions.reading import read_caption
from evenly.descriptions.chat.chat import Chat
from evenly.descriptions.chat.event_loop import run_to_end
from evenly.descriptions.chat.picture import ChatPicture, UnreadablePictureError
from evenly.descriptions.chat.request import ChatRequest, Sampling
from evenly.descriptions.errors import RequestFailedError
from evenly.descriptions.texts.replies import UnreadableReplyError
from evenly.features.errors import UnreadableImageError
from evenly.features.scaled import scaled_jpeg
from evenly.storage.web import read_images
from evenly.tasks.captions.captioner import Shown, made
from evenly.tasks.chat.endpoints import account, chat_client, open_endpoint, spent
from evenly.tasks.run import PaidEndpoint, Payment, Run

MOST_SAMPLES = 16


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
        """How replies are drawn."""
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


@dataclass(frozen=True, kw_only=True)
class CaptionAnswer:
    """What came of a question: a caption, or why there is none."""

    question: Question
    request_id: str
    caption: str | None
    refused: str
    passing: bool


def ask_captions(
    run: Run, rule: ChatCaptions, shown: Shown, questions: Iterable[Question], total: int
) -> list[CaptionAnswer]:
    """Ask all, those with a stored reply of nobody; the answers in the order of the questions.

    Raises EndpointError where none will be answered and BudgetExceededError where the next may cost too much: replies
    that came are stored.
    """
    if shown.rehearsal is not None:
        return run_to_end(_asked(shown.rehearsal, questions, at_once=1, advance=lambda _: None))
    paying = replace(run, payment=payment_of(rule))
    budget = account(paying, account_name(shown.name))
    with open_endpoint(rule) as endpoint, run.progress.bar(f"asking {shown.name}", total) as advance:
        concurrency = max(1, rule.concurrency // shown.workers)
        client = chat_client(paying, endpoint, name=account_name(shown.name), budget=budget, concurrency=concurrency)
        at_once = total if rule.batch else 2 * concurrency
        return run_to_end(_asked(client, questions, at_once=max(1, at_once), advance=advance))


def account_name(captioner: str) -> str:
    """The name of a captioner's account, and of its batches."""
    return f"captions {captioner}"


def payment_of(rule: ChatCaptions) -> Payment:
    """How its requests are paid."""
    return Payment(
        budget_usd=rule.budget_usd,
        prompt_usd_per_million=rule.prompt_usd_per_million,
        completion_usd_per_million=rule.completion_usd_per_million,
        batch=rule.batch,
    )


def account_of(run: Run, rule: ChatCaptions, captioner: str) -> dict[str, object] | None:
    """What a captioner may cost and has cost, in this and earlier runs; None where nothing has a price."""
    return spent(account(replace(run, payment=payment_of(rule)), account_name(captioner)))


def answered(shown: Shown, answers: Sequence[CaptionAnswer]) -> pa.Table:
    """MADE of the answers."""
    return made(
        shown.pairs,
        places=[answer.question.place for answer in answers],
        captions=[answer.caption for answer in answers],
        samples=[answer.question.request.sample for answer in answers],
        request_ids=[answer.request_id for answer in answers],
        refused=[answer.refused for answer in answers],
        passing=[answer.passing for answer in answers],
    )


class SentPictures:
    """The pictures of `shown` as they are sent to a model, by image_id; each is read when it is sent."""

    def __init__(self, run: Run, shown: Shown, *, max_side: int) -> None:
        if shown.places is None:
            raise ValueError(
                "`places` must say where pictures lie; got none. Mark the captioner as one that reads them."
            )
        self._run, self._places, self._max_side = run, shown.places, max_side
        self._ids = np.asarray(shown.places["image_id"].to_pylist(), dtype="S64")

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
    client: Chat, questions: Iterable[Question], *, at_once: int, advance: Callable[[int], object]
) -> list[CaptionAnswer]:
    answers: dict[int, CaptionAnswer] = {}
    waiting = iter(enumerate(questions))

    async def work(numbered: Iterator[tuple[int, Question]]) -> None:
        for number, question in numbered:
            answers[number] = await _answer(client, question)
            advance(1)

    async with client:
        await in_order([work(waiting) for _ in range(at_once)])
    return [answers[number] for number in range(len(answers))]


async def _answer(client: Chat, question: Question) -> CaptionAnswer:
    answer = CaptionAnswer(
        question=question, request_id=client.request_id(question.request), caption=None, refused="", passing=False
    )
    try:
        reply = await client.ask(question.request)
        return replace(answer, caption=read_caption(reply.text, outcome=reply.outcome))
    except RequestFailedError as error:
        return replace(answer, refused=error.reason, passing=error.passing)
    except UnreadableReplyError as error:
        return replace(answer, refused=error.reason)
