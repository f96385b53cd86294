import asyncio

import pytest

from evenly.descriptions.batch.collection import cancel_batch
from evenly.descriptions.batch.endpoint import BatchEndpoint
from evenly.descriptions.batch.intents import batch_states
from evenly.descriptions.batch.submission import BatchPace, BatchWork
from evenly.descriptions.chat.budget import Budget
from evenly.descriptions.chat.endpoint import Prices
from evenly.descriptions.chat.request import ChatRequest, Message
from evenly.descriptions.errors import BatchCancelledError, EndpointError
from evenly.storage.chat.requests import Batches, Requests
from tests.batch_server import Ending, Fault, batch_client, serving

FAST = BatchPace(first_s=0.01, longest_s=0.05, listed_after_s=0.0)
PRICES = Prices(prompt_usd=0.5, completion_usd=1.0)
COST = 25e-6


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def client(server, workspace, book):
    return batch_client(
        server.endpoint,
        Requests(workspace),
        Batches(workspace),
        budget=Budget(None, PRICES, book),
        quiet_s=0.02,
        pace=FAST,
        attempts=2,
    )


async def ask(client, *texts):
    async with client:
        requests = [ChatRequest(messages=(Message(role="user", content=text),)) for text in texts]
        return await asyncio.gather(*(client.ask(request) for request in requests), return_exceptions=True)


@pytest.fixture
def work(server, workspace, book):
    return BatchWork(
        api=BatchEndpoint(endpoint=server.endpoint, attempts=2),
        replies=Requests(workspace),
        batches=Batches(workspace),
        budget=Budget(None, PRICES, book),
        pace=FAST,
    )


async def cancel(work, **more):
    state = list(batch_states(work.batches))[-1]
    async with work.api:
        return await cancel_batch(work, state, **more)


async def started(server, client, *texts):
    """A batch that runs, and the task that waits for it."""
    task = asyncio.create_task(ask(client, *texts))
    while server.calls.count("retrieve") < 2:  # noqa: ASYNC110 - the server knows no event loop
        await asyncio.sleep(0.01)
    return task


def test_a_cancelled_batch_keeps_what_it_has_and_stops_whoever_waits_for_it(server, client, work, book):
    async def both():
        waiting = await started(server, client, "a", "b", "c")
        return await cancel(work), await waiting

    server.endings = [Ending(polls=1_000_000, done=1)]
    state, (first, second, third) = asyncio.run(both())
    assert state.ended
    assert state.events[-1]["status"] == "cancelled"
    assert first.text
    assert isinstance(second, BatchCancelledError)
    assert isinstance(third, BatchCancelledError)
    assert len(server.batches) == 1
    assert book.open == {}
    assert book.total() == pytest.approx(COST)


def test_after_a_cancelled_batch_a_new_run_asks_the_rest_alone(server, client, work):
    async def both():
        waiting = await started(server, client, "a", "b")
        await cancel(work)
        await waiting

    server.endings = [Ending(polls=1_000_000, done=1)]
    asyncio.run(both())
    replies = asyncio.run(ask(client, "a", "b"))
    assert all(reply.text for reply in replies)
    assert len(server.requests_of("batch_1")) == 1
    assert set(server.ran.values()) == {1}


def test_a_batch_that_was_never_submitted_is_dropped_with_its_money(server, client, work, book):
    server.faults = [Fault(at="upload", status=500)] * 2
    (outcome,) = asyncio.run(ask(client, "a"))
    assert isinstance(outcome, EndpointError)
    assert len(book.open) == 1
    state = asyncio.run(cancel(work))
    assert state.status == "dropped"
    assert (server.batches, book.open, book.total()) == ({}, {}, 0)


def test_a_batch_whose_making_was_never_heard_of_is_found_and_cancelled(server, client, work):
    server.faults = [
        Fault(at="create", status=500, done=True),
        Fault(at="list", status=500),
        Fault(at="list", status=500),
    ]
    (outcome,) = asyncio.run(ask(client, "a"))
    assert isinstance(outcome, EndpointError)
    state = asyncio.run(cancel(work))
    assert (state.batch_id, state.events[-1]["status"]) == ("batch_0", "cancelled")


def test_a_batch_that_has_ended_meanwhile_is_collected(server, client, work):
    server.faults = [Fault(at="content", status=500)] * 2
    (outcome,) = asyncio.run(ask(client, "a"))
    assert isinstance(outcome, EndpointError)
    server.faults = [Fault(at="cancel", status=409, error={"message": "completed already", "code": None})] * 2
    state = asyncio.run(cancel(work))
    assert state.events[-1]["status"] == "completed"
    assert asyncio.run(ask(client, "a"))[0].cached


def test_a_batch_that_the_endpoint_does_not_know_is_dropped(server, client, work):
    server.faults = [Fault(at="retrieve", status=500)] * 10
    asyncio.run(ask(client, "a"))
    server.batches.clear()
    state = asyncio.run(cancel(work))
    assert state.status == "dropped"
    assert asyncio.run(ask(client, "a"))[0].text


def test_an_endpoint_that_is_slow_to_cancel_leaves_it_open(server, client, work):
    server.faults = [Fault(at="retrieve", status=500)] * 10
    asyncio.run(ask(client, "a"))
    server.retrieve = lambda batch_id: server.batches[batch_id]
    state = asyncio.run(cancel(work, patience_s=0.05))
    assert not state.ended
    assert state.status == "cancelling"


def test_a_batch_that_has_ended_stays_as_it_is(server, client, work):
    asyncio.run(ask(client, "a"))
    before = list(server.calls)
    assert asyncio.run(cancel(work)).status == "collected"
    assert server.calls == before
