"""Processes killed at every point between intent and collection: no second batch, no second answer, no lost money."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from evenly.descriptions.batch.intents import batch_states
from evenly.descriptions.batch.submission import BatchPace
from evenly.descriptions.chat.budget import Budget, most_usd
from evenly.descriptions.chat.endpoint import Prices
from evenly.descriptions.chat.request import ChatRequest, Message
from evenly.descriptions.errors import BudgetExceededError
from evenly.storage.chat.requests import Batches, Requests
from evenly.storage.chat.spending import SpendingJournal
from tests.batch_server import Ending, Fault, batch_client, serving

DRIVER = Path(__file__).with_name("batch_driver.py")
FAST = BatchPace(first_s=0.01, longest_s=0.05, listed_after_s=0.0)
PRICES = Prices(prompt_usd=0.5, completion_usd=1.0)
COST = 25e-6


@pytest.fixture
def server():
    with serving() as server:
        yield server


@contextmanager
def driver(server, workspace, *texts, point="never"):
    command = [sys.executable, str(DRIVER), server.url, str(workspace.root), point, *texts]
    environment = os.environ | {"PYTHONPATH": str(DRIVER.parents[2])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def kill_at(server, workspace, point, *texts):
    """Run the driver until it is at `point`, or `point`, a Fault, has been reached at the server; then kill it."""
    if isinstance(point, Fault):
        server.faults = [point]
    with driver(server, workspace, *texts, point=point if isinstance(point, str) else "never") as process:
        if isinstance(point, Fault):
            assert server.reached.wait(20)
        else:
            assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    server.go_on.set()


def resume(server, workspace, *texts, limit_usd=1.0):
    client = batch_client(
        server.endpoint,
        Requests(workspace),
        Batches(workspace),
        class_list="pets",
        quiet_s=0.05,
        pace=FAST,
        timeout_s=5.0,
        budget=Budget(limit_usd, PRICES, SpendingJournal(workspace, "pets")),
    )

    async def all_of_them():
        async with client:
            requests = [ChatRequest(messages=(Message(role="user", content=text),)) for text in texts]
            return await asyncio.gather(*(client.ask(request) for request in requests))

    return asyncio.run(all_of_them()), client


POINTS = [
    "before intent",
    "after intent",
    "before uploaded",
    "after uploaded",
    "before created",
    "after created",
    "after polled",
    "after put",
    "before collected",
    "after collected",
    Fault(at="upload", hang=True),
    Fault(at="create", hang=True, done=True),
    Fault(at="content", hang=True),
]
QUICK = ("after intent", "after uploaded", "after put", POINTS[-2])
"""One of each state: an intent alone, a file without a batch, answers stored in part, a batch nobody heard of."""


@pytest.mark.parametrize(
    "point",
    [point if point in QUICK else pytest.param(point, marks=pytest.mark.slow) for point in POINTS],
    ids=lambda point: point if isinstance(point, str) else f"during {point.at}",
)
def test_a_process_killed_at_any_point_leaves_one_batch_per_intent_and_one_answer_per_request(server, workspace, point):
    kill_at(server, workspace, point, "a", "b", "c")
    replies, client = resume(server, workspace, "a", "b", "c")
    assert all(reply.text for reply in replies)
    assert set(server.made.values()) == {1}
    assert len(server.batches) == 1
    assert set(server.ran.values()) == {1}
    assert len(server.ran) == 3
    journal = SpendingJournal(workspace, "pets")
    assert journal.lost() == []
    assert journal.total() == pytest.approx(3 * COST)
    assert [state.status for state in batch_states(Batches(workspace))] == ["collected"]
    assert client.counts.attempts == client.counts.requests_sent
    again, client = resume(server, workspace, "a", "b", "c")
    assert all(reply.cached for reply in again)
    assert len(server.batches) == 1


def test_what_nobody_asks_for_any_more_is_not_submitted_after_a_crash(server, workspace):
    kill_at(server, workspace, "after intent", "a", "b", "c")
    resume(server, workspace, "b", "d")
    sent = [[one["body"]["messages"][0]["content"] for one in server.requests_of(batch)] for batch in server.batches]
    assert sent == [["b"], ["d"]]
    assert SpendingJournal(workspace, "pets").lost() == []
    resume(server, workspace, "a", "b", "c", "d")
    assert set(server.ran.values()) == {1}
    assert len(server.ran) == 4


def test_what_runs_already_is_kept_even_if_nobody_asks_for_it_any_more(server, workspace):
    kill_at(server, workspace, "after created", "a", "b", "c")
    (reply,), _ = resume(server, workspace, "b")
    assert reply.text
    replies, _ = resume(server, workspace, "a", "c")
    assert all(reply.cached for reply in replies)
    assert len(server.batches) == 1


@pytest.mark.slow
def test_a_second_crash_while_taking_up_is_survived_too(server, workspace):
    server.endings = [Ending(polls=50)]
    kill_at(server, workspace, "after intent", "a", "b")
    kill_at(server, workspace, "before created", "a", "b")
    kill_at(server, workspace, "after polled", "a", "b")
    replies, _ = resume(server, workspace, "a", "b")
    assert all(reply.text for reply in replies)
    assert list(server.made.values()) == [1]
    assert set(server.ran.values()) == {1}


@pytest.mark.parametrize(
    "point",
    [
        "after intent",
        "after put",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("before uploaded", "before created", "after polled")),
    ],
)
def test_what_a_killed_process_set_aside_is_not_set_aside_twice_and_the_budget_holds(server, workspace, point):
    kill_at(server, workspace, point, "a", "b", "c")
    limit = 3.5 * most_usd(ChatRequest(messages=(Message(role="user", content="a"),)), PRICES)
    assert SpendingJournal(workspace, "pets").total() <= limit
    replies, client = resume(server, workspace, *"abc", limit_usd=limit)
    assert all(reply.text for reply in replies)
    assert sum(server.ran.values()) * COST == pytest.approx(SpendingJournal(workspace, "pets").total())
    with pytest.raises(BudgetExceededError):
        resume(server, workspace, *"defghijklmn", limit_usd=3.5 * COST)
    assert sum(server.ran.values()) * COST <= 3.5 * COST
    assert client.counts.lost_attempts == 0


def test_two_processes_at_one_time_share_one_batch(server, workspace):
    with driver(server, workspace, "a", "b") as one, driver(server, workspace, "b", "a") as other:
        said = [process.communicate(timeout=40)[0] for process in (one, other)]
    assert said == ["2 replies\n", "2 replies\n"]
    assert list(server.made.values()) == [1]
    assert set(server.ran.values()) == {1}
    assert SpendingJournal(workspace, "pets").total() == pytest.approx(2 * COST)


def test_ctrl_c_leaves_the_batch_running_and_says_how_to_go_on(server, workspace):
    server.endings = [Ending(polls=1_000_000)]
    with driver(server, workspace, "a") as process:
        while "retrieve" not in server.calls:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    (state,) = batch_states(Batches(workspace))
    assert server.batches["batch_0"]["status"] == "in_progress"
    assert f"evenly batches cancel {state.intent.id[:12]}" in said
    assert "Run the same command again" in said
    assert process.returncode != 0
