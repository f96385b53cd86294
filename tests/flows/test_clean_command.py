"""`evenly doctor` and `evenly clean`: they free what no build needs, leave what is in use, and break no build."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from evenly.audit.verify import verify_build
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.steps import content_of, steps_of
from evenly.flows.runs import open_run
from evenly.storage.builds import Builds
from evenly.storage.errors import StoreError, WriterError
from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from evenly.storage.records import temporary_file
from evenly.storage.removal import clean
from evenly.storage.removal.leftovers import list_files
from evenly.storage.stores import writer_lock
from evenly.storage.stores.object_path import ObjectPath, path_at
from evenly.storage.stores.writer_lock import lock_holder
from evenly.storage.tables.exchange import exchange_folder, remove_exchange
from evenly.storage.workspace import CLEANING, Workspace, writing
from evenly.tasks.engine import InProcess
from evenly.tasks.rebuild.publish import publish_build
from evenly.tasks.run import exchange_of
from evenly.tasks.stage import run_steps
from tests.object_store_server import reaching, without_conditions

NOUNS = ("dog", "cat", "tree", "house", "car", "flower", "bird", "fish", "boat", "apple")
PLACES = ("in a green garden", "near the old harbour", "under a bridge", "on the kitchen table")
TABLES = ("ledger/", "steps/", "samples/", "builds/")
KEY = "sk-a-secret-of-the-tests"


@pytest.fixture
def recipe(tmp_path):
    """Write a recipe of captions that balances at `t`; its file."""
    captions = [f"a photograph of a {noun} {place}" for noun in NOUNS for place in PLACES]
    lines = [json.dumps({"id": str(number), "text": text}) for number, text in enumerate(captions)]
    (tmp_path / "pool.jsonl").write_text("\n".join(lines))
    (tmp_path / "concepts.txt").write_text("\n".join(NOUNS))

    def write(t: float = 3, name: str = "captions") -> Path:
        source = {"kind": "jsonl", "path": str(tmp_path / "pool.jsonl"), "caption": "text", "url": None, "id": "id"}
        curate = {
            "text": {"caption_length": {"min_words": 3}},
            "match": {"metadata": str(tmp_path / "concepts.txt")},
            "preselect": {"headroom": 2.0},
            "balance": {"t": t},
        }
        path = tmp_path / f"{name}-{t}.yaml"
        path.write_text(yaml.safe_dump({"name": name, "seed": 7, "sources": [source], "curate": curate}))
        return path

    return write


@pytest.fixture(params=["folder", pytest.param("store", marks=pytest.mark.slow)])
def root(request, tmp_path, monkeypatch) -> str:
    """Where a workspace is to lie: a folder, and an object store."""
    monkeypatch.setenv("EVENLY_CACHE", str(tmp_path / "cache"))
    return str(tmp_path / "w") if request.param == "folder" else f"{request.getfixturevalue('bucket')}/team/w"


def rebuild(path, root, bits=1):
    recipe = read_recipe(path)
    with writing(Workspace.at(root), recipe.name), open_run(recipe, root=root, quiet=True) as run:
        cut = replace(run, bits=bits)
        each = InProcess(run=cut)
        records = run_steps(cut, steps_of(recipe), each)
        return publish_build(
            cut, records, name=recipe.name, recipe=content_of(recipe), limit=None, max_change=1.0, engine=each
        )


def break_off(path, root):
    """A rebuild that ends when its sample table is written and its manifest is not."""
    with pytest.MonkeyPatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(Builds, "publish", _interrupted)
        rebuild(path, root)
        pytest.fail("it was published")


def _interrupted(*_):
    raise KeyboardInterrupt


def leave_behind(root):
    """What killed writers leave: a temporary file, rows on their way, a probe of a store."""
    workspace = Workspace.at(root)
    exchange = exchange_of(workspace)
    left = exchange / "collect-abc" / "00001" / "0001.arrow"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    if isinstance(workspace.root, ObjectPath):
        for lock in (workspace.locks / "other.json", workspace.features / "encoder" / ".codes-64.lance.lock"):
            lock.write_bytes(json.dumps(dead_writer()).encode())
    else:
        (workspace.steps / ".x.json.abcd_123.tmp").write_bytes(b"half")
        partial = workspace.exports / "b" / ".parquet.0123456789abcdef.partial"
        partial.mkdir(parents=True)
        (partial / "samples.parquet").write_bytes(b"half")
        os.utime(partial, (0, 0))


def dead_writer():
    """What the lock says of a process of this machine that has ended."""
    return writer_lock._this_process() | {"pid": 2**22 + 1, "started": "1"}


def facts(evenly, *arguments, status=0):
    actual, out, err = evenly(*arguments, "--json")
    assert actual == status, err
    return json.loads(out[re.search(r"^[\[{]", out, re.MULTILINE).start() :])


def names(root):
    return {file.name for file in list_files(path_at(root))}


def kinds(result):
    return {row["kind"] for row in result["freed"]}


def check_build(root, build):
    workspace = Workspace.at(root)
    assert verify_build(workspace, Builds(workspace).read(build)) == []


def test_what_no_build_needs_is_freed_and_builds_stay_as_they_are(evenly, recipe, root, tmp_path):
    first = rebuild(recipe(3), root)
    before = names(root)
    break_off(recipe(1), root)
    leave_behind(root)
    cluttered = names(root)

    shown = facts(evenly, "clean", "--root", root)
    assert kinds(shown) == {"exchange", "locks"} if "://" in root else {"exchange", "exports", "temporary files"}
    assert names(root) == cluttered
    assert facts(evenly, "clean", "--root", root, "--older-than", "0d")["done"] is False
    assert names(root) == cluttered

    facts(evenly, "doctor", "--root", root, status=1)
    young = facts(evenly, "clean", "--root", root, "--yes")
    assert (young["freed"], young["in_use"]) == (shown["freed"], [])
    assert not any("codes-64" in name for name in names(root))
    assert {name for name in names(root) if name.startswith(TABLES)} == {
        name for name in cluttered if name.startswith(TABLES) and not name.endswith(".tmp")
    }
    freed = facts(evenly, "clean", "--root", root, "--older-than", "0d", "--yes")
    assert kinds(freed) == {"step records", "part records", "ledger tables", "sample tables"}
    assert freed["bytes"] > 0
    left = {name for name in names(root) if not name.startswith("locks/")}
    assert left <= before | {name for name in left if name.endswith(".lock")}
    gone = before - left
    assert all("/_versions/" in name or "/_transactions/" in name for name in gone if not name.startswith("locks/"))
    check_build(root, first["build"])
    doctor = facts(evenly, "doctor", "--root", root, "--older-than", "0d")
    assert doctor["ok"] is True
    assert sum(row["idle_objects"] for row in doctor["kinds"]) == 0
    assert facts(evenly, "clean", "--root", root, "--older-than", "0d", "--yes")["freed"] == []

    assert rebuild(recipe(3), root)["build"] == first["build"]
    second = rebuild(recipe(1), root)
    assert second["content_hash"] == rebuild(recipe(1), tmp_path / "fresh", bits=0)["content_hash"]
    check_build(root, second["build"])
    check_build(root, first["build"])
    diff = facts(evenly, "diff", first["build"], second["build"], "--root", root)
    assert diff["kept_before"] > diff["kept_after"] > 0


def test_a_rebuild_that_was_broken_off_goes_on_after_a_clean_where_it_stopped(evenly, recipe, root):
    break_off(recipe(1), root)
    records = {file.name: file.changed for file in list_files(path_at(root) / "steps")}
    facts(evenly, "clean", "--root", root, "--yes")
    rebuild(recipe(1), root)
    after = {file.name: file.changed for file in list_files(path_at(root) / "steps")}
    assert after == records


def test_a_recipe_that_is_written_is_named_and_nothing_is_removed(evenly, recipe, root):
    break_off(recipe(1), root)
    with writing(Workspace.at(root), "captions"):
        before = names(root)
        status, _, err = evenly("clean", "--root", root, "--older-than", "0d", "--yes")
        assert status == 1
        assert "must not be cleaned while a command writes in it" in err
        assert err.count("\n") == 1
        assert names(root) >= before
    assert facts(evenly, "clean", "--root", root, "--older-than", "0d", "--yes")["bytes"] > 0


def test_nobody_begins_to_write_a_recipe_while_a_workspace_is_cleaned(recipe, root):
    rebuild(recipe(3), root)
    workspace = Workspace.at(root)
    with (
        lock_holder(workspace.locks / CLEANING, "clean"),
        pytest.raises(WriterError, match=r"must not be written while something is removed; process \d+ on"),
        writing(workspace, "never-seen"),
    ):
        pytest.fail("written while it was cleaned")
    with writing(workspace, "never-seen"):
        pass


def test_what_living_processes_hold_stays(evenly, tmp_path):
    workspace = Workspace.at(tmp_path)
    folder = exchange_folder(workspace.exchange, "collect")
    (folder / "x.arrow").write_bytes(b"rows")
    with temporary_file(workspace.steps / "a.json") as (temporary, _):
        assert facts(evenly, "clean", "--root", tmp_path, "--older-than", "0d", "--yes")["freed"] == []
        assert temporary.exists()
        assert (folder / "x.arrow").exists()
        assert facts(evenly, "doctor", "--root", tmp_path)["ok"] is True
    remove_exchange(folder)


def test_results_that_people_asked_for_stay_whatever_their_age(evenly, recipe, tmp_path):
    rebuild(recipe(3), tmp_path / "w")
    ledger = Ledger(Workspace.at(tmp_path / "w"))
    spec = StepSpec(name="describe", version=1, rule={}, inputs={"class list": "x"})
    output = StepOutput(tables={"descriptions": pa.table({"text": ["a paid reply"]})})
    key = ledger.commit(spec, output, uids=None, started=datetime.now(UTC)).key
    facts(evenly, "clean", "--root", tmp_path / "w", "--older-than", "0d", "--yes")
    assert ledger.table(ledger.get(key), "descriptions").num_rows == 1


@contextmanager
def stopping_at(number):
    """Removals end when so many files are gone."""
    left = [number]

    def unlink(path, *, missing_ok=False):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        original(path, missing_ok=missing_ok)

    original = type(Path()).unlink
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(Path()), "unlink", unlink)
        yield left


@pytest.mark.slow
def test_a_clean_that_is_broken_off_anywhere_leaves_a_workspace_that_verifies(recipe, tmp_path):
    first = rebuild(recipe(3), tmp_path / "w")
    break_off(recipe(1), tmp_path / "w")
    break_off(recipe(4), tmp_path / "w")
    expected = rebuild(recipe(1), tmp_path / "fresh")["content_hash"]
    removed = 0
    for number in range(0, 200, 3):
        root = tmp_path / f"copy-{number}"
        shutil.copytree(tmp_path / "w", root)
        workspace = Workspace.at(root)
        with stopping_at(number) as left, suppress(KeyboardInterrupt):
            clean.clean_workspace(workspace, workspace.exchange, clean.Wanted(older_than_s=0))
        check_build(root, first["build"])
        assert rebuild(recipe(1), root)["content_hash"] == expected
        assert verify_build(workspace, Builds(workspace).manifests()[-1]) == []
        shutil.rmtree(root)
        if left[0] > 0:
            removed = number
            break
    assert removed > 30


def test_a_record_that_cannot_be_read_is_named_and_nothing_is_removed(evenly, recipe, tmp_path):
    break_off(recipe(1), tmp_path / "w")
    record = next((tmp_path / "w" / "steps").glob("*.json"))
    record.write_text(record.read_text().replace("collect", "c0llect"))
    before = names(tmp_path / "w")
    status, _, err = evenly("clean", "--root", tmp_path / "w", "--older-than", "0d", "--yes")
    assert (status, record.name in err) == (1, True)
    assert {name for name in names(tmp_path / "w") if not name.startswith("locks/")} == {
        name for name in before if not name.startswith("locks/")
    }
    (finding,) = facts(evenly, "doctor", "--root", tmp_path / "w", status=1)["findings"]
    assert record.name in finding["what"]
    assert finding["remedy"].startswith("Restore it from a backup")


def test_a_build_that_lacks_a_table_is_a_finding(evenly, recipe, tmp_path):
    build = rebuild(recipe(3), tmp_path / "w")["build"]
    assert facts(evenly, "doctor", "--root", tmp_path / "w")["findings"] == []
    table = next((tmp_path / "w" / "ledger" / "balance").glob("decisions-*"))
    table.unlink()
    (finding,) = facts(evenly, "doctor", "--root", tmp_path / "w", status=1)["findings"]
    assert (finding["where"], finding["what"]) == (
        f"build {build}",
        f"table `{table.name}` of step `balance` is gone",
    )


def test_doctor_says_what_the_machine_has_and_never_a_key(evenly, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    status, out, err = evenly("doctor", "--root", tmp_path / "none")
    assert status == 0
    assert KEY not in out + err
    machine = facts(evenly, "doctor", "--root", tmp_path / "none")["machine"]
    assert machine["OPENAI_API_KEY"] == "set"
    assert machine["packages"]["prefect"]
    assert not (tmp_path / "none").exists()


def test_a_store_that_writes_over_what_exists_is_a_finding(evenly, bucket, s3_server):
    with without_conditions(s3_server) as address, reaching(address):
        (finding,) = facts(evenly, "doctor", "--root", f"{bucket}/w", status=1)["findings"]
    assert "must refuse to create an object that exists" in finding["what"]
    assert facts(evenly, "doctor", "--root", f"{bucket}/w")["ok"] is True
    assert list(path_at(bucket).objects()) == []


@pytest.mark.parametrize("age", ["7", "d", "-1d", "1w", "1.5h", ""])
def test_an_age_that_is_none_is_refused(evenly, tmp_path, age):
    status, _, err = evenly("clean", "--root", tmp_path, f"--older-than={age}")
    assert (status, "`--older-than` must be a number and d, h or m" in err) == (2, True)


KILLED = """
import os, signal, sys
from pathlib import PosixPath
from evenly.storage.stores.object_path import ObjectPath
left = int(sys.argv.pop(1))
def counted(unlink):
    def counting(path, missing_ok=False):
        global left
        left -= not path.name.startswith(".")
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return unlink(path, missing_ok)
    return counting
PosixPath.unlink, ObjectPath.unlink = counted(PosixPath.unlink), counted(ObjectPath.unlink)
from evenly.flows.__main__ import main
main()
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_clean_that_is_killed_is_finished_by_the_next_and_breaks_no_build(recipe, root, tmp_path):
    first = rebuild(recipe(3), root)
    break_off(recipe(1), root)
    kills = 0
    for number in (0, 5, 12):
        command = [sys.executable, "-c", KILLED, str(number), "clean", "--root", root, "--older-than", "0d", "--yes"]
        kills += subprocess.run(command, capture_output=True, check=False).returncode == -signal.SIGKILL
        check_build(root, first["build"])
    assert kills == 3
    workspace = Workspace.at(root)
    clean.clean_workspace(workspace, exchange_of(workspace), clean.Wanted(older_than_s=0))
    contents = clean.look_through(workspace, exchange_of(workspace), clean.Wanted(older_than_s=0))
    assert contents.leftovers == []
    check_build(root, first["build"])
    expected = rebuild(recipe(1), tmp_path / "fresh")["content_hash"]
    assert rebuild(recipe(1), root)["content_hash"] == expected


def test_a_workspace_that_does_not_answer_is_a_finding(evenly, tmp_path, monkeypatch):
    def refused(*_arguments: object) -> list:
        raise StoreError("store `s3://nowhere` must answer; it does not. Check the network.")

    monkeypatch.setattr("evenly.flows.cli.audit.doctor.stored_in", refused)
    status, out, err = evenly("doctor", "--root", tmp_path, "--json")
    finding = json.loads(out)["findings"][0]
    assert (status, err) == (1, "")
    assert finding["what"] == "store `s3://nowhere` must answer; it does not"
