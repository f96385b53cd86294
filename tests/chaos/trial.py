"""One fault, once: a workspace of its own, a command that is disturbed, the same command again, and what must hold."""

import random
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from evenly.storage.workspace import CLEANING
from tests.chaos.command import Command, End, Point
from tests.chaos.store import Store
from tests.chaos.timeline import Timeline
from tests.chaos.workspace import Names, held_locks, held_replies, held_urls, unreferenced
from tests.chaos.world import PLAIN, Reference, Way, World, facts_of

FREED_BY_CLEAN = ("samples/", ".lance.lock")
"""What stays until `evenly clean` frees it: versions of a killed publish, locks that a store let nobody remove."""
_UNBORN = re.compile(r'Traceback .*\n  File "<string>", line 1, in <module>\n(?: .*\n)*EOFError: Ran out of input\n')
"""Python's own word where a process that it had begun to start lost its parent."""
_REMEDIES = 4  # files that may have to be removed as told, one after the other


@dataclass
class Trial:
    """What a fault works with. `luck` is its own, by the seed; `notes` stand in its line, `problems` make it fail.

    root: the workspace, or the copy of one in the store. number, times: which of how many trials
    of the same fault this is. may_ask_again: what was recorded is damaged, and
    is removed where a command says so. failures_recorded: failing answers are recorded as such, so that it is asked
    again for these alone, by --retry-failed.
    """

    world: World
    reference: Reference
    fault: str
    number: int
    times: int
    seed: str
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    cleanup: ExitStack = field(default_factory=ExitStack)
    may_ask_again: bool = False
    failures_recorded: bool = False
    met: bool = True
    way: Way = PLAIN

    def __post_init__(self) -> None:
        self.luck = random.Random(f"{self.seed} {self.fault} {self.number}")  # noqa: S311 - the same for each seed
        self.root = self.folder / "root"
        self.environment = self.world.home(self.folder)

    @property
    def place(self) -> str:
        """What the command is given as its workspace."""
        return self.store.url(self.folder.name) if self.way.in_store else str(self.root)

    @property
    def store(self) -> Store:
        """The object store, started with the first trial that asks for it."""
        return self.world.store

    def go(self, way: Way) -> "Trial":
        """Run the command in another way, and measure this trial by an undisturbed run of that kind."""
        self.reference = self.world.reference_of(way, self.reference)
        self.world.forget()
        self.way = way
        if way.in_store:
            self.environment |= self.store.environment
            self.cleanup.callback(partial(self.store.remove, self.folder.name))
        return self

    def look(self) -> list[str]:
        """Copy what lies in the store; the names of all objects."""
        if self.way.in_store:
            shutil.rmtree(self.root, ignore_errors=True)
            self.store.copy(self.folder.name, self.root)
        return sorted(Names.of(self.root).paths)

    @property
    def timeline(self) -> Timeline:
        """That of the undisturbed command."""
        return self.reference.timeline

    def point(self, role: str = "") -> Point:
        """The moment of this trial: those of all trials of a fault are spread over the phases of the command."""
        points = self.timeline.points(self.times, f"{self.seed} {self.fault}", role)
        return points[self.number]

    def start(
        self, *, prefix: Sequence[str] = (), retry_failed: bool = False, wait_s: int = 0, **environment: str
    ) -> Command:
        """Start the command that is to be disturbed."""
        options = [*(["--retry-failed"] if retry_failed else []), *(["--wait", str(wait_s)] if wait_s else [])]
        arguments = [*self.world.arguments(self.place), *self.way.options, *options]
        command = Command.start(
            arguments, self.environment | environment, self.folder, prefix=prefix, most_rows=self.way.most_rows
        )
        self.cleanup.callback(command.close)
        return command

    def reach(self, command: Command, point: Point) -> bool:
        """Wait for the moment. Where the command ended before it, the trial is done again with a shorter delay."""
        self.notes.append(f"at {point}")
        self.met = command.reach(point)
        return self.met

    def note_end(self, end: End) -> None:
        """Take down how a command ended, and what is wrong about it in any case."""
        self.notes.append(f"ended {'by hanging' if end.status is None else end.status} in {end.seconds:.1f} s")
        if end.status is None:
            self.problems.append(f"it had not ended after {end.seconds:.0f} s: {_last_line(end)}")
        for entry in end.left:
            self.problems.append(f"a process was left running: {entry[:160]}")
        if "Traceback" in (_UNBORN.sub("", end.err) if end.status == -signal.SIGKILL else end.err):
            self.problems.append(f"a traceback on stderr: {_last_line(end)}")

    def expect_status(self, end: End, *statuses: int) -> None:
        """The command must have ended with one of these."""
        self.note_end(end)
        if end.status is not None and end.status not in statuses:
            self.problems.append(f"exit status must be {' or '.join(map(str, statuses))}; got {end.status}")

    def expect_plain(self, end: End) -> None:
        """The command must have done its work all the same, or have said in one line what is wrong."""
        self.note_end(end)
        if end.status == 0:
            self._compare(end)
        elif end.status is not None and not end.failed_plainly():
            self.problems.append(f"exit status {end.status} must come with one line; got {end.err[-400:]!r}")
        if end.status:
            self.notes.append(f"said {end.lines[-1][8:98]!r}" if end.lines else "said nothing")

    def expect_end(self, end: End) -> None:
        """The command must have ended in whatever way, and left no process."""
        self.note_end(replace(end, err=end.err.replace("Traceback", "traceback")))
        if end.status == 0:
            self._compare(end)

    def expect_plain_or_other(self, end: End) -> None:
        """As `expect_plain`; but a build that was made from failing answers may be another one."""
        kept, self.problems = self.problems, []
        self.expect_plain(end)
        other = [problem for problem in self.problems if problem.startswith(("content hash", "facts"))]
        self.notes += ["another build"] if other else []
        self.failures_recorded = end.status == 0
        self.problems = kept + [problem for problem in self.problems if problem not in other]

    def finish(self) -> None:
        """Run the same command again, undisturbed, and check what must hold then."""
        self.world.mend()
        urls, replies = self.recorded()
        end = self._until_not_refused(lambda: self.start(retry_failed=self.failures_recorded).end())
        self.notes.append(f"again {end.seconds:.1f} s, {len(urls)} answers and {replies} replies kept")
        self.problems += [f"a process was left running: {entry[:160]}" for entry in end.left]
        if end.status != 0:
            self.problems.append(f"the same command again must work; got {end.status}: {end.err[-600:]!r}")
            return
        self._compare(end)
        self.nothing_twice(urls, replies)
        self.verify()
        self.look()
        self._nothing_left()

    def verify(self) -> None:
        """`evenly verify` must find nothing wrong; what it says to remove is removed after damage."""
        end = self._verified()
        if end.status == 1 and self.may_ask_again and (told := self._remove_as_told(end)):
            self.notes.append(f"verify saw {told}")
            again = self._until_not_refused(lambda: self.start().end())
            if again.status == 0:
                self._compare(again)
            end = self._verified()
        if end.status != 0:
            self.problems.append(f"verify must be clean; got {end.status}: {(end.out + end.err)[-600:]!r}")

    def _verified(self) -> End:
        arguments = ["verify", "latest", "--root", self.place, "--every-image"]
        return Command.start(arguments, self.environment, self.folder).end()

    def _until_not_refused(self, run: Callable[[], End]) -> End:
        """The end of a run; after damage, files that it says are damaged are removed, and it is run again."""
        for _ in range(_REMEDIES):
            end = run()
            if not (self.may_ask_again and end.failed_plainly() and (told := self._remove_as_told(end))):
                break
            self.notes.append(f"refused {told}")
        return end

    def _remove_as_told(self, end: End) -> str:
        """Remove the file or folder of the workspace that is named, and what is named beside it; "" where none is."""
        names = re.findall(r"`([^`]+)`", end.err + end.out)
        for path in map(Path, names):
            if self.root in path.parents and path.exists():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                for beside in names:
                    if "/" not in beside:
                        (path.parent / beside).unlink(missing_ok=True)
                return path.relative_to(self.root).as_posix()[-60:]
        return ""

    def _compare(self, end: End) -> None:
        facts = facts_of(end.out, self.place)
        wanted = self.reference.facts
        hashes = [one["content_hash"][:12] for one in (facts, wanted)]
        if hashes[0] != hashes[1]:
            self.problems.append(f"content hash must be {hashes[1]}, that of an undisturbed run; got {hashes[0]}")
        elif facts != wanted:
            names = [name for name in wanted if facts.get(name) != wanted[name]]
            self.problems.append(f"facts must be those of an undisturbed run; others are {', '.join(names)}")

    def recorded(self) -> tuple[set[str], int]:
        """URLs and number of replies that the next run must not ask for; it is counted from nothing again."""
        self.look()
        self.world.forget()
        return held_urls(self.root), held_replies(self.root)

    def nothing_twice(self, urls: set[str], replies: int) -> None:
        """What was recorded before a run must not have been asked for in it."""
        if self.may_ask_again or self.failures_recorded:
            return
        asked = Counter(self.world.web.urls)
        twice = [url for url in urls if asked[url] and url not in self._reached_by_redirects]
        if twice:
            self.problems.append(f"{len(twice)} URLs were asked for again, such as {min(twice)}")
        most = self.reference.requests - replies
        if len(self.world.tiny.requests) > most:
            got = len(self.world.tiny.requests)
            self.problems.append(f"at most {most} prompts were still to be asked; {got} were")

    @property
    def _reached_by_redirects(self) -> set[str]:
        """URLs of the pool that others lead to: they are asked for on another's behalf."""
        return {url for url, count in self.reference.urls.items() if count > 1}

    def _nothing_left(self) -> None:
        expected = self.reference.names
        if self.failures_recorded or self.may_ask_again:  # steps and replies of failures stay; the rest is made anew
            expected = replace(expected, stable=frozenset())
        differences = list(expected.differences(Names.of(self.root)))
        if differences and all(any(part in line for part in FREED_BY_CLEAN) for line in differences):
            differences = self._cleaned(replace(expected, stable=frozenset()))
        self.problems += differences[:5]
        self.problems += [f"nothing refers to {name}" for name in unreferenced(self.root)[:5]]
        self.problems += [f"locked: {name}" for name in held_locks(self.root)]
        temporary = Names.of(self.folder / "tmp").shapes - self.reference.temporary
        self.problems += [f"left in TMPDIR: {name}" for name in sorted(temporary)[:5]]

    def _cleaned(self, expected: Names) -> list[str]:
        """What differs once `evenly clean` has freed what is for it to free."""
        arguments = ["clean", "--older-than", "0m", "--yes", "--root", self.place]
        end = Command.start(arguments, self.environment, self.folder).end()
        if end.status != 0:
            return [f"clean must work; got {end.status}: {(end.out + end.err)[-600:]!r}"]
        self.look()
        self.notes.append("clean freed what was left")
        self.verify()
        lock = f"locks/{CLEANING}"  # a lock of the system on a file that stays, as those of recipes do
        expected = replace(expected, paths=expected.paths | {lock})
        return list(expected.differences(Names.of(self.root)))

    def mount(self, size: int) -> None:
        """Put the workspace on a file system of its own, of so many bytes, in memory."""
        self.root.mkdir()
        _mount("-t", "tmpfs", "-o", f"size={size},mode=755", "evenly-chaos", str(self.root))
        self.cleanup.callback(partial(_run, "umount", "--lazy", str(self.root)))

    def grow(self, size: int) -> None:
        """Give that file system more room."""
        _mount("-o", f"remount,size={size}", str(self.root))

    def cover(self) -> None:
        """Let the workspace be read-only for all that is opened from now on, until `uncover`."""
        _mount("-o", "bind,ro", str(self.root), str(self.root))
        self.cleanup.callback(self.uncover)

    def uncover(self) -> None:
        """Let the workspace be written to again."""
        subprocess.run(["umount", "--lazy", str(self.root)], capture_output=True, check=False)


def _mount(*arguments: str) -> None:
    _run("mount", *arguments)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _last_line(end: End) -> str:
    return (end.err.strip().splitlines() or ["nothing on stderr"])[-1][:200]
