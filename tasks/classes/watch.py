"""The class lists of a watched folder: those that are new, those that are broken, and what became of each."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from evenly.descriptions.class_list import parse_class_list
from evenly.descriptions.errors import ClassListError
from evenly.descriptions.methods import chosen_methods
from evenly.storage.files.class_lists import ClassFile, ClassFiles, Watched
from evenly.storage.records import content_hash
from evenly.tasks.run import Run
from evenly.tasks.server.api import part

if TYPE_CHECKING:
    from prefect import State

DESCRIBED, BROKEN, FAILED, WAITING = "described", "broken", "failed", "waiting"


class ListsFailedError(RuntimeError):
    """Some of the new class lists could not be described; the others were."""


@dataclass(frozen=True, kw_only=True)
class NewList:
    """A class list whose content is new; `content` is the hash by which it is noted."""

    name: str
    text: str
    place: str
    content: str


@dataclass(frozen=True, kw_only=True)
class FolderLook:
    """The result of a look: lists to describe, and a row (file, status) for each that waits or is newly broken."""

    new: tuple[NewList, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = field(default=())


@part("look into {folder}")
def look_for_lists(run: Run, folder: str, method: Mapping[str, Any], *, settle_s: float) -> FolderLook:
    """The class lists of a folder or prefix that nobody has described as `how` says (methods, base_url, model).

    A list counts by its bytes: a copy, another name or a second look bring nothing new. One that was changed less than
    `settle_s` seconds ago, or while it was read, waits for the next look. A broken list is noted, said and returned
    once, until its content changes, and stops no other. Raises UnknownMethodError before anything is read.
    """
    chosen_methods(method["methods"])
    files, time, watched = ClassFiles(run.expand(folder)), datetime.now(UTC), Watched(run.workspace)
    new: dict[str, NewList] = {}
    rows: list[Mapping[str, Any]] = []
    for file in files.find():
        text = _settled_text(files, file, time=time, settle_s=settle_s)
        if text is None:
            rows.append({"file": _shown(file.place), "status": WAITING})
            continue
        problem = file.problem and [ascii(file.place), file.problem]
        content = content_hash({"bytes": hashlib.sha256(text).hexdigest(), "about": problem, "how": dict(method)})
        if content in new or watched.get(content) is not None:
            continue
        problems = [f"{_shown(file.place)}: {file.problem}"] if file.problem else _problems(text, file)
        if problems:
            rows.append(_note(run, content, file.place, {"status": BROKEN, "problems": problems}))
        else:
            new[content] = NewList(name=file.name, text=text.decode(), place=file.place, content=content)
    return FolderLook(new=tuple(new.values()), rows=tuple(rows))


@part("note what was described")
def note_described(run: Run, look: FolderLook, states: Sequence["State[str]"]) -> list[Mapping[str, Any]]:
    """The rows of a look, and one for each new list by the state in which its description ended: described, broken.

    A list whose synset does not exist is broken. Whatever else failed (an endpoint, a budget) is not noted, so that the
    next look tries again, without asking for anything that is stored already; once all are noted ListsFailedError says
    which.
    """
    rows = list(look.rows)
    failures = []
    for new_list, state in zip(look.new, states, strict=True):
        result: Any = state.result(raise_on_failure=False)
        if state.is_completed():
            outcome = {"status": DESCRIBED, "list": new_list.name, "step": result}
        elif isinstance(result, ClassListError):
            outcome = {"status": BROKEN, "problems": list(result.problems)}
        else:
            failures.append(f"`{_shown(new_list.place)}`: {result}")
            continue
        rows.append(_note(run, new_list.content, new_list.place, outcome))
    if failures:
        raise ListsFailedError(
            f"every new class list must be described; {len(failures)} of {len(look.new)} were not. The next look tries "
            "again. " + " ".join(failures)
        )
    return rows


def rows_in_words(rows: Sequence[Mapping[str, Any]]) -> str:
    """The number of rows of a look per status, in a line that names the lists that were described."""
    counts = Counter(str(row["status"]) for row in rows)
    described = ", ".join(str(row["list"]) for row in rows if row["status"] == DESCRIBED)
    names = {DESCRIBED: f" ({described})"}
    return ", ".join(f"{count:,} {status}{names.get(status, '')}" for status, count in counts.items()) or "no new list"


def _settled_text(files: ClassFiles, file: ClassFile, *, time: datetime, settle_s: float) -> bytes | None:
    """The bytes of a file that may be read and has rested; b"" where it may not be read; None where it must wait."""
    if file.problem:
        return b""
    return files.read(file) if file.settled(time, settle_s=settle_s) else None


def _problems(text: bytes, file: ClassFile) -> list[str]:
    try:
        parse_class_list(text.decode(), file.name)
    except UnicodeDecodeError:
        return [f"{_shown(file.place)}: a class list must be UTF-8 text; this file is not. Write one class per line."]
    except ClassListError as error:
        return list(error.problems)
    return []


def _note(run: Run, content: str, place: str, outcome: Mapping[str, Any]) -> Mapping[str, Any]:
    """Keep an outcome for good and say it."""
    row = {"file": _shown(place), **outcome}
    Watched(run.workspace).put(content, {**row, "time": datetime.now(UTC).isoformat(timespec="seconds")})
    for line in outcome.get("problems") or (f"{row['file']}: {outcome['status']}",):
        run.progress.say(line)
    return row


def _shown(place: str) -> str:
    """A place as one line that is safe to print and to store: file names are data of others."""
    return place if place.isprintable() else ascii(place)[1:-1]
