"""The folder that holds everything evenly keeps, on this machine or in an object store, and who uses it.

Many processes may write in it at once, one of them a recipe, and who removes something is alone. That a recipe has one
writer keeps two rebuilds from doing the same work twice: nothing rests on it, since what is acknowledged is created
where nothing was. A writer holds a slot, a lock of its own, and who removes holds CLEANING. Each takes its own first
and looks for the others' then: so never do both go on, whichever was first.

Downloads and replies are observed once: a workspace takes over those of another to replay its builds.
"""

import itertools
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenly.storage.errors import NotFoundError, WriterError
from evenly.storage.records import replacing
from evenly.storage.stores.object_path import ObjectPath, path_at
from evenly.storage.stores.writer_lock import TAKEN_OVER_AFTER_S, described_holder, holder_of, lock_holder

ROOT_VARIABLE = "EVENLY_ROOT"
OBJECTS = "objects"


class Folder:
    """The folder of a workspace that has the name of the attribute; kind: of what lies there, for people."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, workspace: "Workspace", _owner: type) -> Path:
        return workspace.root / self._name


@dataclass(frozen=True)
class Workspace:
    """Paths below one root folder, each of what stands beside its name."""

    root: Path

    @classmethod
    def at(cls, root: str | os.PathLike[str] | None = None) -> "Workspace":
        """Open `root`, else the environment's EVENLY_ROOT, else `.evenly` in the current folder.

        It may be a URL: s3://, gs:// or az:// with a bucket and a prefix, or file://. Raises InputError for another.
        """
        chosen = os.environ.get(ROOT_VARIABLE, ".evenly") if root is None else root
        return cls(path_at(chosen).absolute())

    builds = Folder("builds")  # build manifests and the aliases that point at them
    runs = Folder("journal of runs")  # what each rebuild came to, one small JSON file each, in a folder per recipe
    samples = Folder("sample tables")  # the wide sample table, one Lance dataset per recipe
    ledger = Folder("ledger tables")  # decisions and child tables, an Arrow file for each partition
    steps = Folder("step records")  # step records, one JSON file each
    downloads = Folder("downloads")  # webdataset shards of the original bytes, and their records
    features = Folder("features")  # feature rows, one folder per encoder
    requests = Folder("requests and journals")  # replies of language models, one JSON file each
    batches = Folder("requests and journals")  # batches of requests to language models, one folder each
    spending = Folder("requests and journals")  # costs of language models, one journal for each class list
    watched = Folder("class lists")  # states of the class lists of watched folders, one JSON file per content
    adapters = Folder("adapters")  # the cards of fitted adapters, by build and class list
    refined = Folder("refined encoders")  # the cards of refined encoders, and states of those in the making
    objects = Folder("contents of artifacts")  # the contents of adapters and refined encoders, by their SHA-256
    leaderboards = Folder("leaderboards")  # finished runs of leaderboards, one folder each
    reports = Folder("reports")  # HTML reports
    exports = Folder("exports")  # datasets written for other tools
    departures = Folder("receipts of exports and reports")  # which build was written where, one JSON file each
    forget = Folder("forget list")  # the forget list: keyed hashes of what new builds must not hold, and the key
    locks = Folder("locks")  # who writes which recipe just now, one file each
    exchange = Folder("exchange")  # rows on their way to another cut, while a step runs


FOLDER_KINDS = {name: folder.kind for name, folder in vars(Workspace).items() if isinstance(folder, Folder)}
"""The kinds of what lies in a workspace, by the name of its folder."""


def adopt_observations(workspace: Workspace, origin: Workspace) -> int:
    """Take over the recorded downloads and replies of `origin`, as links where the file system allows; files taken.

    What this workspace has stays as it is. Raises NotFoundError where `origin` has none.
    """
    pairs = [(origin.downloads, workspace.downloads), (origin.requests, workspace.requests)]
    if not any(source.is_dir() for source, _ in pairs):
        raise NotFoundError(f"`replay_from` must hold recorded downloads or replies; `{origin.root}` holds none.")
    n_taken = 0
    for source, target in pairs:
        for path in sorted(source.rglob("*"), key=_arrival):
            place = target / path.relative_to(source)
            if path.is_file() and not path.name.startswith(".") and not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy(path, place)
                n_taken += 1
    return n_taken


def _arrival(path: Path) -> tuple[bool, Path]:
    """Tars first: what their records are to count for is there when these arrive."""
    return path.suffix != ".tar", path


def _link_or_copy(source: Path, target: Path) -> None:
    if not isinstance(source, ObjectPath) and not isinstance(target, ObjectPath):
        try:
            os.link(source, target)
        except OSError:
            temporary = target.with_name(f".{target.name}.tmp")
            shutil.copyfile(source, temporary)
            temporary.replace(target)
        return
    with source.open("rb") as content, replacing(target) as copy:
        shutil.copyfileobj(content, copy)


CLEANING = ".cleaning.json"
"""The name of the lock of whoever removes something."""
_SLOT = ".writer-{}.json"
_WAIT_POLL_S = 0.5
_counts: Counter[Path] = Counter()
_slots: dict[Path, ExitStack] = {}
_counting = threading.RLock()
Say = Callable[[str], None]


def _silent(_text: str) -> None:
    pass


@contextmanager
def shared_use(workspace: Workspace, work: str, *, wait_s: float = 0.0, say: Say = _silent) -> Iterator[None]:
    """Let nobody remove anything from a workspace for the block, in which `work` writes.

    Within the block the same process may enter again, by other threads too: it ends when all have left it. Raises
    WriterError, which says who removes, after `wait_s`.
    """
    with _counting:
        if not _counts[workspace.root]:
            stack = ExitStack()
            stack.enter_context(
                _taken(lambda locks: _take_slot(workspace, work, locks), "the workspace", wait_s=wait_s, say=say)
            )
            _slots[workspace.root] = stack
        _counts[workspace.root] += 1
    try:
        yield
    finally:
        _leave(workspace)


def _leave(workspace: Workspace) -> None:
    """Count one use less, and let go of the workspace with the last."""
    with _counting:
        _counts[workspace.root] -= 1
        if not _counts[workspace.root]:
            _slots.pop(workspace.root).close()


@contextmanager
def exclusive_use(workspace: Workspace, work: str, *, wait_s: float = 0.0, say: Say = _silent) -> Iterator[None]:
    """Let nobody write in a workspace for the block. Raises WriterError, which says who does, after `wait_s`."""
    with _taken(lambda stack: _take_all(workspace, work, stack), "the workspace", wait_s=wait_s, say=say):
        with _counting:
            _slots.setdefault(workspace.root, ExitStack())
            _counts[workspace.root] += 1
        try:
            yield
        finally:
            _leave(workspace)


@contextmanager
def writing(workspace: Workspace, recipe: str, *, wait_s: float = 0.0, say: Say = _silent) -> Iterator[None]:
    """Write a recipe's builds alone for the length of the block, once whoever writes it has ended, in `wait_s` or less.

    say: is told once who is waited for, and once that the waiting is over. Raises WriterError, which says who writes.
    """
    path = workspace.locks / f"{recipe}.json"
    ends = f"without a sign of life for {TAKEN_OVER_AFTER_S:.0f} s it is taken over."

    def take(stack: ExitStack) -> _Trouble | None:
        return _trouble(
            f"recipe `{recipe}` must be written by one process at a time in `{workspace.root}`; {{}}. Wait for it "
            f"(`--wait SECONDS`), or end it: {ends if isinstance(path, ObjectPath) else 'its lock ends with it.'}",
            stack.enter_context(lock_holder(path)),
        )

    with (
        shared_use(workspace, f"writing {recipe}", wait_s=wait_s, say=say),
        _taken(take, f"`{recipe}`", wait_s=wait_s, say=say),
    ):
        yield


@dataclass(frozen=True)
class _Trouble:
    """The holder of a workspace, in words, and the error that names it."""

    holder: str
    error: str


def _trouble(error: str, holder: Mapping[str, Any] | None) -> _Trouble | None:
    name = "" if holder is None else described_holder(holder)
    return None if holder is None else _Trouble(name, error.replace("{}", name))


@contextmanager
def _taken(take: Callable[[ExitStack], _Trouble | None], subject: str, *, wait_s: float, say: Say) -> Iterator[None]:
    """Hold what `take` takes, once nothing is in its way; WriterError, which says what is, after `wait_s`."""
    begun, waits = time.monotonic(), False
    while True:
        with ExitStack() as stack:
            trouble = take(stack)
            if trouble is None:
                if waits:
                    say(f"{subject} is free after {time.monotonic() - begun:.0f} s")
                yield
                return
        left = begun + wait_s - time.monotonic()
        if left <= 0:
            raise WriterError(trouble.error)
        if not waits:
            say(f"for {subject}, at most {wait_s:.0f} s: {trouble.holder}")
        waits = True
        time.sleep(min(left, _WAIT_POLL_S))


def _take_slot(workspace: Workspace, work: str, stack: ExitStack) -> _Trouble | None:
    """Take a slot; what is in the way."""
    for number in itertools.count():
        path = workspace.locks / _SLOT.format(number)
        if holder_of(path) is None and stack.enter_context(lock_holder(path, work)) is None:
            break
    return _trouble(_refusal(workspace, "written while something is removed"), holder_of(workspace.locks / CLEANING))


def _take_all(workspace: Workspace, work: str, stack: ExitStack) -> _Trouble | None:
    """Take what keeps others from writing; what is in the way."""
    if (cleaner := stack.enter_context(lock_holder(workspace.locks / CLEANING, work))) is not None:
        return _trouble(_refusal(workspace, "cleaned by two at a time"), cleaner)
    holders = (holder_of(path) for path in sorted(workspace.locks.glob(_SLOT.format("*"))))
    writer = next((holder for holder in holders if holder is not None), None)
    return _trouble(_refusal(workspace, "cleaned while a command writes in it"), writer)


def _refusal(workspace: Workspace, rule: str) -> str:
    return f"workspace `{workspace.root}` must not be {rule}; {{}}. Nothing was changed: wait for it, or end it."
