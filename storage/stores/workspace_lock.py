"""Use of a workspace: many processes may write in it at once, one of them a recipe, and who removes something is alone.

That a recipe has one writer keeps two rebuilds from doing the same work twice: nothing rests on it, since what is
acknowledged is created where nothing was. A writer holds a slot, a lock of its own, and who removes holds CLEANING.
Each takes its own first and looks for the others' then: so never do both go on, whichever was first.
"""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenly.storage.errors import WriterError
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.stores.writer_lock import TAKEN_OVER_AFTER_S, described_holder, holder_of, lock_holder
from evenly.storage.workspace import Workspace

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
    """The holder of a workspace: who it is, and the error that says so."""

    who: str
    error: str


def _trouble(error: str, holder: Mapping[str, Any] | None) -> _Trouble | None:
    who = "" if holder is None else described_holder(holder)
    return None if holder is None else _Trouble(who, error.replace("{}", who))


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
            say(f"for {subject}, at most {wait_s:.0f} s: {trouble.who}")
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
