"""kill -9 and signals: of the command, of one of its processes, of all of them, once or again and again."""

import signal
import time
from dataclasses import replace
from importlib.util import find_spec

from tests.chaos.command import Command, Point
from tests.chaos.trial import Trial
from tests.chaos.world import PLAIN, Way

IN_A_ROW = 6
CUT = Way("partitions", most_rows=64)
RAY = Way("ray", most_rows=64, options=("--engine", "ray"))
_PAUSE_S = 15


def needs_ray() -> str:
    """Why there can be no cluster here; "" where there can."""
    return "" if find_spec("ray") and find_spec("prefect_ray") else "needs Ray (pip install -e '.[ray]')"


def kill_parent(trial: Trial, way: Way = PLAIN) -> None:
    """The command alone is killed: what it started must end by itself."""
    command = _started(trial, way)
    if trial.reach(command, trial.point()):
        command.send(signal.SIGKILL)
        trial.expect_status(command.end(), -signal.SIGKILL)


def kill_all(trial: Trial, way: Way = PLAIN) -> None:
    """All processes of the command are killed at once, as by a machine that is switched off."""
    command = _started(trial, way)
    if trial.reach(command, trial.point()):
        command.send(signal.SIGKILL, [command.process.pid, *command.roles()])
        trial.expect_status(command.end(), -signal.SIGKILL)


def kill_repeatedly(trial: Trial, way: Way = PLAIN) -> None:
    """The command is killed, run again and killed at a later moment, several times in a row."""
    if trial.way != way:
        trial.go(way)
    points = trial.timeline.points(IN_A_ROW, f"{trial.seed} {trial.fault} {trial.number}")
    for number, point in enumerate(points):
        urls, replies = trial.recorded()
        command = trial.start()
        early = replace(point, delay_s=point.delay_s / 2)  # of what this step has done already nothing is left to do
        if not trial.reach(command, early):
            trial.met = number > 0
            trial.expect_status(command.end(), 0)
            break
        command.send(signal.SIGKILL)
        trial.expect_status(command.end(), -signal.SIGKILL)
        trial.nothing_twice(urls, replies)


def kill_at_publish(trial: Trial) -> None:
    """The command is killed while it publishes: of the sample table a version may be there, and no build of it."""
    phase = next(phase for phase in trial.timeline.phases if phase.step == "publish")
    delay_s = phase.seconds * (trial.number + trial.luck.random()) / trial.times
    command = trial.start()
    if trial.reach(command, Point(phase.step, phase.after, delay_s)):
        command.send(signal.SIGKILL)
        trial.expect_status(command.end(), -signal.SIGKILL)


def kill_parent_of_partitions(trial: Trial) -> None:
    """The command is killed whose pool is cut into partitions, worked on by processes."""
    kill_parent(trial, CUT)


def kill_all_of_partitions(trial: Trial) -> None:
    """It is killed with all its processes."""
    kill_all(trial, CUT)


def kill_worker(trial: Trial) -> None:
    """One worker process is killed that downloads."""
    _kill_one(trial, "worker")


def kill_worker_of_partitions(trial: Trial) -> None:
    """One worker process is killed that works on partitions, or downloads."""
    _kill_one(trial, "worker", CUT)


def kill_decoder(trial: Trial) -> None:
    """A process that decodes pictures is killed."""
    _kill_one(trial, "decoder")


def kill_ray_worker(trial: Trial) -> None:
    """A worker of Ray is killed."""
    _kill_one(trial, "ray worker", RAY)


def kill_ray_node(trial: Trial) -> None:
    """The node of Ray on this machine is killed."""
    _kill_one(trial, "ray node", RAY)


def kill_parent_of_ray(trial: Trial) -> None:
    """The command is killed whose partitions are worked on by a cluster of its own."""
    kill_parent(trial, RAY)


def _started(trial: Trial, way: Way) -> Command:
    return (trial if trial.way == way else trial.go(way)).start()


def _kill_one(trial: Trial, role: str, way: Way = PLAIN) -> None:
    command = _started(trial, way)
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
