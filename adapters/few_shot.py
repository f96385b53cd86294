"""Few-shot draws by hash: k rows per class, nested in k, whatever the order of the rows."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evenly.adapters.contract import check_positive
from evenly.adapters.errors import SplitError
from evenly.adapters.features import Integers, Strings, checked_labels
from evenly.adapters.splits import unit_hash

_NAMED = 10


class FewShot(NamedTuple):
    """`indices` (m,) of the rows drawn, class by class, in the order of the draw; `notes` on what fell short."""

    indices: Integers
    notes: tuple[str, ...]


def few_shot(
    labels: Integers,
    keys: Sequence[str] | Strings,
    *,
    shots: int,
    seed: int,
    groups: Sequence[Any] | npt.NDArray[Any] | None = None,
    classes: Sequence[str] = (),
) -> FewShot:
    """Draw up to `shots` rows per class: those whose key has the smallest hash under `seed`.

    `labels` (n,) are class indices, `keys` (n,) name the rows and must differ. With `groups` (n,) a class gives one row
    of each of its groups before it gives a second one of any. The rows of k shots are among those of more shots, and
    the same rows come in the same order however the input is ordered. `notes` say which classes have fewer rows than
    `shots`, and which gave several rows of one group; `classes` names them and counts those without any row.
    """
    check_positive("shots", shots, integer=True)
    names = [str(key) for key in keys]
    _check_keys(names)
    largest = int(np.max(labels)) + 1 if len(labels) else 1
    checked = checked_labels(labels, n=len(names), n_classes=len(classes) or largest)
    rooms = names if groups is None else [str(group) for group in groups]
    if len(rooms) != len(names):
        raise SplitError(
            f"`groups` must hold one name per row, {len(names)}; got {len(rooms)}. Hand in both from the same rows."
        )
    members: defaultdict[int, list[int]] = defaultdict(list)
    for row in sorted(range(len(names)), key=lambda row: (unit_hash(seed, "few-shot", names[row]), names[row])):
        members[int(checked[row])].append(row)
    titles = list(classes) or [str(label) for label in range(largest)]
    drawn = [_groups_first(members[label], rooms)[:shots] for label in range(len(titles))]
    return FewShot(
        indices=np.array([row for rows in drawn for row in rows], dtype=np.int64),
        notes=_notes(titles, [[rooms[row] for row in rows] for rows in drawn], shots),
    )


def _groups_first(rows: list[int], groups: list[str]) -> list[int]:
    """The rows of one class so that the first of each group comes before the second of any."""
    met: Counter[str] = Counter()
    turns = []
    for row in rows:
        turns.append(met[groups[row]])
        met[groups[row]] += 1
    return [rows[place] for place in np.argsort(turns, kind="stable")]


def _notes(titles: list[str], drawn: list[list[str]], shots: int) -> tuple[str, ...]:
    """A sentence on classes that gave too few rows, and one on those that gave several rows of a group."""
    classes = list(zip(titles, drawn, strict=True))
    scarce = [f"{title} ({len(groups)})" for title, groups in classes if len(groups) < shots]
    shared = [f"{title} ({len(set(groups))})" for title, groups in classes if len(set(groups)) < len(groups)]
    sentences = (
        (scarce, f"have fewer than {shots} rows and gave all they have" if shots > 1 else "have no rows"),
        (shared, f"have fewer than {shots} groups and gave several rows of one group (groups)"),
    )
    return tuple(
        f"{len(concerned)} of {len(titles)} classes {problem}: {_listed(concerned)}"
        for concerned, problem in sentences
        if concerned
    )


def _listed(titles: list[str]) -> str:
    n_more = len(titles) - _NAMED
    return ", ".join(titles[:_NAMED]) + (f" and {n_more} more" if n_more > 0 else "")


def _check_keys(keys: list[str]) -> None:
    repeated = [key for key, count in Counter(keys).items() if count > 1]
    if repeated:
        raise SplitError(
            f"`keys` must name each row once; got `{repeated[0]}` twice or more ({len(repeated)} such keys). "
            "Hand in the uids of the rows."
        )
