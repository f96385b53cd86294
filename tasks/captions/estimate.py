"""Requests and costs of captioners that ask chat models, by a rehearsal: nothing is sent, and no picture is read."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import pyarrow as pa

from evenly.descriptions.captions.asked import ChatCaptions
from evenly.descriptions.chat.budget import likely_prompt_tokens, most_prompt_tokens
from evenly.descriptions.chat.client import Reply
from evenly.descriptions.chat.embedded import embedded_name
from evenly.descriptions.chat.endpoint import Endpoint
from evenly.descriptions.chat.rehearsal import Rehearsal
from evenly.descriptions.chat.request import ChatRequest
from evenly.storage.chat.requests import Requests
from evenly.storage.web.images import PLACES
from evenly.tasks.captions import CAPTIONERS
from evenly.tasks.captions.captioner import Captioner, Shown
from evenly.tasks.captions.offers import NamedCaptioner, texts_of_pairs
from evenly.tasks.chat.endpoints import embedded_model, prices_of
from evenly.tasks.pictures.sent_rows import SentRows
from evenly.tasks.run import Each, Records, Run

Pairs = Literal["counted", "at most", "about"]
_TYPICAL_TEXT = "a caption of about sixty characters, as alt texts often are"
_TYPICAL_TAGS = "one tag, another tag, a third"


@dataclass(frozen=True, kw_only=True)
class AskingPart:
    """A part of a step that asks a chat model: its name, its rule, and what makes its requests."""

    name: str
    rule: ChatCaptions
    captioner: Captioner[Any]


def asking_captioners(captioners: Sequence[NamedCaptioner]) -> list[AskingPart]:
    """The captioners among these that ask a chat model."""
    return [
        AskingPart(name=one.name, rule=one.rule, captioner=CAPTIONERS[one.kind])
        for one in captioners
        if isinstance(one.rule, ChatCaptions)
    ]


@dataclass(kw_only=True)
class Rehearsed:
    """Sums over different requests: how many, of which `stored` have a reply, and the tokens of the others.

    prompt_tokens: as expected; prompt_tokens_at_most: the bound that a budget sets aside. stored_tokens: completion
    tokens of the stored replies; longest: the tokens that all missing replies may have.
    """

    requests: int = 0
    stored: int = 0
    prompt_tokens: int = 0
    prompt_tokens_at_most: int = 0
    stored_tokens: int = 0
    longest: int = 0

    def add(self, other: "Rehearsed") -> None:
        """Add the sums of another part."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


class CaptionRehearsal(Rehearsal):
    """A rehearsal of many requests: it keeps sums in the place of the requests."""

    def __init__(self, *, identity: str, model: str, store: Requests) -> None:
        super().__init__(identity=identity, model=model, store=store)
        self.sums = Rehearsed()
        self._asked: set[bytes] = set()

    async def ask(self, request: ChatRequest) -> Reply:
        """The stored reply; raises RequestFailedError where there is none."""
        try:
            return await super().ask(request)
        finally:
            request_id = self.request_id(request)
            self._count(request_id, self.requests.pop(request_id), self.completion_tokens.pop(request_id, None))

    def _count(self, request_id: str, request: ChatRequest, stored_tokens: int | None) -> None:
        if (short_id := bytes.fromhex(request_id)[:16]) in self._asked:
            return
        self._asked.add(short_id)
        self.sums.requests += 1
        if stored_tokens is None:
            self.sums.prompt_tokens += likely_prompt_tokens(request)
            self.sums.prompt_tokens_at_most += most_prompt_tokens(request)
            self.sums.longest += request.sampling.max_tokens
        else:
            self.sums.stored += 1
            self.sums.stored_tokens += stored_tokens


def estimate_captions(run: Run, asking: Sequence[AskingPart], upstream: Records, engine: Each) -> list[dict[str, Any]]:
    """A row for each that asks a chat model, for the pairs that the steps `upstream` have kept.

    Its requests are held against the stored replies. Later rounds of a captioner, which hold what came of earlier ones,
    are counted with as many tokens as without.
    """
    if not asking:
        return []
    columns = sorted({name for asks in asking for name in asks.captioner.columns(asks.rule)})
    rows = []
    with texts_of_pairs(run, upstream, columns, engine) as (_, shown):
        for asks in asking:
            sums, pairs = Rehearsed(), 0
            for n_pairs, part in engine.partitions(f"estimating {asks.name}", partial(_of_partition, asks, shown)):
                sums.add(part)
                pairs += n_pairs
            rows.append(_row(run, asks, sums, pairs=pairs, pairs_are="counted"))
    return rows


def estimate_captions_at_most(
    run: Run, asking: Sequence[AskingPart], pairs: int, *, pairs_are: Pairs
) -> list[dict[str, Any]]:
    """The same for so many pairs that are not known yet: each with a text and tags of usual length, nothing stored."""
    rows = []
    for asks in asking:
        columns = asks.captioner.columns(asks.rule)
        pair = {
            "uid": "0" * 32,
            "image_id": "0" * 64,
            "texts": [_TYPICAL_TEXT],
            **dict.fromkeys(columns, _TYPICAL_TAGS),
        }
        sums = _rehearsed(run, asks, pa.Table.from_pylist([pair]))
        scaled = Rehearsed(**{name: value * pairs for name, value in asdict(sums).items()})
        rows.append(_row(run, asks, scaled, pairs=pairs, pairs_are=pairs_are))
    return rows


def _of_partition(asks: AskingPart, shown: SentRows, run: Run) -> tuple[int, Rehearsed]:
    """The number of pairs of a partition, and what would be asked about them."""
    pairs = shown.of(run)
    return len(pairs), _rehearsed(run, asks, pairs)


def _rehearsed(run: Run, asks: AskingPart, pairs: pa.Table) -> Rehearsed:
    """The requests that would be sent about the pairs."""
    rule = asks.rule
    if rule.is_embedded:
        identity, model = embedded_model(), embedded_name()
    else:
        identity, model = Endpoint(base_url=rule.base_url, model=rule.model).identity, rule.model
    rehearsal = CaptionRehearsal(identity=identity, model=model, store=Requests(run.workspace))
    places = pa.table({name: pa.nulls(0, pa.string()) for name in PLACES})
    if pairs.num_rows:
        shown = Shown(name=asks.name, pairs=pairs, places=places, facts=None, workers=1, rehearsal=rehearsal)
        asks.captioner.offer(run, rule, shown)
    return rehearsal.sums


def _row(run: Run, asks: AskingPart, sums: Rehearsed, *, pairs: int, pairs_are: Pairs) -> dict[str, Any]:
    """The row of one that asks; replies are expected to be as long as the stored ones, else as they may be."""
    prices = prices_of(replace(run, payment=asks.rule))
    left = sums.requests - sums.stored
    expected = min(sums.longest, round(sums.stored_tokens / sums.stored * left)) if sums.stored else sums.longest
    return {
        "captioner": asks.name,
        "pairs": pairs,
        "pairs_are": pairs_are,
        "requests": sums.requests,
        "stored": sums.stored,
        "left_at_most": left,
        "prompt_tokens": sums.prompt_tokens,
        "prompt_tokens_at_most": sums.prompt_tokens_at_most,
        "completion_tokens": expected,
        "completion_tokens_at_most": sums.longest,
        "cost_usd": prices.cost(prompt_tokens=sums.prompt_tokens, completion_tokens=expected),
        "cost_usd_at_most": prices.cost(prompt_tokens=sums.prompt_tokens_at_most, completion_tokens=sums.longest),
    }
