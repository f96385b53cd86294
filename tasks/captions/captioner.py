"""The protocol of captioners: from pairs of a picture and its texts to captions, each with where it comes from.

Those of a chat endpoint are asked for by a bounded number of requests at a time; refusals have a reason.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.descriptions.batch.files import MOST_REQUESTS
from evenly.descriptions.captions.asked import ChatCaptions, Question, ReadReply, asked, each_row
from evenly.descriptions.captions.questions import read_caption
from evenly.descriptions.chat.chat import Chat
from evenly.descriptions.chat.event_loop import run_to_end
from evenly.descriptions.chat.picture import ChatPicture, UnreadablePictureError
from evenly.features.errors import UnreadableImageError
from evenly.features.pictures.rgb import scaled_jpeg
from evenly.storage.web.images import read_images
from evenly.tasks.chat.endpoints import account, chat_client, open_endpoint, spent
from evenly.tasks.run import Each, Records, Run

RuleT = TypeVar("RuleT")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Pairs to be captioned, of the pictures in a partition.

    pairs: uid, image_id, texts (its own caption first, then those of pairs merged into it; nulls left out), and tags,
    those of the columns that the captioner reads. places: where pictures lie, PLACES, perhaps of others too; None:
    nobody asked. facts: what `prepare` gave. workers: how many partitions are worked on at a time. rehearsal: what
    answers in the place of an endpoint, where it is only estimated what would be asked.
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


def ask_captions(
    run: Run,
    rule: ChatCaptions,
    shown: Shown,
    questions: Iterable[Question],
    total: int,
    *,
    read: ReadReply = read_caption,
) -> pa.Table:
    """Ask all, those with a stored reply of nobody; MADE, a row for each question in their order, as `read` reads it.

    A question is taken when there is room for it, and given up with its answer: beside columns, what is held does not
    grow with their number. Raises EndpointError where none will be answered and BudgetExceededError where the next may
    cost too much: replies that came are stored.
    """
    if shown.rehearsal is not None:
        return run_to_end(asked(shown.rehearsal, shown.pairs, questions, at_once=1, advance=lambda _: None, read=read))
    paying = replace(run, payment=rule)
    budget = account(paying, account_name(shown.name))
    with open_endpoint(rule) as endpoint, run.progress.bar(f"asking {shown.name}", total) as advance:
        concurrency = max(1, rule.concurrency // shown.workers)
        client = chat_client(paying, endpoint, name=account_name(shown.name), budget=budget, concurrency=concurrency)
        at_once = max(1, min(total, MOST_REQUESTS)) if rule.batch else 2 * concurrency
        return run_to_end(asked(client, shown.pairs, questions, at_once=at_once, advance=advance, read=read))


def account_name(captioner: str) -> str:
    """The name of a captioner's account, and of its batches."""
    return f"captions {captioner}"


def account_of(run: Run, rule: ChatCaptions, captioner: str) -> dict[str, object] | None:
    """The budget of a captioner and its costs in this and earlier runs; None where nothing has a price."""
    return spent(account(replace(run, payment=rule), account_name(captioner)))


def tries(run: Run, step: str, rule: Mapping[str, Any]) -> dict[str, str]:
    """The number of runs of a step by a rule, as stored, that left requests unanswered, as an input; nothing for none.

    A further try is a new observation: it finds all replies that came stored, and asks the rest.
    """
    records = [record for record in run.ledger.records(step) if record.rule == rule]
    unanswered = sum(bool(record.notes.get("unanswered")) for record in records)
    return {"tries": str(unanswered)} if unanswered else {}


class SentPictures:
    """The pictures of `shown` as they are sent to a model, by image_id; each is read when it is sent."""

    def __init__(self, run: Run, shown: Shown, *, max_side: int) -> None:
        self._run, self._places, self._max_side = run, _distinct_places(shown), max_side
        ids = (row["image_id"].encode() for row in each_row(self._places.select(["image_id"])))
        self._ids = np.fromiter(ids, "S64", self._places.num_rows)

    def __getitem__(self, image_id: str) -> ChatPicture:
        return ChatPicture(image_id=image_id, max_side=self._max_side, load=partial(self._load, image_id))

    def _load(self, image_id: str) -> bytes:
        start = int(np.searchsorted(self._ids, image_id.encode()))
        (data,) = read_images(self._run.workspace.downloads, [image_id], self._places.slice(start, 1))
        try:
            return scaled_jpeg(data, max_side=self._max_side)
        except UnreadableImageError as error:
            raise UnreadablePictureError("unreadable_picture", str(error)) from None


def _distinct_places(shown: Shown) -> pa.Table:
    """One place of each picture that is shown, with bytes where there are any; sorted by image_id."""
    if shown.places is None:
        raise ValueError("`places` must say where pictures lie; got none. Mark the captioner as one that reads them.")
    ids = shown.pairs["image_id"].combine_chunks().unique()
    places = shown.places.filter(pc.is_in(shown.places["image_id"], ids))
    places = places.sort_by([("image_id", "ascending"), ("tar", "ascending")])
    first = np.unique(places["image_id"].to_numpy(zero_copy_only=False), return_index=True)[1]
    return places.take(pa.array(first)).combine_chunks()
