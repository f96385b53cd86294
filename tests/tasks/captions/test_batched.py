"""Captions by the batch: pictures go out in the lines of a file, and a batch is submitted once whatever happens."""

import json
import signal
import time

import pytest

from evenly.flows.cli import app
from evenly.storage.ledger import StepRecord
from evenly.tasks.chat.endpoints import batch_rows
from evenly.tasks.run import Run
from tests.batch_server import BatchServer, Ending, Fault, completion, serving
from tests.reported import report_errors
from tests.tasks.captions.test_chat_captioners import POOL, offered, recaption
from tests.tasks.captions.test_killed import drive, run_at
from tests.tasks.whole_rebuild import open_run, write_pool
from tests.vision_server import named_colour

pytestmark = pytest.mark.usefixtures("colour_words")
PRICES = {"prompt_usd_per_million": 1.0, "completion_usd_per_million": 2.0, "budget_usd": 1.0}


def picture_of(body: dict) -> str:
    """The data URL in a request."""
    return body["messages"][-1]["content"][0]["image_url"]["url"]


def caption_of(body: dict) -> dict:
    """A completion that names the colour of the picture in a request."""
    return completion(json.dumps({"caption": f"a {named_colour(picture_of(body))[0]} thing"}))


@pytest.fixture
def server():
    with serving() as server:
        server.answer = caption_of
        server.endings = [Ending(polls=0) for _ in range(9)]
        yield server


@pytest.fixture
def run(tmp_path) -> Run:
    return open_run(tmp_path / "w", POOL)


def captioned(run: Run, server: BatchServer, **fields: object) -> StepRecord:
    seen = {"name": "eyes", "kind": "seen", "base_url": server.url, "model": "eyes", "max_side": 128, "batch": True}
    return recaption(run, [seen | fields])


def test_all_pictures_go_out_in_one_batch_and_a_second_run_asks_nothing(run, server):
    record = captioned(run, server, **PRICES)
    requests = server.requests_of("batch_0")
    assert sorted(named_colour(picture_of(request["body"]))[1] for request in requests) == [(64, 48)] * 3 + [(128, 43)]
    rows = offered(run, record, "eyes")
    assert {row["caption"] for row in rows} == {"a red thing", "a green thing", "a blue thing"}
    assert {row["request_id"] for row in rows} == {request["custom_id"] for request in requests}
    assert record.notes["accounts"]["eyes"]["spent_usd"] == pytest.approx(4 * (10 * 1e-6 + 20 * 2e-6))
    for path in run.workspace.root.glob("ledger/**/recaption*"):
        path.rename(path.with_suffix(".gone"))
    calls = len(server.calls)
    assert captioned(run, server, **PRICES).output_hash == record.output_hash
    assert (len(server.batches), len(server.calls)) == (1, calls)


@pytest.mark.slow
def test_samples_that_are_added_are_a_batch_of_their_own(run, server):
    captioned(run, server)
    captioned(run, server, samples=2)
    assert [len(server.requests_of(batch)) for batch in server.batches] == [4, 4]
    assert set(server.ran.values()) == {1}


def test_the_batches_of_captioners_are_listed_beside_those_of_class_lists(run, server, capsys, monkeypatch):
    captioned(run, server)
    (row,) = batch_rows(run.workspace, refresh=False, say=print)
    assert (row["class_list"], row["batch"], row["status"], row["completed"]) == (
        "captions eyes",
        "batch_0",
        "collected",
        4,
    )
    monkeypatch.setattr("sys.argv", ["evenly", "batches", "--root", str(run.workspace.root)])
    assert report_errors(app) == 0
    shown = capsys.readouterr().out
    assert "asked by" in shown
    assert "captions eyes" in shown


def test_a_request_of_a_batch_that_fails_for_good_is_a_refused_candidate(run, server):
    failure = {"response": {"status_code": 400, "request_id": "r", "body": {"error": {"message": "no such picture"}}}}
    server.endings = [Ending(polls=0, failures={0: failure}), *server.endings]
    record = captioned(run, server)
    assert record.notes["offered"] == {"eyes": 3}
    assert record.notes["refused"] == {"eyes": {"http_400": 1}}


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["submitted", "answer lost"])
def test_a_batch_is_taken_up_after_a_kill_and_never_submitted_twice(tmp_path, server, moment):
    """Killed while it waits, or when the endpoint has made the batch and the answer is on its way."""
    write_pool(tmp_path / "w" / "pool", POOL)
    server.endings = [Ending(polls=1_000_000)]
    server.faults = [] if moment == "submitted" else [Fault(at="create", done=True, hang=True)]
    process = drive(tmp_path / "w", server.url, batch=True)
    deadline = time.monotonic() + 60
    while not ("retrieve" in server.calls if moment == "submitted" else server.reached.is_set()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    server.go_on.set()
    server.ends["batch_0"] = Ending(polls=0)
    (row,) = batch_rows(run_at(tmp_path / "w").workspace, refresh=False, say=print)
    assert (row["class_list"], row["requests"]) == ("captions seen", 4)
    process = drive(tmp_path / "w", server.url, batch=True)
    process.communicate(timeout=100)
    assert process.returncode == 0
    assert len(server.batches) == 1
    assert len(server.ran) == 4
    assert set(server.ran.values()) == {1}
