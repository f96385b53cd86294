"""The protocol of captioners: from pairs of a picture and its texts to captions, each with where it comes from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pyarrow as pa

from evenly.descriptions.chat.chat import Chat
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
