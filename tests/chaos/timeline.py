"""The phases of an undisturbed command, and moments drawn from them: spread over its steps, not over its seconds."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.command import Command, Point

START, END = "start", "end"
_POLL_S = 0.03


@dataclass(frozen=True)
class Phase:
    """From the line of one step to that of the next: `step` is at work; `roles` of processes that were there."""

    step: str
    after: str
    seconds: float
    roles: frozenset[str]


@dataclass(frozen=True)
class Timeline:
    """The phases of a command, in order."""

    phases: tuple[Phase, ...]

    def points(self, number: int, seed: str, role: str = "") -> list[Point]:
        """`number` moments, in the order of the phases, each phase having as many as any other or one more or less.

        With a role: only of phases in which a process of that role was there, at a moment while it is there.
        """
        phases = [phase for phase in self.phases if not role or role in phase.roles]
        luck = random.Random(f"{seed} {role} {number}")  # noqa: S311 - the same moments for each seed
        offset = luck.random()
        places = [int((place + offset) * len(phases) / number) for place in range(number)]
        chosen = [phases[place] for place in places] if phases else []
        return [Point(phase.step, phase.after, luck.random() * _within(phase, role), role) for phase in chosen]


def _within(phase: Phase, role: str) -> float:
    """Seconds of a phase: of those that wait for a process only half, as it comes later and goes sooner."""
    return phase.seconds * (0.5 if role else 1.0)


def watch(command: Command) -> Timeline:
    """The timeline of a command that runs; returns at its end."""
    seen: list[tuple[float, Sequence[str], set[str]]] = []
    while command.process.poll() is None:
        seen.append((time.monotonic(), command.steps(), set(command.roles().values())))
        time.sleep(_POLL_S)
    seen.append((time.monotonic(), command.steps(), set()))
    steps = list(dict.fromkeys(seen[-1][1]))
    names, ends = [START, *steps], [*steps, END]
    phases = []
    for place, (after, step) in enumerate(zip(names, ends, strict=True)):
        samples = [(at, roles) for at, done, roles in seen if len(dict.fromkeys(done)) == place]
        begun = command.started if place == 0 else min((at for at, _ in samples), default=0.0)
        later = min((at for at, done, _ in seen if len(dict.fromkeys(done)) > place), default=seen[-1][0])
        roles = frozenset(role for _, found in samples for role in found)
        seconds = later - begun if samples else 0.0
        phases.append(Phase(step, "" if after == START else after, seconds, roles))
    return Timeline(tuple(phases))
