"""Two versions of the texts of a class list side by side: what stayed, what went, what is new."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.descriptions.descriptions import ACCEPTED

KEPT, GONE, NEW = "kept", "gone", "new"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The result of `compare_texts`.

    `texts`: rows of class, method, text and state (kept, gone or new), by the classes of the second version in its
    order, then those that only the first has; within a class by method and text as the versions have them, the first
    version's before what is new. `counts`: method -> state -> number. `classes_gone`, `classes_new`: names, in order.
    """

    texts: tuple[dict[str, str], ...]
    counts: dict[str, dict[str, int]]
    classes_gone: tuple[str, ...]
    classes_new: tuple[str, ...]


def compare_texts(first: pa.Table, second: pa.Table, *, classes: tuple[Sequence[str], Sequence[str]]) -> Comparison:
    """Compare the accepted texts of two tables of `descriptions.SCHEMA`, and their class lists `classes`.

    Texts are the same where class, method and text are; each counts once. Verdicts other than accepted do not count.
    """
    old_texts, new_texts = _texts(first), _texts(second)
    rows = [(key, KEPT if key in new_texts else GONE) for key in old_texts]
    rows += [(key, NEW) for key in new_texts if key not in old_texts]
    order = {name: place for place, name in enumerate(dict.fromkeys([*classes[1], *classes[0]]))}
    methods = list(dict.fromkeys(method for (_, method, _), _ in rows))
    rows.sort(key=lambda row: (order.get(row[0][0], len(order)), methods.index(row[0][1])))
    counts = Counter((method, state) for (_, method, _), state in rows)
    return Comparison(
        texts=tuple(
            {"class": name, "method": method, "text": text, "state": state} for (name, method, text), state in rows
        ),
        counts={method: {state: counts[method, state] for state in (KEPT, GONE, NEW)} for method in methods},
        classes_gone=tuple(name for name in classes[0] if name not in set(classes[1])),
        classes_new=tuple(name for name in classes[1] if name not in set(classes[0])),
    )


def _texts(table: pa.Table) -> dict[tuple[Any, ...], None]:
    chosen = table.filter(pc.field("verdict") == ACCEPTED)
    return dict.fromkeys(zip(*(chosen[name].to_pylist() for name in ("class", "method", "text")), strict=True))
