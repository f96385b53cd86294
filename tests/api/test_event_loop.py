"""Calls from a notebook's cell, where an event loop runs in the same thread."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import evenly
from evenly.descriptions.chat.event_loop import run_to_end
from evenly.flows.process.environment import command_settings
from evenly.flows.recipe.problems import RecipeError
from tests.api.conftest import write_pool, write_recipe
from tests.chat_server import tiny_server

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_rebuilds_and_descriptions_run_where_a_loop_runs_and_leave_no_process(tmp_path):
    write_pool(tmp_path)
    command = [sys.executable, "-m", "tests.api.loop_driver", str(write_recipe(tmp_path)), str(tmp_path / "w")]
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    with tiny_server() as server:
        done = subprocess.run(
            [*command, server.url], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=280
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["children"] == []
    assert found["build"] == found["again"] == evenly.open(tmp_path / "w").builds["latest"].id
    assert found["texts"].keys() == {"robin", "wren"}
    assert len(found["texts"]["wren"]) > 2
    assert "Traceback" not in done.stderr
    assert "| INFO" not in done.stderr


def test_a_recipe_is_read_before_anything_is_started(tmp_path):
    (tmp_path / "birds.yaml").write_text("name: birds\nseed: 1\nsources: []\n")
    with pytest.raises(RecipeError, match="sources"):
        evenly.rebuild(tmp_path / "birds.yaml", root=tmp_path / "w")
    assert not (tmp_path / "w").exists()
    with pytest.raises(RecipeError, match=r"recipe `.*gone\.yaml` must be a readable file"):
        evenly.rebuild(tmp_path / "gone.yaml")


async def slow(ended: list[str]) -> None:
    try:
        await asyncio.sleep(60)
    finally:
        ended.append("unwound")


def test_work_runs_in_the_thread_without_a_loop_and_in_another_beside_one():
    async def name() -> str:
        return threading.current_thread().name

    async def cell() -> str:
        return run_to_end(name())

    assert run_to_end(name()) == threading.current_thread().name
    assert asyncio.run(cell()) != threading.current_thread().name


def test_an_error_of_the_work_comes_to_the_caller():
    async def work() -> None:
        raise ValueError("no")

    async def cell() -> None:
        run_to_end(work())

    with pytest.raises(ValueError, match="no"):
        asyncio.run(cell())


def test_an_interrupt_of_the_cell_cancels_the_work():
    ended: list[str] = []

    async def cell() -> None:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        run_to_end(slow(ended))

    loop = asyncio.new_event_loop()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(cell())
    loop.close()
    assert ended == ["unwound"]
    assert time.monotonic() - started < 20


def test_settings_of_a_command_hold_for_the_call_alone(monkeypatch):
    import prefect.main  # noqa: F401
    from prefect.settings import PREFECT_SERVER_ALLOW_EPHEMERAL_MODE as EPHEMERAL

    monkeypatch.delenv("PREFECT_LOGGING_LEVEL", raising=False)
    monkeypatch.delenv("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", raising=False)
    logger = logging.getLogger("prefect.client")
    before, level, ephemeral = dict(os.environ), logger.level, EPHEMERAL.value()
    with command_settings():
        assert logger.level == logging.CRITICAL
        assert EPHEMERAL.value() is False
    assert (logger.level, EPHEMERAL.value()) == (level, ephemeral)
    changed = {name for name in os.environ if os.environ[name] != before.get(name)}
    assert changed <= {
        "PREFECT_SERVER_ANALYTICS_ENABLED",
        "DO_NOT_TRACK",
        "NO_ALBUMENTATIONS_UPDATE",
        "HF_HUB_DISABLE_TELEMETRY",
    }


def test_what_the_user_set_stays(monkeypatch):
    import prefect.main  # noqa: F401

    logger = logging.getLogger("prefect.client")
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "INFO")
    before = logger.level
    with command_settings():
        assert logger.level == before
