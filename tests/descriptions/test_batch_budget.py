"""Money spent by the batch: set aside before a batch is submitted, never beyond the limit, lost replies reported."""

import asyncio

import pytest

from evenly.descriptions.batch.intents import batch_states
from evenly.descriptions.batch.submission import BatchPace
from evenly.descriptions.chat.budget import Budget, most_usd
from evenly.descriptions.chat.endpoint import Prices
from evenly.descriptions.chat.request import ChatRequest, Message
from evenly.descriptions.errors import BudgetExceededError, EndpointError, RequestFailedError
from evenly.storage.chat.requests import Batches, Requests
from tests.batch_server import Ending, Fault, batch_client, completion, serving

FAST = BatchPace(first_s=0.01, longest_s=0.05, listed_after_s=0.0)
PRICES = Prices(prompt_usd=0.5, completion_usd=1.0)
COST = 25e-6


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def make(server, workspace, book):
    def client(limit_usd=None, **more):
        told = {"quiet_s": 0.05, "pace": FAST, "timeout_s": 5.0, "submissions": 2, **more}
        budget = Budget(limit_usd, PRICES, book)
        return batch_client(server.endpoint, Requests(workspace), Batches(workspace), budget=budget, **told)

    return client


def question(text):
    return ChatRequest(messages=(Message(role="user", content=text),))


def ask(client, *texts: str):
    async def all_of_them():
        async with client:
            return await asyncio.gather(*(client.ask(question(text)) for text in texts), return_exceptions=True)

    return asyncio.run(all_of_them())


def most(text="a"):
    return most_usd(question(text), PRICES)


def test_the_most_of_every_request_is_set_aside_before_the_upload(server, make, book):
    seen = []

    def upload(content, upload=server.upload):
        seen.append(dict(book.open))
        return upload(content)

    server.upload = upload
    ask(make(), "a", "b")
    assert list(seen[0].values()) == [pytest.approx(most())] * 2
    assert book.open == {}
    assert book.total() == pytest.approx(2 * COST)


def test_what_does_not_fit_is_not_submitted_and_what_fits_is_stored_before_that_is_said(server, make, book, workspace):
    limit = 2.5 * most()
    client = make(limit)
    first, second, third = ask(client, "a", "b", "c")
    assert first.text
    assert second.text
    assert isinstance(third, BudgetExceededError)
    assert len(server.requests_of("batch_0")) == 2
    assert book.total() == pytest.approx(2 * COST)
    assert Requests(workspace).get(first.request_id) is not None
    (state,) = batch_states(Batches(workspace))
    assert len(state.request_ids) == 2


def test_with_no_room_at_all_nothing_is_sent(server, make, book, workspace):
    outcomes = ask(make(0.5 * most()), "a", "b")
    assert all(isinstance(outcome, BudgetExceededError) for outcome in outcomes)
    assert server.calls == []
    assert book.total() == 0
    assert [state.status for state in batch_states(Batches(workspace))] == ["dropped"]
    assert all(reply.text for reply in ask(make(3 * most()), "a", "b"))


def test_the_budget_is_never_exceeded_however_often_it_is_tried(server, make, book):
    for _ in range(4):
        ask(make(2.5 * most()), *"abcdefgh")
        assert book.total() <= 2.5 * most()
    assert book.open == {}
    assert sum(server.ran.values()) * COST == pytest.approx(book.total())


def test_a_request_that_did_not_run_costs_nothing(server, make, book):
    server.endings = [Ending(failures={0: {"response": {"status_code": 400, "body": {}}}})]
    bad, good = ask(make(), "a", "b")
    assert isinstance(bad, RequestFailedError)
    assert good.text
    assert book.open == {}
    assert book.total() == pytest.approx(COST)


@pytest.mark.parametrize(
    "told",
    [
        {"response": {"status_code": 500, "body": {"error": {"message": "oops"}}}},
        {"response": {"status_code": 408, "body": {}}},
        {"response": None},
    ],
)
def test_a_request_that_failed_after_it_may_have_run_counts_as_spent(server, make, book, told):
    server.endings = [Ending(failures={0: told})]
    client = make()
    assert all(reply.text for reply in ask(client, "a", "b"))
    assert book.total() == pytest.approx(2 * COST + most())
    assert (client.counts.lost_attempts, client.counts.lost_usd) == (1, pytest.approx(most()))


def test_what_a_batch_never_got_to_costs_nothing(server, make, book):
    server.endings = [Ending(status="expired", done=1), Ending(status="failed"), Ending(status="failed")]
    ask(make(), "a", "b")
    assert book.open == {}
    assert book.total() == pytest.approx(COST)


def test_a_reply_that_was_lost_counts_as_spent_at_its_maximum_and_is_reported(server, make, book):
    server.endings = [Ending(edit=lambda lines: lines[0] + lines[1][:-30])]
    client = make()
    assert all(reply.text for reply in ask(client, "a", "b"))
    assert list(book.open.values()) == [pytest.approx(most())]
    assert book.total() == pytest.approx(2 * COST + most())
    assert client.counts.lost_attempts == 1
    assert client.counts.lost_usd == pytest.approx(most())


def test_a_reply_without_a_word_about_tokens_costs_its_maximum(server, make, book, workspace):
    server.answer = lambda _body: completion(usage=None)
    (reply,) = ask(make(), "a")
    assert book.total() == pytest.approx(most())
    assert Requests(workspace).get(reply.request_id)["cost_usd"] == pytest.approx(most())


@pytest.mark.parametrize("at", ["upload", "create"])
def test_what_the_endpoint_refuses_to_take_costs_nothing(server, make, book, at):
    server.faults = [Fault(at=at, status=403)]
    (outcome,) = ask(make(), "a")
    assert isinstance(outcome, EndpointError)
    assert book.total() == 0


def test_an_endpoint_that_fails_keeps_the_money_set_aside_until_the_batch_is_found_again(server, make, book):
    server.faults = [Fault(at="retrieve", status=500)] * 5
    (outcome,) = ask(make(attempts=1), "a")
    assert isinstance(outcome, EndpointError)
    assert book.total() == pytest.approx(most())
    assert ask(make(), "a")[0].text
    assert book.total() == pytest.approx(COST)
    assert len(server.batches) == 1
