"""When requests arrive at a server that asks for a pause, fails together, or is given up."""

import asyncio
import gc
import threading
import time

import pytest

from evenly.descriptions.chat.client import ChatClient
from evenly.descriptions.chat.pacing import Pacing
from evenly.descriptions.chat.request import ChatRequest, Message
from evenly.descriptions.errors import EndpointError
from tests.chat_server import TinyServer


def question(text):
    return ChatRequest(messages=(Message(role="user", content=text),))


def ask(client, *texts):
    async def all_of_them():
        async with client:
            return await asyncio.gather(*(client.ask(question(text)) for text in texts), return_exceptions=True)

    return asyncio.run(all_of_them())


@pytest.fixture
def arrivals(server):
    """Seconds at which requests arrived; the first is answered 429 with a pause of a second."""
    found: list[float] = []
    lock = threading.Lock()

    def answer(_request, _before):
        with lock:
            found.append(time.monotonic())
            number = len(found)
        return TinyServer.failure(429, retry_after="1") if number == 1 else server.good()

    server.answer = answer
    return found


def test_no_request_arrives_before_the_pause_that_one_was_asked_for_is_over(client, arrivals):
    client.concurrency = 1
    assert all(reply.text for reply in ask(client, *"abcdef"))
    first, *others = arrivals
    assert len(others) == 6
    assert min(others) - first >= 1.0
    assert client.counts.lost_attempts == 0


def test_a_date_says_when_to_come_again_as_well(server, client):
    import email.utils

    times = []

    def answer(_request, before):
        times.append(time.time())
        date = email.utils.formatdate(times[0] + 2, usegmt=True)
        return server.good() if before else server.failure(429, retry_after=date)

    server.answer = answer
    assert ask(client, "a")[0].text
    assert times[1] - times[0] >= 1.0  # the date has whole seconds


def test_requests_that_failed_together_come_back_apart(server, replies):
    times = []
    lock = threading.Lock()

    def answer(_request, before):
        with lock:
            times.append((before, time.monotonic()))
        return server.good() if before else server.failure(503)

    server.answer = answer
    ask(ChatClient(server.endpoint, store=replies, concurrency=16), *map(str, range(16)))
    again = sorted(moment for before, moment in times if before)
    assert len(again) == 16
    assert again[-1] - again[0] > 0.08


def test_after_a_refused_key_no_more_requests_leave(server, client):
    server.answer = lambda _request, _before: server.failure(401)
    outcomes = ask(client, *map(str, range(40)))
    assert all(isinstance(outcome, EndpointError) for outcome in outcomes)
    assert len(server.requests) <= client.concurrency


def test_an_asker_that_is_cancelled_leaves_an_attempt_that_counts_as_lost_and_the_rest_goes_on(server, replies):
    arrived = threading.Event()

    def answer(request, _before):
        if request["messages"][0]["content"] == "slow":
            arrived.set()
            return type(server.good())(body=server.good().body, delay_s=0.5)
        return server.good()

    server.answer = answer
    client = ChatClient(server.endpoint, store=replies)

    async def cancelled():
        async with client:
            slow = asyncio.create_task(client.ask(question("slow")))
            while not arrived.is_set():  # noqa: ASYNC110 - the server knows no event loop
                await asyncio.sleep(0.01)
            slow.cancel()
            await asyncio.wait([slow])
            return await client.ask(question("quick"))

    assert asyncio.run(cancelled()).text
    assert client.counts.lost_attempts == 1
    assert client.counts.attempts == 2


def test_work_that_fails_after_its_waiter_was_cancelled_leaves_no_traceback(caplog):
    pacing, begun, may_end = Pacing(concurrency=1), threading.Event(), threading.Event()

    def work():
        begun.set()
        may_end.wait()
        raise OSError("the store is away")

    async def cancelled_meanwhile():
        waiter = asyncio.create_task(pacing.in_thread(work))
        await asyncio.to_thread(begun.wait)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        may_end.set()
        await asyncio.to_thread(pacing.close)
        await asyncio.sleep(0)

    asyncio.run(cancelled_meanwhile())
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]
