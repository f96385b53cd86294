"""Object stores: slow, failing, hanging up, gone, denying, ignoring conditions; and kills of who writes to one.

Such a trial's workspace is a URL (the way STORE), and what the harness looks at is a copy of it.
"""

import time
from collections.abc import Callable

from tests.chaos.faults import kills
from tests.chaos.store import Trouble
from tests.chaos.trial import Trial
from tests.chaos.world import Way

LOST = (Trouble(reset=True, late=True), Trouble(status=503, late=True))
STORE = Way("store", in_store=True)
_SLOW_S = 0.25
_OUTAGE_S = 3.0


def kill_parent(trial: Trial) -> None:
    """The command alone is killed while it writes to a store."""
    kills.kill_parent(trial, STORE)


def kill_all(trial: Trial) -> None:
    """All processes of a command that writes to a store are killed at once."""
    kills.kill_all(trial, STORE)


def kill_repeatedly(trial: Trial) -> None:
    """A command that writes to a store is killed, run again and killed at a later moment, several times in a row."""
    kills.kill_repeatedly(trial, STORE)


def slow(trial: Trial) -> None:
    """The store takes a while for each answer."""
    trial.notes.append(f"{_SLOW_S:.2f} s an answer")
    _disturb(trial, lambda _method, _path: Trouble(delay_s=_SLOW_S))


def errors(trial: Trial) -> None:
    """The store answers a share of all requests with 503."""
    share = trial.luck.uniform(0.05, 0.3)
    trial.notes.append(f"{share:.0%} of answers")
    _disturb(trial, lambda _method, _path: Trouble(status=503) if trial.luck.random() < share else None)


def resets(trial: Trial) -> None:
    """The store hangs up, on a share of all requests, before or after it did what was asked."""
    share = trial.luck.uniform(0.05, 0.2)
    trial.notes.append(f"{share:.0%} of answers")

    def trouble(_method: str, _path: str) -> Trouble | None:
        return Trouble(reset=True, late=trial.luck.random() < 0.5) if trial.luck.random() < share else None

    _disturb(trial, trouble)


def answers_lost(trial: Trial) -> None:
    """Of each object that is written for the first time the store says nothing, though it has it: it is asked again."""
    met = set[str]()

    def trouble(method: str, path: str) -> Trouble | None:
        is_first = method == "PUT" and path not in met
        met.add(path)
        return trial.luck.choice(LOST) if is_first else None

    _disturb(trial, trouble)


def gone(trial: Trial) -> None:
    """The store refuses connections in mid-run, and does not come back while the command runs."""
    command = trial.go(STORE).start()
    if trial.reach(command, trial.point()):
        trial.store.relay.go()
        trial.expect_plain(command.end())


def flickers(trial: Trial) -> None:
    """The store refuses connections for a few seconds in mid-run."""
    command = trial.go(STORE).start()
    if trial.reach(command, trial.point()):
        trial.store.relay.go()
        time.sleep(_OUTAGE_S)
        trial.store.relay.come()
        trial.expect_plain(command.end())


def denies(trial: Trial) -> None:
    """From a moment on the store lets nobody write."""
    command = trial.go(STORE).start()
    if trial.reach(command, trial.point()):
        trial.store.relay.trouble = lambda method, _path: None if method in ("GET", "HEAD") else Trouble(status=403)
        trial.expect_plain(command.end())


def ignores_conditions(trial: Trial) -> None:
    """The store writes over what exists when it is told not to: it is refused, and nothing is kept in it."""
    trial.go(STORE)
    trial.store.relay.ignores_conditions = True
    end = trial.start().end()
    trial.expect_plain(end)
    if end.status == 0 or "If-None-Match" not in end.err:
        trial.problems.append("a store that ignores conditions must be refused")
    if objects := trial.look():
        trial.problems.append(f"nothing may be kept in it; {min(objects)} is")


def two_rebuilds(trial: Trial) -> None:
    """The same command twice at the same time into a store, the second of which may wait: both do their work."""
    first = trial.go(STORE).start()
    if not trial.reach(first, trial.point()):
        return
    second = trial.start(wait_s=1800)
    for end in (first.end(), second.end()):
        trial.expect_status(end, 0)


def _disturb(trial: Trial, trouble: Callable[[str, str], Trouble | None]) -> None:
    trial.go(STORE)
    trial.store.relay.trouble = trouble
    trial.expect_plain(trial.start().end())
    trial.notes.append(f"{trial.store.relay.troubled} requests disturbed")
