"""`evenly serve --once`: a worker begins what is due as often as further runs are, and no other."""

from contextlib import nullcontext
from uuid import uuid4

import pytest

from evenly.flows.cli.start import serving

FIRST, SECOND = uuid4(), uuid4()


@pytest.mark.parametrize(
    ("waiting", "times"),
    [([[]], 1), ([[FIRST, SECOND], [SECOND], []], 3), ([[FIRST], [FIRST]], 2)],
    ids=["nothing waits", "a limit lets through one at a time", "what cannot begin waits on"],
)
def test_a_worker_begins_what_is_due_until_nothing_else_is(monkeypatch, waiting, times):
    started, left = list[list[str]](), iter(waiting)
    monkeypatch.setattr(serving, "get_client", lambda **_: nullcontext())
    monkeypatch.setattr(serving, "keeps_runs_in_sqlite", lambda _: True)
    monkeypatch.setattr(serving, "_run_worker", lambda _, options: started.append(options))
    monkeypatch.setattr(serving, "_waiting_runs", lambda *_: next(left))
    serving.run_worker("evenly-birds", ["birds"], once=True)
    assert started == [["--work-queue", "birds", "--limit", "1", "--run-once"]] * times
    started.clear()
    serving.run_worker("evenly-birds", ["birds"])
    assert started == [["--work-queue", "birds", "--limit", "1"]]
