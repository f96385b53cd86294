from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from evenly.storage.artifacts.kinds import LeaderboardRuns
from evenly.storage.builds import Builds
from evenly.storage.chat.requests import Batches, Requests
from evenly.storage.errors import DamagedError, NotFoundError
from evenly.storage.records import create_record, read_record, replace_json, replace_record, replacing

MANIFEST = {"created": "2026-01-01", "recipe_name": "birds", "samples": {"rows": 3, "kept": 2}, "limit": None}


def test_of_many_writers_exactly_one_creates_a_record(stored_workspace):
    path = stored_workspace.steps / "record.json"
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda number: create_record(path, {"number": number}), range(32)))
    assert sum(won) == 1
    assert read_record(path) == {"number": won.index(True)}


def test_a_record_is_replaced_whole_and_its_damage_is_seen(stored_workspace):
    path = stored_workspace.builds / "alias.json"
    with pytest.raises(NotFoundError, match=f"record `{path}` must exist"):
        read_record(path)
    replace_record(path, {"build": "a"})
    replace_record(path, {"build": "b"})
    assert read_record(path) == {"build": "b"}
    path.write_bytes(path.read_bytes().replace(b'"b"', b'"c"'))
    with pytest.raises(DamagedError, match="must be as it was written"):
        read_record(path)
    replace_json(path.with_name("plain.json"), [1])
    assert path.with_name("plain.json").read_text() == "[\n 1\n]"


def test_a_writer_that_fails_leaves_no_object(stored_workspace):
    def fail() -> None:
        with replacing(stored_workspace.ledger / "table.arrow") as stream:
            stream.write(b"half")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert list(stored_workspace.root.objects()) == []


def test_builds_and_aliases_are_the_same_in_a_store(stored_workspace):
    builds = Builds(stored_workspace)
    assert builds.names() == []
    assert builds.publish({"build": "birds-1", **MANIFEST})
    assert not builds.publish({"build": "birds-1", **MANIFEST, "limit": 7})
    assert builds.publish({"build": "birds-2", **MANIFEST, "created": "2026-01-02"})
    builds.promote("birds-1", recipe="birds")
    assert builds.names() == ["birds-1", "birds-2"]
    assert {builds.read(name)["build"] for name in ("latest", "birds", "birds-latest", "birds-1")} == {"birds-1"}
    builds.promote("birds-2", recipe="birds")
    assert builds.read("latest")["build"] == "birds-2"
    assert [row["latest"] for row in builds.rows()] == [False, True]
    with pytest.raises(NotFoundError, match="more than one build matches `birds-`"):
        builds.read("birds-")


def test_replies_batches_and_runs_are_the_same_in_a_store(stored_workspace):
    requests = Requests(stored_workspace)
    assert requests.get("ab12") is None
    requests.put("ab12", {"reply": "犬"})
    requests.put("ab12", {"reply": "another"})
    assert requests.get("ab12") == {"reply": "犬"}
    batches = Batches(stored_workspace)
    assert batches.create("c0ffee", {"time": "1", "id": "c0ffee"}, {"r": {"a": 1}})
    assert not batches.create("c0ffee", {"time": "2", "id": "c0ffee"}, {})
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: batches.append("c0ffee", {"number": number}), range(8)))
    [(intent, events)] = batches.records()
    assert (intent["time"], sorted(event["number"] for event in events)) == ("1", list(range(8)))
    assert batches.requests("c0ffee") == {"r": {"a": 1}}
    runs = LeaderboardRuns(stored_workspace.leaderboards, {"k": 1})
    row = {"name": "gda", "texts": "names", "shots": 1, "seed": 0}
    runs.add(row, correct=np.array([True, False]))
    assert [stored for stored, _ in runs.all()] == [row]
