"""Estimates of the requests and cost of describing a class list, by a rehearsal with the stored replies."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.descriptions.chat.budget import likely_prompt_tokens, most_prompt_tokens
from evenly.descriptions.chat.endpoint import Prices
from evenly.descriptions.chat.event_loop import run_to_end
from evenly.descriptions.chat.rehearsal import Rehearsal
from evenly.descriptions.class_list import ClassList
from evenly.descriptions.describe import Pairs, describe_async
from evenly.descriptions.descriptions import FAILED, Descriptions
from evenly.descriptions.method import DescriptionMethod
from evenly.descriptions.texts.grounding import Grounding


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate of the questions of one method about a class list.

    `questions` are asked, of whose samples `stored` are there already. `requests_at_least` are sent if each brings
    what is wanted of it, `requests_at_most` if none does. `prompt_tokens` (a token for every four bytes),
    `completion_tokens` (as long as the method's stored replies, else the longest there may be) and `cost_usd` are what
    the fewest requests are expected to take; `.._at_most` is the bound for the most, which the budget sets aside.
    Attempts whose reply gets lost come on top of both.
    """

    class_list: str
    method: str
    questions: int
    stored: int
    requests_at_least: int = 0
    requests_at_most: int = 0
    prompt_tokens: int = 0
    prompt_tokens_at_most: int = 0
    completion_tokens: int = 0
    completion_tokens_at_most: int = 0
    cost_usd: float = 0.0
    cost_usd_at_most: float = 0.0

    def row(self) -> dict[str, Any]:
        """All fields, in this order."""
        return asdict(self)


def estimate(
    class_list: ClassList,
    *,
    methods: Sequence[DescriptionMethod],
    rehearsal: Rehearsal,
    prices: Prices,
    grounding: Grounding | None = None,
    samples: int = 4,
    pairs: Pairs = (),
) -> list[Estimate]:
    """One Estimate for each method, in order. `samples` (at least 1) and `pairs` as for `describe`.

    Of a method that builds on the replies of another, the questions are those that can be asked by now.
    """
    fewest: dict[str, set[str]] = {}
    request_ids: dict[str, list[str]] = {}
    n_asked = -1
    for rounds in range(1, samples + 1):
        descriptions = run_to_end(
            describe_async(
                class_list, methods=methods, client=rehearsal, grounding=grounding, samples=rounds, pairs=pairs
            )
        )
        request_ids = _asked(descriptions)
        missing: dict[str, set[str]] = {}
        for request_id in rehearsal.requests.keys() - rehearsal.completion_tokens.keys():
            missing.setdefault(rehearsal.question(request_id), set()).add(request_id)
        fewest = missing | fewest  # what a question lacks in the first round that is not all stored
        if sum(map(len, request_ids.values())) == n_asked:
            break  # no question lacks a text any more: further rounds would ask nothing
        n_asked = sum(map(len, request_ids.values()))
    first = frozenset[str]().union(*fewest.values())
    return [
        _of_method(
            class_list.name, method.name, request_ids.get(method.name, []), rehearsal, first=first, prices=prices
        )
        for method in methods
    ]


def nothing_to_ask(class_list: str, methods: Sequence[str], table: pa.Table) -> list[Estimate]:
    """One Estimate for each method, of a list that is described: `table` has its texts."""
    requests = table.filter((pc.field("verdict") != FAILED) & pc.field("request_id").is_valid())
    firsts = requests.filter(pc.field("sample") == 0)
    counts = {
        method: [len(pc.unique(rows.filter(pc.field("method") == method)["request_id"])) for rows in (firsts, requests)]
        for method in methods
    }
    return [
        Estimate(class_list=class_list, method=method, questions=questions, stored=stored)
        for method, (questions, stored) in counts.items()
    ]


def _asked(descriptions: Descriptions) -> dict[str, list[str]]:
    """Method -> ids of its requests, each once."""
    by_method: dict[str, dict[str, None]] = {}
    for method, request_id in zip(
        *(descriptions.table[name].to_pylist() for name in ("method", "request_id")), strict=True
    ):
        if request_id is not None:
            by_method.setdefault(method, {})[request_id] = None
    return {method: list(request_ids) for method, request_ids in by_method.items()}


def _of_method(
    class_list: str,
    method: str,
    request_ids: Sequence[str],
    rehearsal: Rehearsal,
    *,
    first: frozenset[str],
    prices: Prices,
) -> Estimate:
    requests, stored = rehearsal.requests, rehearsal.completion_tokens
    most = [request_id for request_id in request_ids if request_id not in stored]
    least = [request_id for request_id in most if request_id in first]
    replies = [tokens for request_id in request_ids if (tokens := stored.get(request_id))]
    longest = sum(requests[request_id].sampling.max_tokens for request_id in least)
    completion = min(longest, round(sum(replies) / len(replies) * len(least))) if replies else longest
    prompt = sum(likely_prompt_tokens(requests[request_id]) for request_id in least)
    prompt_most = sum(most_prompt_tokens(requests[request_id]) for request_id in most)
    completion_most = sum(requests[request_id].sampling.max_tokens for request_id in most)
    return Estimate(
        class_list=class_list,
        method=method,
        questions=len({rehearsal.question(request_id) for request_id in request_ids}),
        stored=len(request_ids) - len(most),
        requests_at_least=len(least),
        requests_at_most=len(most),
        prompt_tokens=prompt,
        prompt_tokens_at_most=prompt_most,
        completion_tokens=completion,
        completion_tokens_at_most=completion_most,
        cost_usd=prices.cost(prompt_tokens=prompt, completion_tokens=completion),
        cost_usd_at_most=prices.cost(prompt_tokens=prompt_most, completion_tokens=completion_most),
    )
