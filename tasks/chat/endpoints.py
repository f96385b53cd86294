"""The chat endpoint that a rule names: opened, paid for, and asked; descriptions and captions use it alike.

Also asked by the batch: the client that submits batches, a list of them, and their cancelling.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import evenly.descriptions.chat
from evenly.descriptions.batch.client import BatchChatClient
from evenly.descriptions.batch.collection import cancel_batch, tell
from evenly.descriptions.batch.endpoint import BatchEndpoint
from evenly.descriptions.batch.intents import BatchState, batch_states
from evenly.descriptions.batch.submission import BatchWork
from evenly.descriptions.chat.budget import Budget
from evenly.descriptions.chat.chat import Chat
from evenly.descriptions.chat.client import ChatClient
from evenly.descriptions.chat.embedded import embedded_file, embedded_identity, embedded_llm
from evenly.descriptions.chat.endpoint import Endpoint, EndpointRule, Prices
from evenly.descriptions.chat.retries import RetryRule
from evenly.descriptions.errors import EndpointError
from evenly.storage.chat.requests import Batches, Requests
from evenly.storage.chat.spending import SpendingJournal
from evenly.storage.errors import NotFoundError
from evenly.storage.files.identities import IdentityRecord, default_cache, refuse_other
from evenly.storage.workspace import Workspace
from evenly.tasks.run import Run
from evenly.tasks.server.limits import limits_of

CONCURRENCY = 4
TIMEOUT_S = 120.0


@contextmanager
def open_endpoint(rule: EndpointRule) -> Iterator[Endpoint]:
    """The endpoint that the rule names by base_url and model; the embedded one runs while it is open."""
    if rule.is_embedded:
        since_ns = time.time_ns()
        with embedded_llm(slots=CONCURRENCY) as endpoint:
            _record().settle(endpoint.identity, [embedded_file()], since_ns=since_ns)
            refuse_other("the embedded language model", embedded_model(), endpoint.identity)
            yield endpoint
    else:
        yield Endpoint(base_url=rule.base_url, model=rule.model)


@lru_cache(maxsize=1)
def embedded_model() -> str:
    """The identity of the embedded language model's endpoint, from its record where that holds."""
    return _record().get(embedded_identity, [embedded_file()])


def _record() -> IdentityRecord:
    facts = {"weights": str(embedded_file())}
    return IdentityRecord(cache=default_cache(), kind="language model", facts=facts, code=(evenly.descriptions.chat,))


def endpoint_identity(_run: Run, rule: EndpointRule) -> str:
    """The identity of the endpoint and its model, as a step's model."""
    identity = embedded_model() if rule.is_embedded else rule.base_url
    return f"{identity} {rule.model}"


def chat_client(
    run: Run, endpoint: Endpoint, *, name: str, budget: Budget | None, concurrency: int = CONCURRENCY
) -> Chat:
    """The chat of the endpoint: `concurrency` requests at a time, or in batches where the run pays for these.

    `name` is of the class list or captioner that asks.
    """
    if run.payment.batch:
        return batch_client(run, endpoint, account=name, budget=budget)
    store = Requests(run.workspace)
    return ChatClient(
        endpoint,
        store=store,
        concurrency=concurrency,
        retries=RetryRule(timeout_s=TIMEOUT_S),
        budget=budget,
        limits=limits_of("chat", run.progress, longest_s=TIMEOUT_S),
    )


def account(run: Run, name: str) -> Budget | None:
    """The budget of all runs of a class list or captioner, and their costs; None where nothing has a price."""
    prices = prices_of(run)
    if prices == Prices():
        return None
    return Budget(run.payment.budget_usd, prices, SpendingJournal(run.workspace, name))


def prices_of(run: Run) -> Prices:
    """US dollars for a million tokens, as the run pays."""
    payment = run.payment
    return Prices(prompt_usd=payment.prompt_usd_per_million, completion_usd=payment.completion_usd_per_million)


def spent(budget: Budget | None) -> dict[str, Any] | None:
    """The account as it stands (Budget.summary); None without one."""
    return None if budget is None else budget.summary()


def batch_client(run: Run, endpoint: Endpoint, *, account: str, budget: Budget | None) -> BatchChatClient:
    """A client that asks by the batch, at the prices of the budget as they are: recipes name those of batches."""
    work = BatchWork(
        api=BatchEndpoint(endpoint=endpoint),
        replies=Requests(run.workspace),
        batches=Batches(run.workspace),
        class_list=account,
        budget=budget,
        say=run.progress.say,
    )
    return BatchChatClient(work)


def batch_rows(workspace: Workspace, *, refresh: bool, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """A row for each intent, the oldest first; `refresh` asks the endpoints of open batches for their status."""
    states = list(batch_states(Batches(workspace)))
    if refresh:
        states = [asyncio.run(_refreshed(workspace, state, say)) for state in states]
    return [batch_row(state) for state in states]


def cancel_one(workspace: Workspace, intent: str, *, say: Callable[[str], None]) -> dict[str, Any]:
    """Cancel the batch of the intent whose id begins with `intent`, and store the replies it has; its row afterwards.

    Raises NotFoundError where not exactly one does.
    """
    matches = [state for state in batch_states(Batches(workspace)) if intent and state.intent.id.startswith(intent)]
    if len(matches) != 1:
        raise NotFoundError(
            f"`intent` must be the beginning of one intent's id; got `{intent}`, which begins {len(matches)}. "
            "List them with `evenly batches`."
        )
    return batch_row(asyncio.run(_cancelled(workspace, matches[0], say)))


def batch_row(state: BatchState) -> dict[str, Any]:
    """Facts about a batch: intent, class_list, model, batch, status, requests, completed, failed, intended_at.

    `class_list` is who asks, "captions NAME" for a captioner. `status` is collected or dropped at the end, else what
    the endpoint told last; `ended_as` what it was at the end.
    """
    last = state.events[-1] if state.ended else {}
    return {
        "intent": state.intent.id,
        "class_list": state.intent.class_list,
        "model": state.intent.model,
        "batch": state.batch_id,
        "status": state.status,
        "ended_as": last.get("status") or last.get("reason"),
        "requests": len(state.request_ids),
        "completed": last.get("replies", state.counts.get("completed")),
        "failed": len(last["missing"]) if "missing" in last else state.counts.get("failed"),
        "intended_at": state.intent.time,
    }


async def _refreshed(workspace: Workspace, state: BatchState, say: Callable[[str], None]) -> BatchState:
    if state.ended or state.batch_id is None:
        return state
    work = _work(workspace, state, say)
    async with work.api:
        try:
            return tell(work, state, await work.api.retrieve(state.batch_id))
        except EndpointError as error:
            say(f"batch {state.batch_id}: {error}")
            return state


async def _cancelled(workspace: Workspace, state: BatchState, say: Callable[[str], None]) -> BatchState:
    work = _work(workspace, state, say)
    async with work.api:
        return await cancel_batch(work, state)


def _work(workspace: Workspace, state: BatchState, say: Callable[[str], None]) -> BatchWork:
    intent = state.intent
    endpoint = Endpoint(base_url=intent.base_url, model=intent.model, identity=intent.endpoint)
    return BatchWork(
        api=BatchEndpoint(endpoint=endpoint),
        replies=Requests(workspace),
        batches=Batches(workspace),
        class_list=intent.class_list,
        prices=intent.prices,
        budget=Budget(None, intent.prices, SpendingJournal(workspace, intent.class_list)),
        say=say,
    )
