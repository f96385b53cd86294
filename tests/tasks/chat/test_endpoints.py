import asyncio
import os
from contextlib import nullcontext
from dataclasses import replace

import pytest

from evenly.descriptions.batch.intents import batch_states
from evenly.descriptions.chat.endpoint import Endpoint, EndpointRule
from evenly.descriptions.chat.request import ChatRequest, Message
from evenly.storage.chat.requests import Batches
from evenly.storage.errors import InputError, NotFoundError
from evenly.storage.files import identities
from evenly.tasks.chat import endpoints as module
from evenly.tasks.chat.endpoints import batch_client, batch_rows, cancel_one, open_endpoint
from evenly.tasks.progress import Progress
from evenly.tasks.run import Run
from tests.batch_server import Ending, serving

OWN = EndpointRule(base_url="embedded", model="m")


@pytest.fixture
def server():
    with serving() as server:
        server.endings = [Ending(polls=1_000_000, done=1)]
        yield server


@pytest.fixture
def left(server, workspace):
    """A batch that runs on after whoever asked has gone; the intent's id."""
    run = Run(workspace=workspace, seed=0, progress=Progress(quiet=True))
    client = batch_client(run, server.endpoint, account="pets", budget=None)

    async def ask_and_go():
        async with client:
            requests = [ChatRequest(messages=(Message(role="user", content=text),)) for text in "ab"]
            await asyncio.wait([asyncio.create_task(client.ask(one)) for one in requests], timeout=1.5)

    asyncio.run(ask_and_go())
    (state,) = batch_states(Batches(workspace))
    return state.intent.id


def test_the_list_shows_what_was_told_last_or_is_told_now(server, workspace, left):
    said = []
    (row,) = batch_rows(workspace, refresh=False, say=said.append)
    assert (row["intent"], row["class_list"], row["batch"]) == (left, "pets", "batch_0")
    assert (row["status"], row["requests"], row["ended_as"]) == ("in_progress", 2, None)
    server.batches["batch_0"]["status"] = "finalizing"
    (row,) = batch_rows(workspace, refresh=True, say=said.append)
    assert row["status"] == "finalizing"
    assert batch_rows(workspace, refresh=False, say=said.append) == [row]


def test_an_endpoint_that_does_not_answer_leaves_its_row_as_it_was(server, workspace, left):
    server.batches.clear()
    said = []
    (row,) = batch_rows(workspace, refresh=True, say=said.append)
    assert (row["intent"], row["status"]) == (left, "in_progress")
    assert "404" in said[0]


def test_a_batch_is_cancelled_by_the_beginning_of_its_intent(server, workspace, left):
    row = cancel_one(workspace, left[:8], say=lambda _line: None)
    assert (row["status"], row["ended_as"], row["completed"], row["failed"]) == ("collected", "cancelled", 1, 1)
    assert server.batches["batch_0"]["status"] == "cancelled"


@pytest.mark.usefixtures("left")
@pytest.mark.parametrize("intent", ["", "zz"])
def test_what_names_no_intent_is_not_cancelled(server, workspace, intent):
    with pytest.raises(NotFoundError, match="evenly batches"):
        cancel_one(workspace, intent, say=lambda _line: None)
    assert "cancel" not in server.calls


@pytest.fixture
def language_model(tmp_path, monkeypatch):
    """The file of a model of one sentence, which runs; a function that begins a new process."""
    file = tmp_path / "model.gguf"
    file.write_bytes(b"one")
    monkeypatch.setattr(identities, "_SETTLED_NS", 0)
    monkeypatch.setattr(module, "embedded_file", lambda: file)
    monkeypatch.setattr(module, "embedded_identity", lambda: f"embedded:{file.read_text()}")
    model = Endpoint(base_url="http://127.0.0.1", model="m", identity="")
    monkeypatch.setattr(
        module, "embedded_llm", lambda **_: nullcontext(replace(model, identity=module.embedded_identity()))
    )
    module.embedded_model.cache_clear()
    yield file, module.embedded_model.cache_clear
    module.embedded_model.cache_clear()


def test_another_language_model_of_the_same_size_and_time_is_noticed(language_model, monkeypatch):
    file, new_process = language_model
    assert module.embedded_model() == "embedded:one"
    stat = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with (
        pytest.raises(InputError, match="the embedded language model must be what its record says"),
        open_endpoint(OWN),
    ):
        pytest.fail("a model that was changed meanwhile was asked")
    new_process()
    assert module.embedded_model() == "embedded:two"
    monkeypatch.setattr(module, "embedded_identity", pytest.fail)
    new_process()
    assert module.embedded_model() == "embedded:two"


def test_a_language_model_that_changed_without_a_trace_stops_before_it_is_asked(language_model, monkeypatch):
    file, new_process = language_model
    stamps, stamp = {}, identities._stamp
    monkeypatch.setattr(identities, "_stamp", lambda path: stamps.setdefault(path, stamp(path)))
    assert module.embedded_model() == "embedded:one"
    file.write_bytes(b"two")
    new_process()
    assert module.embedded_model() == "embedded:one"
    with pytest.raises(InputError, match="Nothing was stored with it"), open_endpoint(OWN):
        pytest.fail("it was asked")
    new_process()
    with open_endpoint(OWN) as endpoint:
        assert endpoint.identity == module.embedded_model() == "embedded:two"
