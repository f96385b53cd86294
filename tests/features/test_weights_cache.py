import multiprocessing
import os
import signal
import time

import pytest

from evenly.features.embedded_weights import ensure_folder


def complete(folder):
    return (folder / "whole").is_file()


def build(folder):
    (folder / "part").write_text("1")
    (folder / "whole").write_text(str(os.getpid()))


def build_slowly(folder):
    (folder.parent / f"built-by-{os.getpid()}").touch()
    time.sleep(0.2)
    build(folder)


def never(folder):
    pytest.fail(f"builds {folder} again")


def hang(folder):
    (folder / "part").write_text("1")
    (folder.parent / "hanging").touch()
    time.sleep(60)


def start(folder, build):
    options = {"build": build, "complete": complete}
    process = multiprocessing.get_context("fork").Process(target=ensure_folder, args=(folder,), kwargs=options)
    process.start()
    return process


def test_a_folder_is_built_once(tmp_path):
    ensure_folder(tmp_path / "deep" / "model", build=build, complete=complete)
    ensure_folder(tmp_path / "deep" / "model", build=never, complete=complete)
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["model", "model.lock"]


def test_a_damaged_folder_is_built_anew(tmp_path):
    ensure_folder(tmp_path / "model", build=build, complete=complete)
    (tmp_path / "model" / "whole").unlink()
    (tmp_path / "model" / "stray").touch()
    ensure_folder(tmp_path / "model", build=build, complete=complete)
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["part", "whole"]


def test_a_failed_build_leaves_nothing(tmp_path):
    def fail(folder):
        (folder / "part").write_text("1")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        ensure_folder(tmp_path / "model", build=fail, complete=complete)
    assert [path.name for path in tmp_path.iterdir()] == ["model.lock"]


def test_of_several_builders_one_builds_and_the_others_wait(tmp_path):
    processes = [start(tmp_path / "model", build_slowly) for _ in range(4)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(list(tmp_path.glob("built-by-*"))) == 1


def test_after_a_kill_the_next_one_builds_and_clears_up(tmp_path):
    process = start(tmp_path / "model", hang)
    while not (tmp_path / "hanging").exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (tmp_path / "model").exists()
    assert list(tmp_path.glob("model.tmp-*"))
    ensure_folder(tmp_path / "model", build=build, complete=complete)
    assert complete(tmp_path / "model")
    assert not list(tmp_path.glob("model.tmp-*"))
