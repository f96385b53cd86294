"""Orders that captions say of two things: "a cup above a plate", and what is said with both exchanged."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

_SIDE = r"(?:(?:on|to|at) the )?{}(?: side)? of"
PLACES: Mapping[str, tuple[int, int]] = {
    _SIDE.format("left"): (-1, 0),
    _SIDE.format("right"): (1, 0),
    "on top of|above|over|atop|on": (0, -1),
    "below|beneath|underneath|under": (0, 1),
}
"""Words of place, and where the subject lies from the object: to the right, and down."""
_ARTICLE = r"\b(?:an?|the|one|two|three|some|his|her|its|their)\b"
_LAST_ARTICLE = re.compile(rf".*(?={_ARTICLE})|\W*(?:and\b\W*)?", re.IGNORECASE | re.DOTALL)
_VERB = re.compile(rf"\W*(?!(?:and|or)\b)\b.+?(?={_ARTICLE}|$)", re.IGNORECASE | re.DOTALL)
_ASIDE = re.compile(r"\s*\([^()]*\)|")


@dataclass(frozen=True, kw_only=True)
class Order:
    """A caption, where its subject and object stand in it, their labels, and the relation between them."""

    caption: str
    spans: tuple[slice, slice]
    labels: tuple[str, str]
    relation: str

    @property
    def place(self) -> tuple[int, int]:
        """Where the subject lies from the object by PLACES; (0, 0) where the relation does not say."""
        places = (place for words, place in PLACES.items() if re.fullmatch(words, self.relation, re.IGNORECASE))
        return next(places, (0, 0))

    @property
    def phrases(self) -> tuple[str, str]:
        """The words of subject and object."""
        return self.caption[self.spans[0]], self.caption[self.spans[1]]

    @property
    def swapped(self) -> "Order":
        """The same with subject and object exchanged."""
        subject, thing = self.spans
        first, second = self.phrases
        text, middle = self.caption, self.caption[subject.stop : thing.start]
        spans = slice(subject.start, subject.start + len(second)), slice(thing.stop - len(first), thing.stop)
        caption = text[: subject.start] + second + middle + first + text[thing.stop :]
        return replace(self, caption=caption, spans=spans, labels=self.labels[::-1])


@dataclass(frozen=True, kw_only=True)
class OrderParser:
    """Reads captions by the names of things, each with its label. relations: words beside PLACES.

    verbs: whatever stands between two things is a relation, but for "and" and "or".
    """

    labels: Mapping[str, str]
    relations: Sequence[str] = ()
    verbs: bool = False

    def orders(self, captions: Iterable[str]) -> Iterator[tuple[int, Order]]:
        """The place of each caption that has one, and its first order of two things that stand next to one another."""
        labels = {name.lower(): label for name, label in self.labels.items() if name}
        if not labels:
            return
        things = re.compile(rf"\b({_any_of(labels)})(?:e?s)?\b", re.IGNORECASE)
        words = [*PLACES, *([_any_of(self.relations)] if self.relations else [])]
        relations = re.compile(rf"\b(?:{'|'.join(words)})\b", re.IGNORECASE)
        for place, caption in enumerate(captions):
            order = self._order(caption, things, relations, labels)
            if order is not None and order.swapped.caption != caption:
                yield place, order

    def _order(
        self, caption: str, things: re.Pattern[str], relations: re.Pattern[str], labels: Mapping[str, str]
    ) -> Order | None:
        plain, low = re.sub(r"\([^()]*\)", lambda aside: " " * len(aside[0]), caption), 0
        for first, second in pairwise(things.finditer(plain)):
            gap = plain[first.end() : second.start()]
            verb = _VERB.match(gap) if self.verbs else None
            matches = [*relations.finditer(gap)] or ([verb] if verb else [])
            if matches and not re.search("[.;:!?]", gap):
                after, relation = first.end() + matches[-1].end(), matches[-1][0].strip()
                return Order(
                    caption=caption,
                    spans=(_span(caption, plain, low, first), _span(caption, plain, after, second)),
                    labels=(labels[first[1].lower()], labels[second[1].lower()]),
                    relation=relation,
                )
            low = first.end()
        return None


def _span(caption: str, plain: str, low: int, thing: re.Match[str]) -> slice:
    """A thing with the words before it from its article, or from `low`, and an aside behind it."""
    opening, aside = _LAST_ARTICLE.match(plain, low, thing.start()), _ASIDE.match(caption, thing.end())
    return slice(opening.end() if opening else thing.start(), aside.end() if aside else thing.end())


def _any_of(words: Iterable[str]) -> str:
    """A pattern of any of the words, the longest first."""
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
