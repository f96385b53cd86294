"""Descriptions in the JSON shapes that the public code of VCD, CuPL and FuDD reads.

`TEXT_EXPORTS` is the list of them: an export is a function and a line here, a test and a row of docs/exports.md. No
class is ever left with an empty list: what has no text stands there by its name alone, and is reported.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.descriptions.descriptions import ACCEPTED

TEMPLATE = "a photo of a {}."
"""Stands for a class without sentences, as in the public code of FuDD."""
SENTENCES = ("prompts", "questions")


@dataclass(frozen=True, kw_only=True)
class TextExport:
    """`content`, ready for JSON, with classes in the order of the list; how many `texts` of the version are in it.

    `fallbacks` names the classes, or the pairs and their side, that stand there by the name alone; `notes` are
    sentences on what other code will read differently.
    """

    content: dict[str, Any]
    texts: int
    fallbacks: tuple[str, ...]
    notes: tuple[str, ...] = ()


def export_vcd(table: pa.Table, classes: Sequence[str]) -> TextExport:
    """Descriptors of each class, by the method `description`, as classify_by_description_release reads them.

    That code makes a text "{class}, which has {descriptor}" of each, and takes any first letter a for the article
    ("antlers" becomes "which is antlers"): such a descriptor is written with "has" before it, which it joins rightly. A
    class without descriptors has "a type of {class}".
    """
    phrases = _per_class(table, classes, ("description",), "phrase")
    joined = {name: [_guarded(phrase) for phrase in own_phrases] for name, own_phrases in phrases.items()}
    content = {name: own_phrases or [f"a type of {name}"] for name, own_phrases in joined.items()}
    texts = _per_class(table, classes, ("description",), "text")
    n_joined_otherwise = sum(
        text != f"{name}, {_published_join(phrase)}"
        for name in classes
        for phrase, text in zip(joined[name], texts[name], strict=True)
    )
    notes = (
        (f"{n_joined_otherwise} descriptors are joined to the class name by other words than here",)
        if n_joined_otherwise
        else ()
    )
    return TextExport(content=content, texts=sum(map(len, joined.values())), fallbacks=_without(phrases), notes=notes)


def export_cupl(table: pa.Table, classes: Sequence[str]) -> TextExport:
    """Sentences of each class by the methods `prompts` and `questions`, as CuPL reads them; without any, a template."""
    texts = _per_class(table, classes, SENTENCES, "text")
    sentences = {name: list(dict.fromkeys(own_texts)) for name, own_texts in texts.items()}
    content = {name: own_texts or [TEMPLATE.replace("{}", name)] for name, own_texts in sentences.items()}
    return TextExport(content=content, texts=sum(map(len, sentences.values())), fallbacks=_without(sentences))


def export_fudd(table: pa.Table, classes: Sequence[str]) -> TextExport:
    """Pairs of prompts under "{a}_{b}", as FuDD reads them; a < b are positions in the class list.

    The texts of the method `differential` that tell a from b stand beside those that tell b from a: those of one reply
    on one attribute together, then what is left on both sides. Where one side has fewer, its first text stands again,
    which that code drops, as it does one that is used against several classes; where it has none, the template does,
    and it is a fallback. A pair without any text is left out: that code puts the template in its place.
    """
    places = {name: place for place, name in enumerate(classes)}
    sides: dict[tuple[int, int], tuple[list[_Difference], list[_Difference]]] = {}
    for row in _accepted(table, ("differential",)):
        a, b = places[row["class"]], places[row["other"]]
        side = sides.setdefault((min(a, b), max(a, b)), ([], []))[a > b]
        if row["text"] not in (difference.text for difference in side):
            side.append(_difference(row))
    content: dict[str, Any] = {}
    fallbacks = []
    for (a, b), (first, second) in sorted(sides.items()):
        for label, rival, differences in ((a, b, first), (b, a, second)):
            if not differences:
                differences.append(_Difference(text=TEMPLATE.replace("{}", classes[label])))
                fallbacks.append(f"{classes[label]} against {classes[rival]}")
        pairs = [
            {"attr_type": left.attribute or right.attribute, "prompt_pair": [left.text, right.text]}
            for left, right in _side_by_side(first, second)
        ]
        content[f"{a}_{b}"] = {"classes": [a, b], "prompt_pairs": pairs}
    texts = len({(row["class"], row["text"]) for row in _accepted(table, ("differential",))})
    return TextExport(content=content, texts=texts, fallbacks=tuple(fallbacks))


@dataclass(frozen=True, kw_only=True)
class _Difference:
    """A text that tells a class from another; `origin` is the same for the two of one attribute in one reply."""

    text: str
    attribute: str = ""
    origin: tuple[str, str] | None = None


def _difference(row: Mapping[str, Any]) -> _Difference:
    attribute, colon, _ = row["phrase"].partition(": ")
    attribute = attribute if colon else ""
    return _Difference(text=row["text"], attribute=attribute, origin=(str(row["request_id"]), attribute))


def _side_by_side(first: list[_Difference], second: list[_Difference]) -> Iterator[tuple[_Difference, _Difference]]:
    left, right = list(first), list(second)
    for difference in first:
        partner = next(
            (
                candidate
                for candidate in right
                if candidate.origin is not None and candidate.origin == difference.origin
            ),
            None,
        )
        if partner is not None:
            left.remove(difference)
            right.remove(partner)
            yield difference, partner
    yield from ((left_text or first[0], right_text or second[0]) for left_text, right_text in zip_longest(left, right))


TEXT_EXPORTS: Mapping[str, Callable[[pa.Table, Sequence[str]], TextExport]] = {
    "vcd": export_vcd,
    "cupl": export_cupl,
    "fudd": export_fudd,
}


def _accepted(table: pa.Table, methods: Sequence[str]) -> list[dict[str, Any]]:
    chosen = table.filter((pc.field("verdict") == ACCEPTED) & pc.field("method").isin(list(methods)))
    rows: list[dict[str, Any]] = chosen.to_pylist()
    return rows


def _per_class(table: pa.Table, classes: Sequence[str], methods: Sequence[str], column: str) -> dict[str, list[str]]:
    by_class: dict[str, list[str]] = {name: [] for name in classes}
    for row in _accepted(table, methods):
        by_class[row["class"]].append(row[column])
    return by_class


def _without(texts: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    return tuple(name for name, class_texts in texts.items() if not class_texts)


def _guarded(phrase: str) -> str:
    """The phrase, with "has" before a first word that only begins like an article."""
    return f"has {phrase}" if phrase.startswith("a") and not re.match(r"an?\b", phrase) else phrase


def _published_join(descriptor: str) -> str:
    """A descriptor joined to the name of its class as classify_by_description_release (loading_helpers.py) does."""
    if descriptor.startswith(("a", "used")):
        return f"which is {descriptor}"
    if descriptor.startswith(("has", "often", "typically", "may", "can")):
        return f"which {descriptor}"
    return f"which has {descriptor}"
