"""A rebuild that is ended at many moments, or whose scorer is: nothing stays behind, and the build is the same."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.interrupted import ROOT, signalled

SCORER = """
import os, time
BEGUN, PAUSE = os.environ.get("BEGUN"), float(os.environ.get("PAUSE", "0"))

def wait(name):
    if BEGUN:
        with open(BEGUN, "a") as file:
            file.write(f"{os.getpid()} {name}\\n")
    time.sleep(PAUSE)

wait("import")

def length(rows):
    wait("batch")
    return [len(caption) for caption in rows["caption"].to_pylist()]
"""
ROWS = 700  # three batches


@pytest.fixture
def recipe(tmp_path):
    """A recipe of captions that a scorer of one's own chooses among."""
    (tmp_path / "scorers").mkdir()
    (tmp_path / "scorers" / "mine.py").write_text(SCORER)
    lines = [json.dumps({"text": "word " * (n % 30 + 1) + str(n)}) for n in range(ROWS)]
    (tmp_path / "pool.jsonl").write_text("\n".join(lines))
    value = {"python": "scorers/mine.py:length", "reads": ["caption"], "keep_top": 0.5, "at": "texts"}
    source = {"kind": "jsonl", "path": "pool.jsonl", "caption": "text", "url": None}
    content = {"name": "captions", "seed": 1, "sources": [source], "curate": {"values": {"mine": value}}}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def arguments(recipe: Path, root: Path) -> list[str]:
    allowed = str(recipe.parent / "scorers")
    return ["rebuild", str(recipe), "--root", str(root), "--allow-code", allowed, "--json"]


def rebuilt(recipe: Path, root: Path) -> str:
    command = [sys.executable, "-m", "evenly.flows", *arguments(recipe, root)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["content_hash"]


def begun(path: Path) -> list[list[str]]:
    """The process and the name of each thing that scorers have begun."""
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


MOMENTS = {"imported before the first step": 1, "imported to score": 2, "the first batch": 3, "the last batch": 5}
ENDS = [
    ("command", signal.SIGKILL),
    ("command", signal.SIGTERM),
    ("group", signal.SIGINT),
    ("scorer", signal.SIGKILL),
    ("scorer", signal.SIGTERM),
]


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("who", "number"), ENDS)
def test_whoever_ends_in_the_midst_of_it_the_build_is_the_same_and_no_process_stays(
    recipe, tmp_path, moment, who, number
):
    root, note = tmp_path / "w", tmp_path / "begun"
    killed = list[int]()

    def is_there(_mark: str) -> bool:
        lines = begun(note)
        if len(lines) >= MOMENTS[moment] and who == "scorer" and not killed:
            killed.append(int(lines[MOMENTS[moment] - 1][0]))
            os.kill(killed[0], number)
        return len(lines) >= MOMENTS[moment] and who != "scorer"

    end = signalled(
        arguments(recipe, root),
        {"BEGUN": str(note), "PAUSE": "0.3"},
        folder=tmp_path,
        moment_s=0.05,
        number=number,
        group=who == "group",
        after=is_there,
    )
    assert end.left == ()
    scored = [pid for pid, name in begun(note) if name == "batch"]
    if who == "scorer" and moment != "imported before the first step":
        assert end.status == 0, end.err
        assert 3 <= len(scored) <= 4  # that in which it was killed is scored again
    else:
        assert end.status != 0
        assert len([line for line in end.err.splitlines() if line.startswith("evenly:")]) <= 1
        assert "Traceback" not in end.err
    expected = rebuilt(recipe, tmp_path / "whole")
    assert rebuilt(recipe, root) == expected
