"""kill -9 and signals: of the command, of one of its processes, of all of them."""

import signal
import time

from tests.chaos.trial import Trial

_PAUSE_S = 15


def kill_parent(trial: Trial) -> None:
    """The command alone is killed: what it started must end by itself."""
    command = trial.start()
    if trial.reach(command, trial.point()):
        command.send(signal.SIGKILL)
        trial.expect_status(command.end(), -signal.SIGKILL)


def kill_all(trial: Trial) -> None:
    """All processes of the command are killed at once, as by a machine that is switched off."""
    command = trial.start()
    if trial.reach(command, trial.point()):
        command.send(signal.SIGKILL, [command.process.pid, *command.roles()])
        trial.expect_status(command.end(), -signal.SIGKILL)


def kill_server(trial: Trial) -> None:
    """The temporary Prefect server is killed in mid-run."""
    _kill_one(trial, "server")


def kill_worker(trial: Trial) -> None:
    """One worker process is killed: one that downloads, or works on a partition."""
    _kill_one(trial, "worker")


def kill_decoder(trial: Trial) -> None:
    """A process that decodes pictures is killed."""
    _kill_one(trial, "decoder")


def kill_ray_worker(trial: Trial) -> None:
    """A worker of Ray is killed."""
    _kill_one(trial, "ray worker")


def kill_ray_node(trial: Trial) -> None:
    """A node of Ray is killed."""
    _kill_one(trial, "ray node")


def _kill_one(trial: Trial, role: str) -> None:
    command = trial.start()
    if not trial.reach(command, trial.point(role)):
        return
    pids = command.found(role)
    trial.met = bool(pids)
    if pids:
        command.send(signal.SIGKILL, [trial.luck.choice(sorted(pids))])
    trial.expect_plain(command.end())


def sigterm(trial: Trial) -> None:
    """SIGTERM, as from a service manager."""
    command = trial.start()
    if trial.reach(command, trial.point()):
        command.send(signal.SIGTERM)
        trial.expect_status(command.end(10), 143)


def sigint_twice(trial: Trial) -> None:
    """Ctrl-C twice, to all processes of the terminal as it is sent."""
    command = trial.start()
    if trial.reach(command, trial.point()):
        for _ in range(2):
            command.send(signal.SIGINT, [-command.process.pid])
        trial.expect_status(command.end(10), 130)


def paused(trial: Trial) -> None:
    """All processes stand still for a while, as when a laptop sleeps; then they go on."""
    command = trial.start()
    if trial.reach(command, trial.point()):
        pids = [command.process.pid, *command.roles()]
        command.send(signal.SIGSTOP, pids)
        trial.notes.append(f"for {_PAUSE_S} s")
        try:
            time.sleep(_PAUSE_S)
        finally:
            command.send(signal.SIGCONT, pids)
        trial.expect_plain(command.end())
