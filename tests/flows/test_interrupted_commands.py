"""Ctrl-C and kill -9 at moments spread over whole commands: how they end, what is left running, what a rerun makes."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from evenly.flows.process.interruption import INTERRUPTED
from tests.chat_server import tiny_server
from tests.interrupted import ROOT, End, signalled

pytestmark = [pytest.mark.slow, pytest.mark.embedded, pytest.mark.timeout(3600)]

MOMENTS = 20
LINE = f"evenly: {INTERRUPTED}"
CLASSES = ["person", "flag", "mammal", "polygon", "electronic device"]


@dataclass
class Trial:
    """A command on a workspace, what of its result may not change, and an environment in which it runs."""

    arguments: Callable[[Path], list[str]]
    content: Callable[[dict[str, Any]], object]
    environment: dict[str, str]
    prepare: Callable[[Path], object] = field(default=lambda root: root.mkdir())

    def finish(self, root: Path) -> tuple[object, float]:
        """Run it to its end: the content of its result, and seconds."""
        started = time.monotonic()
        command = [sys.executable, "-m", "evenly.flows", *self.arguments(root), "--json"]
        done = subprocess.run(
            command, env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900
        )
        assert done.returncode == 0, done.stderr
        return self.content(json.loads(done.stdout)), time.monotonic() - started


@pytest.fixture(scope="module")
def environment(small_web, tmp_path_factory) -> dict[str, str]:
    """A Prefect database of its own, without a server; the small web's addresses."""

    home = {"PREFECT_HOME": str(tmp_path_factory.mktemp("prefect"))}
    return (
        {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"} | small_web.environment | home
    )


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with tiny_server() as tiny:
        good = tiny.answer
        tiny.answer = lambda request, before: replace(good(request, before), delay_s=0.3)
        yield tiny


@pytest.fixture
def rebuild(small_web, environment) -> Trial:
    return Trial(
        lambda root: ["rebuild", str(small_web.recipe), "--root", str(root)],
        lambda facts: facts["content_hash"],
        environment,
    )


@pytest.fixture
def describe(server, environment, tmp_path) -> Trial:
    classes = tmp_path / "things.txt"
    classes.write_text("".join(f"thing {number}\n" for number in range(60)))
    endpoint = ["--method", "description", "--base-url", server.url, "--model", "tiny"]
    return Trial(
        lambda root: ["describe", str(classes), "--root", str(root), *endpoint],
        lambda facts: facts["descriptions"],
        environment,
    )


@pytest.fixture
def export(undisturbed, environment) -> Trial:
    return Trial(
        lambda root: ["export", "latest", "--out", str(root / "out"), "--root", str(undisturbed[0])],
        lambda facts: facts["content_hash"],
        environment,
    )


@pytest.fixture
def fit(small_web, undisturbed, environment, tmp_path) -> Trial:
    (tmp_path / "some.txt").write_text("\n".join(CLASSES) + "\n")
    recipe = yaml.safe_load(small_web.recipe.read_text())
    listing = {"list": "some.txt", "adapters": ["gda", "tip", "linear"]}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(recipe | {"classes": [listing]}))
    return Trial(
        lambda root: ["fit", str(tmp_path / "small.yaml"), "--root", str(root)],
        lambda facts: [row | {"saved": ""} for row in facts["adapters"]],
        environment,
        prepare=lambda root: shutil.copytree(undisturbed[0], root),
    )


@pytest.fixture(params=["rebuild", "describe", "fit", "export"])
def trial(request) -> Trial:
    return request.getfixturevalue(request.param)


def at_moments(trial: Trial, folder: Path, number: signal.Signals, *, group: bool) -> list[End]:
    """How the command ended at MOMENTS moments spread over its length, each while it was still at work.

    A workspace is interrupted up to four times and then finished: its content must be that of an undisturbed one.
    """
    trial.prepare(folder / "undisturbed")
    wanted, length_s = trial.finish(folder / "undisturbed")
    ends: list[End] = []
    root = None
    for place in itertools.count():
        if root is None:
            root = folder / f"root-{place}"
            trial.prepare(root)
        moment_s = 0.2 + (length_s - 0.7) * (place % MOMENTS) / (MOMENTS - 1)
        end = signalled(
            trial.arguments(root), trial.environment, folder=folder, moment_s=moment_s, number=number, group=group
        )
        if end.status == 0:  # it had finished steps to start from, or the machine is quicker by now
            length_s *= 0.95
        else:
            ends.append(end)
            print(end.row(), *end.left, flush=True)  # noqa: T201 - the table that `-s` shows
        if end.status == 0 or len(ends) % 4 == 0:
            assert trial.finish(root)[0] == wanted
            root = None
        if len(ends) == MOMENTS:
            return ends
    raise AssertionError("the moments do not end")


def test_ctrl_c_at_any_moment_ends_it_in_one_line_and_leaves_nothing(trial, tmp_path):
    ends = at_moments(trial, tmp_path, signal.SIGINT, group=True)
    assert {end.status for end in ends} == {130}
    assert all(end.seconds < 5 and not end.left and end.gone_s < 5 for end in ends)
    assert all(end.err.count("evenly:") == 1 and end.err.splitlines()[-1] == LINE for end in ends)
    assert not [end.err for end in ends if "Traceback" in end.err]


def test_kill_9_of_the_command_alone_at_any_moment_leaves_nothing_running(trial, tmp_path):
    ends = at_moments(trial, tmp_path, signal.SIGKILL, group=False)
    assert [end.left for end in ends if end.left] == []
