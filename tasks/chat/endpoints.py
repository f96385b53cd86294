"""The chat endpoint that a rule names: opened, paid for, and asked; descriptions and captions use it alike."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from evenly.descriptions.chat.budget import Budget
from evenly.descriptions.chat.chat import Chat
from evenly.descriptions.chat.client import ChatClient
from evenly.descriptions.chat.embedded import embedded_identity, embedded_llm
from evenly.descriptions.chat.endpoint import Endpoint, Prices
from evenly.descriptions.chat.retries import RetryRule
from evenly.storage.chat.requests import Requests
from evenly.storage.chat.spending import SpendingJournal
from evenly.tasks.chat.batches import batch_client
from evenly.tasks.run import EndpointRule, Run
from evenly.tasks.server.limits import limits_of

CONCURRENCY = 4
TIMEOUT_S = 120.0


@contextmanager
def open_endpoint(rule: EndpointRule) -> Iterator[Endpoint]:
    """The endpoint that the rule names by base_url and model; the embedded one runs while it is open."""
    if rule.is_embedded:
        with embedded_llm(slots=CONCURRENCY) as endpoint:
            yield endpoint
    else:
        yield Endpoint(base_url=rule.base_url, model=rule.model)


def endpoint_identity(_run: Run, rule: EndpointRule) -> str:
    """The identity of the endpoint and its model, as a step's model."""
    identity = embedded_identity() if rule.is_embedded else rule.base_url
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
