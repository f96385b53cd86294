"""Loops that are compiled, and why they call those of their own file only: numba renews its copies by that file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evenly.curation import arrays
from evenly.curation.arrays import compiled, is_compiled_for

CALLED = "def called(x):\n    return x + {added}\n"
CALLER = "def caller(x):\n    return called(x)\n"
COMPILED = "from evenly.curation.arrays import compiled\n\n\n@compiled\n"


def test_a_loop_without_a_place_for_its_code_is_compiled_all_the_same():
    space: dict = {}
    exec("def twice(number):\n    return 2 * number\n", space)  # noqa: S102 - a function that no file holds
    assert compiled(space["twice"])(21) == 42


def test_a_long_stream_of_small_parts_is_compiled_once_it_would_have_paid(monkeypatch):
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    monkeypatch.setattr(arrays._Uncompiled, "work", 0.0)
    answers = [is_compiled_for(1_000, 10_000) for _ in range(40)]
    assert answers == [False] * 20 + [True] * 20
    monkeypatch.setattr(arrays._Uncompiled, "work", 0.0)
    assert is_compiled_for(10_000, 10_000)


@pytest.mark.slow
@pytest.mark.parametrize(("files", "renewed"), [(1, True), (2, False)])
def test_a_changed_callee_changes_the_result_of_its_compiled_caller_in_one_file_only(tmp_path, files, renewed):
    assert run(tmp_path, files, added=1) == 1
    assert run(tmp_path, files, added=100) == (100 if renewed else 1)


def run(folder: Path, files: int, *, added: int) -> int:
    """What the compiled caller returns of 0, in a process of its own, with the callee in its file or in another."""
    called = COMPILED + CALLED.format(added=added)
    if files == 1:
        (folder / "caller.py").write_text(f"{called}\n\n{COMPILED}{CALLER}")
    else:
        (folder / "called.py").write_text(called)
        (folder / "caller.py").write_text(f"from called import called\n{COMPILED}{CALLER}")
    if files == 2:
        os.utime(folder / "caller.py", ns=(10**18, 10**18))  # its text is as before
    done = subprocess.run(
        [sys.executable, "-c", "from caller import caller; print(caller(0))"],
        cwd=folder,
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)
