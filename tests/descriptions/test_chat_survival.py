"""Processes killed while they ask one by one: nothing stored is asked again, and the budget holds across them all."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from evenly.descriptions.chat.budget import Budget, most_usd
from evenly.descriptions.chat.client import ChatClient
from evenly.storage.chat.requests import Requests
from evenly.storage.chat.spending import SpendingJournal
from tests.chat_driver import PRICES, ask, make, question
from tests.faulty_server import Faults, content_of

DRIVER = Path(__file__).parents[1] / "chat_driver.py"
MOST = most_usd(question("a"), PRICES)
QUESTIONS = ("a", "b", "c", "d", "e", "f")
CONCURRENCY = 2  # of the driver's client


@pytest.fixture
def faults(server):
    server.answer = Faults()
    return server.answer


@contextmanager
def driver(server, workspace, *texts, point="never", limit_usd=1.0):
    command = [sys.executable, str(DRIVER), server.url, str(workspace.root), str(limit_usd), point, *texts]
    environment = os.environ | {"PYTHONPATH": str(DRIVER.parents[1])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def kill_at(server, workspace, point, *texts, **more):
    """Run the driver until it is at `point`, and kill it there; what it said instead where it never got so far."""
    with driver(server, workspace, *texts, point=point, **more) as process:
        said = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    return said.replace("here\n", "")


def stored(workspace):
    """What each stored reply was asked with, as the server counts it."""
    records = [json.loads(path.read_text())["request"] for path in Requests(workspace).folder.rglob("*.json")]
    asked = ({"messages": one["messages"], "seed": one["sampling"]["seed"] + one["sample"]} for one in records)
    return set(map(content_of, asked))


POINTS = ["before reserve", "after reserve", "before put", "after put", "before settle", "after settle"]
QUICK = ("after reserve", "after put")
"""Where money is set aside and nothing is stored, and where a reply is stored and not paid."""


@pytest.mark.parametrize(
    "point", [point if point in QUICK else pytest.param(point, marks=pytest.mark.slow) for point in POINTS]
)
def test_a_process_killed_at_any_point_asks_nothing_again_that_it_stored(server, faults, workspace, point):
    assert not kill_at(server, workspace, point, *QUESTIONS)
    kept, before = stored(workspace), faults.asked.copy()
    journal = SpendingJournal(workspace, "pets")
    assert faults.billed_usd <= journal.total()
    client = make(server.endpoint, workspace, 1.0)
    assert all(reply.text for reply in asyncio.run(ask(client, QUESTIONS)))
    assert not kept & set(faults.asked - before)
    assert client.counts.requests_sent == len(QUESTIONS) - len(kept)
    lost = journal.lost()
    assert sum(faults.asked.values()) - len(QUESTIONS) <= len(lost)
    assert all(usd == pytest.approx(MOST) for _, usd in lost)
    assert client.budget.summary()["lost_attempts"] == len(lost)
    assert client.budget.summary()["lost_usd"] == pytest.approx(MOST * len(lost))
    assert faults.billed_usd <= journal.total()
    assert all(reply.cached for reply in asyncio.run(ask(make(server.endpoint, workspace, 1.0), QUESTIONS)))


@pytest.mark.parametrize("point", ["after put", pytest.param("before settle", marks=pytest.mark.slow)])
def test_a_reply_that_was_stored_but_not_paid_is_paid_by_the_next_run_and_not_lost(server, faults, workspace, point):
    assert not kill_at(server, workspace, point, "a")
    assert len(stored(workspace)) == 1
    assert [usd for _, usd in SpendingJournal(workspace, "pets").lost()] == [pytest.approx(MOST)]
    (reply,) = asyncio.run(ask(make(server.endpoint, workspace, 1.0), "a"))
    assert reply.cached
    assert SpendingJournal(workspace, "pets").lost() == []
    assert SpendingJournal(workspace, "pets").total() == pytest.approx(faults.billed_usd)


def test_a_process_killed_while_it_waits_for_a_reply_leaves_an_attempt_that_counts_as_spent(server, faults, workspace):
    arrived = threading.Event()

    def answer(request, before):
        arrived.set()
        return replace(faults(request, before), delay_s=1.0)

    server.answer = answer
    with driver(server, workspace, "a") as process:
        assert arrived.wait(60)
        process.send_signal(signal.SIGKILL)
    server.answer = faults
    client = make(server.endpoint, workspace, 1.0)
    assert client.budget.summary()["lost_usd"] == pytest.approx(MOST)
    (reply,) = asyncio.run(ask(client, "a"))
    assert not reply.cached
    assert list(faults.asked.values()) == [2]
    assert client.budget.summary()["lost_attempts"] == 1
    assert client.budget.summary()["spent_usd"] == pytest.approx(MOST + client.counts.cost_usd)
    assert faults.billed_usd <= client.budget.summary()["spent_usd"]


@pytest.mark.slow
def test_however_often_it_is_killed_no_more_is_billed_than_the_budget(server, faults, workspace):
    limit, kills, said = 14.5 * MOST, 0, ""
    for point in itertools.cycle(("before put", "after reserve", "before settle")):
        said = kill_at(server, workspace, point, *"abcdefghijklmnopqrstuvwxyz", limit_usd=limit)
        assert faults.billed_usd <= SpendingJournal(workspace, "pets").total() <= limit
        if said:
            break
        kills += 1
    assert kills > 3
    assert len(stored(workspace)) < 26


def test_processes_side_by_side_keep_one_budget_and_ask_many_at_a_time(server, faults, workspace):
    server.answer = lambda request, before: replace(faults(request, before), delay_s=0.02)
    limit = 9.5 * MOST
    names = [[f"{process} {number}" for number in range(30)] for process in range(3)]
    with (
        driver(server, workspace, *names[0], limit_usd=limit) as one,
        driver(server, workspace, *names[1], limit_usd=limit) as two,
        driver(server, workspace, *names[2], limit_usd=limit) as three,
    ):
        said = [process.communicate(timeout=60)[0] for process in (one, two, three)]
    replies = sum(int(text.split()[0]) for text in said)
    journal = SpendingJournal(workspace, "pets")
    assert replies == faults.asked.total() == len(stored(workspace)) < 90
    assert journal.lost() == []
    assert faults.billed_usd == pytest.approx(journal.total())
    assert journal.total() <= limit < journal.total() + MOST


def test_a_hundred_at_a_time_never_pass_the_budget(server, faults, workspace):
    server.answer = lambda request, before: replace(faults(request, before), delay_s=0.05)
    client = make(server.endpoint, workspace, 20.5 * MOST, concurrency=100)
    outcomes = asyncio.run(ask(client, [f"What is {number}?" for number in range(200)]))
    received = sum(not isinstance(outcome, Exception) for outcome in outcomes)
    assert 20 < received == faults.asked.total() == len(stored(workspace)) < 200
    assert faults.billed_usd == pytest.approx(client.counts.cost_usd)
    assert client.counts.cost_usd <= 20.5 * MOST
    assert SpendingJournal(workspace, "pets").lost() == []


@pytest.mark.slow
def test_six_kills_book_as_lost_just_what_had_left(server, faults, workspace):
    at_endpoint = threading.Semaphore(0)

    def answer(request, before):
        at_endpoint.release()
        return replace(faults(request, before), delay_s=0.5)

    server.answer = answer
    for kills in range(1, 7):
        with driver(server, workspace, *"abcdefghijklmnopqrstuvwxyz") as process:
            for _ in range(CONCURRENCY):  # no more may leave now, though others wait for their turn
                assert at_endpoint.acquire(timeout=60)
            process.send_signal(signal.SIGKILL)
        assert len(SpendingJournal(workspace, "pets").lost()) == faults.asked.total() == CONCURRENCY * kills
    assert faults.billed_usd <= SpendingJournal(workspace, "pets").total()


@pytest.mark.slow
def test_kills_at_any_moment_book_at_least_what_had_left_and_hardly_more(server, faults, workspace):
    server.answer = lambda request, before: replace(faults(request, before), delay_s=0.02)
    questions = [f"What is {number}?" for number in range(400)]
    for kills in range(1, 21):
        asked = faults.asked.total()
        with driver(server, workspace, *questions) as process:
            while faults.asked.total() < asked + kills:
                assert process.poll() is None
            process.send_signal(signal.SIGKILL)
        unanswered = faults.asked.total() - len(stored(workspace))
        assert unanswered <= len(SpendingJournal(workspace, "pets").lost()) <= unanswered + CONCURRENCY * kills
        assert faults.billed_usd <= SpendingJournal(workspace, "pets").total()


def test_a_request_that_is_cancelled_before_it_leaves_books_nothing(server, faults, workspace):
    arrived = threading.Event()

    def answer(request, before):
        arrived.set()
        return replace(faults(request, before), delay_s=0.5)

    async def ask_and_cancel():
        async with make(server.endpoint, workspace, 1.0, concurrency=1) as client:
            asked = [asyncio.create_task(client.ask(question(text))) for text in QUESTIONS]
            assert await asyncio.to_thread(arrived.wait, 60)
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    server.answer = answer
    asyncio.run(ask_and_cancel())
    assert len(SpendingJournal(workspace, "pets").lost()) == faults.asked.total() == 1


def test_a_request_that_is_cancelled_while_money_is_set_aside_for_it_books_nothing(server, faults, workspace):
    writing = threading.Event()
    proceed = threading.Event()

    class SlowJournal(SpendingJournal):
        def reserve(self, entry_id, usd, *, limit_usd=None):
            fits = super().reserve(entry_id, usd, limit_usd=limit_usd)
            writing.set()
            assert proceed.wait(60)
            return fits

    async def ask_and_cancel():
        budget = Budget(1.0, PRICES, SlowJournal(workspace, "pets"))
        async with ChatClient(server.endpoint, store=Requests(workspace), budget=budget) as client:
            asked = asyncio.create_task(client.ask(question("a")))
            assert await asyncio.to_thread(writing.wait, 60)
            asked.cancel()
            await asyncio.sleep(0)
            proceed.set()
            await asyncio.gather(asked, return_exceptions=True)

    asyncio.run(ask_and_cancel())
    journal = SpendingJournal(workspace, "pets")
    assert (journal.lost(), journal.total(), faults.asked.total()) == ([], 0.0, 0)
