"""What killed writers leave is removed, and nothing of a writer that lives."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from evenly.storage.records import create_record, replace_record, sweep, temporary_file

ROOT = Path(__file__).resolve().parents[2]
WRITER = """
import sys, time
from pathlib import Path
from evenly.storage.records import temporary_file

with temporary_file(Path(sys.argv[1])) as (temporary, stream):
    stream.write(b"half")
    stream.flush()
    print(temporary.name, flush=True)
    time.sleep(60)
"""


def left(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".tmp")


def writer(path):
    """A process that is in the middle of writing, and the name of its temporary file."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )
    return process, process.stdout.readline().strip()


def write_many(folder, name):
    for number in range(50):
        assert create_record(folder / f"{name}-{number}.json", {"number": number})
        sweep(folder)
        replace_record(folder / f"alias-{name}.json", {"number": number})
    return name


def test_the_next_writer_in_a_folder_removes_what_a_killed_one_left_and_keeps_what_another_writes(tmp_path):
    killed, _ = writer(tmp_path / "a.json")
    living, held = writer(tmp_path / "a.json")
    with killed, living:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert len(left(tmp_path)) == 2
        assert create_record(tmp_path / "b.json", {})
        assert left(tmp_path) == [held]
        living.kill()


def test_nothing_else_is_removed(tmp_path):
    names = [".notes.tmp", "a.json.abcdefgh.tmp", ".a.json.abcdefgh.tmp.bak", ".lock"]
    for name in names:
        (tmp_path / name).write_text("x")
    (tmp_path / "elsewhere").write_text("x")
    (tmp_path / ".link.json.abcdefgh.tmp").symlink_to(tmp_path / "elsewhere")
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*names, "elsewhere", ".link.json.abcdefgh.tmp"}


def test_writers_side_by_side_that_sweep_all_the_time_lose_nothing(tmp_path):
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(write_many, [tmp_path] * 4, "abcd")) == list("abcd")
    assert len(list(tmp_path.glob("[abcd]-*.json"))) == 200
    assert len(list(tmp_path.glob("alias-?.json"))) == 4
    assert left(tmp_path) == []


def test_a_file_that_is_swept_before_its_writer_holds_it_is_made_again(tmp_path, monkeypatch):
    import tempfile

    make, made = tempfile.mkstemp, []

    def make_and_lose(**options):
        descriptor, name = make(**options)
        made.append(name)
        if len(made) == 1:
            sweep(tmp_path)
        return descriptor, name

    monkeypatch.setattr(tempfile, "mkstemp", make_and_lose)
    with temporary_file(tmp_path / "a.json") as (temporary, _):
        assert temporary.exists()
    assert len(made) == 2
