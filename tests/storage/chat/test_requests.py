import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from evenly.storage.chat.requests import Batches
from evenly.storage.workspace import Workspace


@pytest.fixture
def batches(workspace):
    return Batches(workspace)


def record(intent_id, time="1"):
    return {"id": intent_id, "time": time}


def test_an_intent_is_kept_once(batches):
    assert batches.create("aa", record("aa"), {"r": {"x": 1}})
    assert not batches.create("aa", record("aa", "2"), {"r": {"x": 2}})
    assert batches.records() == [(record("aa"), [])]
    assert batches.requests("aa") == {"r": {"x": 1}}


def test_intents_come_the_oldest_first_with_their_events_in_order(batches):
    for intent_id, time in (("bb", "2"), ("aa", "3"), ("cc", "1")):
        batches.create(intent_id, record(intent_id, time), {})
    for number in range(12):
        batches.append("aa", {"number": number})
    assert [found["id"] for found, _ in batches.records()] == ["cc", "bb", "aa"]
    assert [event["number"] for event in batches.records()[2][1]] == list(range(12))


def test_requests_without_an_intent_count_for_nothing(batches):
    (batches.folder / "aa").mkdir(parents=True)
    (batches.folder / "aa" / "requests.json").write_text("{}")
    assert batches.records() == []
    assert batches.create("aa", record("aa"), {})


def test_events_of_many_at_one_time_are_all_kept(batches):
    batches.create("aa", record("aa"), {})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: batches.append("aa", {"number": number}), range(40)))
    assert sorted(event["number"] for event in batches.records()[0][1]) == list(range(40))


def test_one_at_a_time_holds_the_lock(batches, workspace):
    with batches.try_lock() as first, Batches(workspace).try_lock() as second:
        assert (first, second) == (True, False)
    with batches.try_lock() as again:
        assert again


def test_the_lock_of_a_killed_process_is_free(batches, workspace):
    script = (
        "import sys, time; from evenly.storage.chat.requests import Batches\n"
        "from evenly.storage.workspace import Workspace\n"
        "with Batches(Workspace.at(sys.argv[1])).try_lock() as mine:\n print(mine, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(workspace.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "True\n"
        with batches.try_lock() as mine:
            assert not mine
        process.kill()
        process.wait()
    with batches.try_lock() as mine:
        assert mine


def test_an_id_that_is_no_name_is_refused(batches):
    with pytest.raises(ValueError, match="intent_id"):
        batches.create("../x", record("x"), {})


def test_an_empty_workspace_has_no_batches(tmp_path):
    assert Batches(Workspace.at(tmp_path)).records() == []
    assert list(tmp_path.iterdir()) == []
