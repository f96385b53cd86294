"""The questions about a class list, and of the answers the accepted texts, two versions side by side, and a digest."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.descriptions.chat.endpoint import EndpointRule
from evenly.descriptions.class_list import ClassList, parse_class_list
from evenly.descriptions.descriptions import ACCEPTED
from evenly.descriptions.method import DescriptionMethod
from evenly.descriptions.methods import METHODS, chosen_methods
from evenly.descriptions.texts.grounding import Subject

METHODS_ABOUT_PAIRS = frozenset(method.name for method in chosen_methods(list(METHODS)) if method.scope == "pair")


@dataclass(frozen=True, kw_only=True)
class DescribeRule(EndpointRule):
    """A class list as it stands in its `text`, by which methods it is described, and who is asked."""

    class_list: ClassList
    text: str
    methods: tuple[str, ...]

    def stored(self) -> dict[str, Any]:
        """The rule as the ledger stores it: the list by its name and text."""
        fields = {"methods": list(self.methods), "base_url": self.base_url, "model": self.model}
        return {"list": self.class_list.name, "text": self.text, **fields}

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> "DescribeRule":
        """The rule out of the fields of `stored`."""
        return cls(
            class_list=parse_class_list(stored["text"], stored["list"]),
            text=stored["text"],
            methods=tuple(stored["methods"]),
            base_url=stored["base_url"],
            model=stored["model"],
        )

    def wording(self) -> dict[str, Any]:
        """The wording of each method, by its question about a class that stands for all."""
        subject = Subject(name="one", against=Subject(name="other"))
        methods = chosen_methods(list(self.methods), small_model=self.is_embedded)
        questions = {
            method.name: [question.content(identity="", model="") for question in method.questions(subject)]
            for method in methods
        }
        return {"asked": questions, "instructions": [method.instruction for method in methods]}


@dataclass(frozen=True, kw_only=True)
class NamesRule:
    """The classes whose names are counted, in the captions of a `build`; None: of the run's sources."""

    class_list: ClassList
    build: str | None = None

    def stored(self) -> dict[str, Any]:
        """The rule as the ledger stores it: the list by its name, for its text stands with the description."""
        return {"list": self.class_list.name, "build": self.build}


def askings(methods: Sequence[DescriptionMethod], n_classes: int, n_pairs: int) -> int:
    """The total of the progress of `describe`: classes, pairs or the list, by each method about them."""
    counts = {"class": n_classes, "pair": n_pairs, "list": 1}
    return sum(counts[method.scope] for method in methods)


class Accepted:
    """The accepted rows of a table of descriptions, of which COLUMNS are read."""

    COLUMNS = ("class", "method", "text", "phrase", "verdict", "other")

    def __init__(self, table: pa.Table) -> None:
        self._rows: list[dict[str, Any]] = table.filter(pc.equal(table["verdict"], ACCEPTED)).to_pylist()

    def texts(self) -> dict[str, dict[str, list[str]]]:
        """Texts about classes: method -> class -> texts; the class "" stands for the list as a whole."""
        texts: dict[str, dict[str, list[str]]] = {}
        for row in self._rows:
            if row["method"] not in METHODS_ABOUT_PAIRS:
                texts.setdefault(row["method"], {}).setdefault(row["class"], []).append(row["text"])
        return texts

    def phrases(self) -> dict[str, list[str]]:
        """Class -> what texts of `description` and `caption_phrases` say of it, without its name around."""
        phrases: dict[str, list[str]] = {}
        for row in self._rows:
            if row["method"] in ("description", "caption_phrases"):
                phrases.setdefault(row["class"], []).append(row["phrase"])
        return phrases

    def of_pairs(self) -> list[list[str]]:
        """[class, class that it is told from, text] for each text about a pair, in the order of the table."""
        rows = [row for row in self._rows if row["method"] in METHODS_ABOUT_PAIRS]
        return [[row["class"], row["other"], row["text"]] for row in rows]


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


CLASSES_SHOWN = 3


def digest_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A table of descriptions for people: classes, methods (counts, reasons), shown (classes with all texts)."""
    classes = list(dict.fromkeys(str(row["class"]) for row in rows))
    return {
        "classes": len(classes),
        "methods": [_method(name, rows) for name in dict.fromkeys(row["method"] for row in rows)],
        "shown": [_class(name, rows) for name in _choose(classes, rows)],
    }


def _method(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    mine = [row for row in rows if row["method"] == name]
    reasons = Counter((row["verdict"], row["reason"] or "") for row in mine if row["verdict"] != "accepted")
    return {
        "method": name,
        "accepted": sum(row["verdict"] == "accepted" for row in mine),
        "others": sum(reasons.values()),
        "reasons": [(f"{verdict}: {reason}", count) for (verdict, reason), count in reasons.most_common()],
    }


def _choose(classes: list[str], rows: Sequence[dict[str, Any]]) -> list[str]:
    """The first, middle and last class of those that show something of both: texts accepted and texts rejected."""
    verdicts: dict[str, set[bool]] = {name: set() for name in classes}
    for row in rows:
        verdicts[str(row["class"])].add(row["verdict"] == "accepted")
    telling = [name for name in classes if len(verdicts[name]) == 2] or classes
    places = (
        {round(step * (len(telling) - 1) / (CLASSES_SHOWN - 1)) for step in range(CLASSES_SHOWN)} if telling else ()
    )
    return [telling[place] for place in sorted(places)]


def _class(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    mine = [row for row in rows if row["class"] == name]
    methods = dict.fromkeys(row["method"] for row in mine)
    accepted = sum(row["verdict"] == "accepted" for row in mine)
    return {
        "class": name,
        "accepted": accepted,
        "others": len(mine) - accepted,
        "methods": {method: _different(row for row in mine if row["method"] == method) for method in methods},
    }


def _different(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each text with its fate once: how many `times`, and all that it is said of besides the class (`others`)."""
    texts: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        texts.setdefault((row["text"], row["verdict"], row["reason"] or ""), []).append(row)
    return [
        {
            "text": text,
            "verdict": verdict,
            "reason": reason,
            "request_id": equal[0].get("request_id"),
            "times": len(equal),
            "others": list(dict.fromkeys(str(row["other"]) for row in equal if row.get("other"))),
            "is_difference": equal[0]["method"] == "differential",
        }
        for (text, verdict, reason), equal in texts.items()
    ]
