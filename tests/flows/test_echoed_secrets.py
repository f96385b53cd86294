"""Commands against endpoints that repeat the key: afterwards it is on no screen, in no file and in no database."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from prefect.logging.handlers import APILogWorker

from evenly.descriptions.chat.retries import RetryRule
from evenly.flows.runs import prefect_api
from tests.chat_server import tiny_server
from tests.echoes import GOOD_ANSWERS, KEY, STATUSES, error_answers, files_with, leaks
from tests.labelled_build import WordEncoder
from tests.prefect_server import started_server

SECRETS = {
    "OPENAI_API_KEY": KEY,
    "AWS_SECRET_ACCESS_KEY": "aws-secret/0123456789",
    "HTTPS_PROXY": "http://me:proxy%2Fword@proxy.example:3128",
}
ANSWERS = {str(status): error_answers(status)["message"] for status in STATUSES} | GOOD_ANSWERS
FEW = ("400", "402", "500", "content")


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """A Prefect server that is told all that runs log, with its database in a folder."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    database = f"sqlite+aiosqlite:///{folder}/prefect.db"
    started = started_server({"PREFECT_SERVER_DATABASE_CONNECTION_URL": database})
    with started as url, temporary_settings({PREFECT_API_URL: url}), prefect_api():
        yield
        APILogWorker.drain_all()


@pytest.mark.parametrize("names", [FEW, pytest.param((*ANSWERS,), marks=pytest.mark.slow)], ids=["few", "all"])
def test_no_answer_brings_the_key_to_a_screen_a_file_or_prefects_database(evenly, tmp_path, monkeypatch, caplog, names):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("evenly.tasks.chat.endpoints.RetryRule", partial(RetryRule, attempts=1))
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())
    caplog.set_level(logging.INFO)
    with tiny_server() as server, kept_in(tmp_path):
        where = ("--root", tmp_path / "w", "--base-url", server.url, "--model", "tiny")
        for name in names:
            server.answer = lambda _request, _before, name=name: ANSWERS[name](server.headers[-1]["authorization"])
            (tmp_path / "pets.txt").write_text(f"cat {name}\n")
            before = len(server.requests)
            shown = evenly("describe", tmp_path / "pets.txt", "--method", "description", "--verbose", *where)
            assert leaks(f"{shown}\n{caplog.text}") == [], f"{name}: {shown}"
            assert len(server.requests) > before
        _faulty()
    assert "the account must have credit left" in (tmp_path / "prefect.db").read_bytes().decode(errors="replace")
    assert any((tmp_path / "w" / "requests").iterdir())
    assert leaks(caplog.text) == [*files_with(tmp_path)] == []


def _faulty() -> None:
    """A flow that fails for what nobody expects."""
    from evenly.tasks.server.jobs import job

    @job("faulty")
    def faulty() -> None:
        logging.getLogger("prefect.flow_runs").error("a line with %s", KEY)
        raise ZeroDivisionError(f"nobody expects {KEY}")

    state = faulty(return_state=True)
    assert "nobody expects <OPENAI_API_KEY>" in str(state.message)
