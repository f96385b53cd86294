"""Servers that a run speaks to: gone, slow, failing, answering nonsense."""

import time
from dataclasses import replace

from tests.chaos.command import Point
from tests.chaos.trial import Trial
from tests.chat_server import Answer, TinyServer

_DESCRIBE, _DOWNLOAD = "describe", "download"
_SLOW_S = 1.0
_OUTAGE_S = 2.0


def endpoint_gone(trial: Trial) -> None:
    """The chat endpoint refuses connections in mid-run."""
    command = trial.start()
    if trial.reach(command, _within(trial, _DESCRIBE)):
        trial.world.chat.go()
        trial.expect_plain_or_other(command.end())


def endpoint_errors(trial: Trial) -> None:
    """The chat endpoint answers with 500, with nonsense, with a part of an answer, or hangs up."""
    bad = (
        TinyServer.failure(500),
        TinyServer.failure(503),
        Answer(body="<html>busy</html>", headers={"content-type": "text/html"}),
        replace(TinyServer.good(), sent=40),
        Answer(cut=True),
    )
    share = trial.luck.uniform(0.3, 1.0)
    trial.notes.append(f"{share:.0%} of answers")
    good = trial.world.good

    def answer(request, before):
        return trial.luck.choice(bad) if trial.luck.random() < share else good(request, before)

    trial.world.tiny.answer = answer
    trial.expect_plain_or_other(trial.start().end())


def endpoint_slow(trial: Trial) -> None:
    """The chat endpoint takes a second for each answer."""
    trial.world.chat.delay_s = _SLOW_S
    trial.expect_plain(trial.start().end())


def web_gone(trial: Trial) -> None:
    """The web refuses connections in mid-download, and does not come back while the command runs."""
    command = trial.start()
    if trial.reach(command, _within(trial, _DOWNLOAD)):
        trial.world.web.go()
        trial.expect_plain_or_other(command.end())


def web_flickers(trial: Trial) -> None:
    """The web refuses connections for two seconds in mid-download."""
    command = trial.start()
    if trial.reach(command, _within(trial, _DOWNLOAD)):
        trial.world.web.go()
        time.sleep(_OUTAGE_S)
        trial.world.web.come()
        trial.expect_plain_or_other(command.end())


def _within(trial: Trial, step: str) -> Point:
    phase = next(phase for phase in trial.timeline.phases if phase.step == step)
    return Point(step, phase.after, phase.seconds * trial.luck.random())
