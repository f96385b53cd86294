"""Disturb real commands by kills and faults and run each again: a line per fault, a total, exit status 1 if any failed.

python -m tests.chaos [--faults NAME,NAME] [--seed WORD] [--times N] [--only N] [--folder FOLDER]
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.faults import FAULTS, Fault
from tests.chaos.trial import Trial
from tests.chaos.world import Reference, World, make_reference, open_world

_TRIES = 3  # of a trial whose command ended before the moment came


@dataclass
class Totals:
    """What came of all trials."""

    outcomes: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    kinds: set[str] = field(default_factory=set)

    def add(self, name: str, outcome: str) -> None:
        """Count a trial."""
        self.outcomes[outcome] += 1
        if outcome != "skipped":
            self.kinds.add(name)
            self.kills += FAULTS[name].kills


def main() -> int:
    """Run the chosen faults; the exit status."""
    options = _options()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    names = [name for name in options.faults.split(",") if name] or list(FAULTS)
    if unknown := [name for name in names if name not in FAULTS]:
        sys.exit(f"--faults must be of {', '.join(FAULTS)}; got {', '.join(unknown)}")
    started = time.monotonic()
    if options.folder:
        Path(options.folder).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="evenly-chaos-", dir=options.folder))
    totals = Totals()
    with open_world(folder) as world:
        reference = make_reference(world)
        steps = ", ".join(f"{phase.step} {phase.seconds:.1f}" for phase in reference.timeline.phases)
        asked = f"{len(reference.urls)} URLs and {reference.requests} prompts"
        _say(f"seed {options.seed}; undisturbed: build {reference.facts['content_hash'][:12]}, {asked}")
        _say(f"seconds until the line of each step: {steps}")
        for name in names:
            _run_fault(name, options, world, reference, totals)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(totals.outcomes.items()))
    minutes = (time.monotonic() - started) / 60
    _say(f"{len(totals.kinds)} kinds of fault, {totals.kills} kills: {counts}; {minutes:.1f} minutes")
    if not totals.outcomes["FAILED"]:
        shutil.rmtree(folder)
    return 1 if totals.outcomes["FAILED"] else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--faults", default="", help="names, with commas; all by default")
    parser.add_argument("--seed", default="1", help="what moments, files and limits are drawn by")
    parser.add_argument("--times", type=int, help="trials of each fault")
    parser.add_argument("--only", type=int, help="this trial of each fault alone, counted from 0")
    parser.add_argument("--folder", help="where to work; what failed is kept there")
    return parser.parse_args()


def _run_fault(name: str, options: argparse.Namespace, world: World, reference: Reference, totals: Totals) -> None:
    fault = FAULTS[name]
    reason = fault.needs()
    if fault.role and not any(fault.role in phase.roles for phase in reference.timeline.phases):
        reason = f"the command has no process of the role {fault.role}"
    if reason:
        totals.add(name, "skipped")
        _say(f"{name:<24} skipped: {reason}")
        return
    times = options.times or fault.times
    for number in range(times):
        if options.only in (None, number):
            totals.add(name, run_trial(name, fault, number, times, options.seed, world, reference))


def run_trial(  # noqa: PLR0917 - all of them make one trial
    name: str, fault: Fault, number: int, times: int, seed: str, world: World, reference: Reference
) -> str:
    """Run a trial, again where its command ended before the moment came, and print its line; "ok" or "FAILED"."""
    for attempt in range(_TRIES):
        folder = world.folder / f"{name}-{number}-{attempt}"
        folder.mkdir()
        world.mend()
        world.forget()
        tried = seed if attempt == 0 else f"{seed}.{attempt}"
        trial = Trial(world, reference, name, number, times, tried, folder)
        started = time.monotonic()
        with trial.cleanup:
            try:
                fault.disturb(trial)
            except RuntimeError as error:  # the undisturbed run to compare with did not end well
                trial.problems.append(str(error))
            if trial.met:
                trial.finish()
        if trial.met or trial.problems:
            break
        shutil.rmtree(folder)
    else:
        trial.problems.append(f"the command ended before its moment {_TRIES} times")
    outcome = "FAILED" if trial.problems else "ok"
    seconds = time.monotonic() - started
    _say(f"{name:<24} {number + 1:2d}/{times:<2d} {outcome:<6} {seconds:5.1f} s  {'; '.join(trial.notes)}")
    for problem in trial.problems:
        _say(f"{'':24}        {problem}")
    if trial.problems:
        _say(f"{'':24}        kept: {folder}")
    else:
        shutil.rmtree(folder)
    return outcome


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
