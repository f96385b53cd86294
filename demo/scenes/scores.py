"""Scores of a caption against a scene's truth: objects, counts, colours and relations, right and wrong.

No model is asked: the names of the catalogue, their plurals and synonyms are looked for, the longest first. A kind
("an animal") is a general name: right if the scene has one, and never counted as an object named. What the truth does
not know (the colour of a thing of many colours) is not judged, nor a relation to what is not there.
"""

import functools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from evenly.demo.scenes.catalogue import KINDS, hand_of, plural_of, read_things
from evenly.demo.scenes.colours import SHADES

_COUNTS = {
    word: count
    for count, words in enumerate(
        ("a an one single", "two both pair couple", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), 1
    )
    for word in words.split()
} | {str(count): count for count in range(1, 11)}
_MANY = {"some", "several", "many", "few", "group", "bunch", "multiple", "various", "numerous"}
_DEFINITE = {"the", "this", "that", "these", "those", "its", "their", "his", "her"}
_DENIED = {"no", "without", "not"}
_ADJECTIVES = {"small", "little", "tiny", "big", "large", "huge", "bright", "dark", "light", "pale", "cute", "drawn"}
_ADJECTIVES |= {"young", "old", "other", "another", "cartoon", "plain"}
_COLOURS = {colour: colour for colour in (*SHADES, "black", "white", "grey")}
_COLOURS |= {"gray": "grey", "violet": "purple", "golden": "yellow", "crimson": "red", "scarlet": "red", "rosy": "pink"}
_RELATIONS = {
    ("left", "of"): "left_of",
    ("right", "of"): "right_of",
    ("above",): "above",
    ("over",): "above",
    ("below",): "below",
    ("beneath",): "below",
    ("underneath",): "below",
    ("under",): "below",
    ("on",): "on",
    ("atop",): "on",
    ("on", "top", "of"): "on",
}
"""The last words before an object -> what they say; who stands under something is below it, touched or not."""

_MODIFIERS = _COUNTS.keys() | _MANY | _DEFINITE | _ADJECTIVES | _COLOURS.keys()
_TOKEN = re.compile(r"[a-z]+|[0-9]+|[.;:!?]")
_END = frozenset(".;:!?")
Words = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SceneFacts:
    """The truth of a scene that captions are held against.

    counts and colours by thing, the colour None where none prevails; general: kinds, genders of people; relations:
    (thing, relation, thing).
    """

    counts: Mapping[str, int]
    colours: Mapping[str, str | None]
    general: frozenset[str]
    relations: frozenset[tuple[str, str, str]]


@dataclass(frozen=True, kw_only=True)
class CaptionScore:
    """Right and wrong statements of a caption, each thing once: names, (name, count), (name, colour), relations.

    A count of None stands for "several". `missed` are things of the scene that no name of theirs is said of; `general`
    are kinds that it has, `wrong_general` those that it has not.
    """

    named: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    general: tuple[str, ...] = ()
    wrong_general: tuple[str, ...] = ()
    counts: tuple[tuple[str, int | None], ...] = ()
    wrong_counts: tuple[tuple[str, int | None], ...] = ()
    colours: tuple[tuple[str, str], ...] = ()
    wrong_colours: tuple[tuple[str, str], ...] = ()
    relations: tuple[tuple[str, str, str], ...] = ()
    wrong_relations: tuple[tuple[str, str, str], ...] = ()

    @property
    def precision(self) -> float | None:
        """The share of the objects named that the scene has; None where none is named."""
        return _share(len(self.named), len(self.wrong))

    @property
    def recall(self) -> float | None:
        """The share of the scene's things that are named."""
        return _share(len(self.named), len(self.missed))

    @property
    def has_error(self) -> bool:
        """Whether it says anything wrong."""
        return bool(self.wrong or self.wrong_general or self.wrong_counts or self.wrong_colours or self.wrong_relations)


@dataclass(frozen=True)
class _Entry:
    """The meaning of words: things, or a kind; `is_plural` where they are never singular."""

    names: tuple[str, ...]
    is_general: bool
    is_plural: bool


@dataclass(frozen=True)
class _Mention:
    """Words of a caption for a thing or a kind.

    names: what they may stand for; start: of its article, number and adjectives; count: 0 where it says none.
    """

    names: tuple[str, ...]
    is_general: bool
    start: int
    end: int
    count: int | None
    colours: tuple[str, ...]


def facts_of(row: Mapping[str, Any]) -> SceneFacts:
    """The facts of a row of truth.parquet."""
    names = [thing["name"] for thing in row["things"]]
    kinds = [read_things()[name].kinds for name in names]
    people = [hand_of(item["code"]).gender for item in row["objects"] if "person" in kinds[item["thing"]]]
    return SceneFacts(
        counts={thing["name"]: thing["count"] for thing in row["things"]},
        colours={thing["name"]: thing["colour"] for thing in row["things"]},
        general=frozenset(kind for of_thing in kinds for kind in of_thing) | (frozenset(people) - {""}),
        relations=frozenset(
            (names[relation["subject"]], relation["relation"], names[relation["object"]])
            for relation in row["relations"]
        ),
    )


def score_caption(caption: str, facts: SceneFacts, *, further_names: Collection[str] = ()) -> CaptionScore:
    """Hold a caption against the facts of a scene.

    `further_names` are singular names of other things that captions may name, such as the concepts that a captioner
    draws from; they are wrong wherever they are said, since no scene shows them.
    """
    tokens = _TOKEN.findall(caption.lower())
    statements: dict[str, dict[Any, None]] = {field.name: {} for field in fields(CaptionScore)}
    previous: tuple[_Mention, str | None] | None = None
    for mention in _mentions(tokens, _vocabulary(frozenset(further_names))):
        name = next((name for name in mention.names if name in facts.counts), None)
        if mention.is_general:
            true_names = [kind for kind in mention.names if kind in facts.general]
            statements["general" if true_names else "wrong_general"][(true_names or mention.names)[0]] = None
        elif name is None:
            statements["wrong"][mention.names[0]] = None
        else:
            statements["named"][name] = None
            _judge_attributes(mention, name, facts, statements)
        if previous is not None and previous[1] and name and not mention.is_general:
            relation = _relation(tokens[previous[0].end : mention.start])
            if relation is not None:
                claim = (previous[1], relation, name)
                statements["relations" if claim in facts.relations else "wrong_relations"][claim] = None
        previous = (mention, None if mention.is_general else name)
    statements["missed"] = {name: None for name in facts.counts if name not in statements["named"]}
    return CaptionScore(**{field: tuple(values) for field, values in statements.items()})


def total_scores(scores: Iterable[CaptionScore]) -> dict[str, float | int | None]:
    """Sums over captions per field, and precision and recall of objects, counts, colours and relations over all."""
    sums = {field.name: 0 for field in fields(CaptionScore)}
    for score in scores:
        for field in sums:
            sums[field] += len(getattr(score, field))
    precisions = {
        f"{part}_precision": _share(sums[part], sums[f"wrong_{part}"]) for part in ("counts", "colours", "relations")
    }
    precision, recall = _share(sums["named"], sums["wrong"]), _share(sums["named"], sums["missed"])
    return {**sums, "precision": precision, "recall": recall, **precisions}


def _judge_attributes(mention: _Mention, name: str, facts: SceneFacts, mentioned: dict[str, dict[Any, None]]) -> None:
    true = facts.counts[name]
    if mention.count != 0:
        is_right = true > 1 if mention.count is None else true == mention.count
        mentioned["counts" if is_right else "wrong_counts"][name, mention.count] = None
    if (colour := facts.colours[name]) is not None:
        for claimed in mention.colours:
            mentioned["colours" if claimed == colour else "wrong_colours"][name, claimed] = None


def _mentions(tokens: Sequence[str], vocabulary: Mapping[Words, _Entry]) -> Iterator[_Mention]:
    """The mentions of a caption, in its order; what it denies ("no dog") is left out."""
    longest = max(map(len, vocabulary))
    place = 0
    while place < len(tokens):
        lengths = range(min(longest, len(tokens) - place), 0, -1)
        words = (tuple(tokens[place : place + length]) for length in lengths)
        term = next((candidate for candidate in words if candidate in vocabulary), None)
        if term is None:
            place += 1
            continue
        mention = _mention(tokens, place, place + len(term), vocabulary[term])
        place = mention.end
        if not mention.start or tokens[mention.start - 1] not in _DENIED:
            yield mention


def _mention(tokens: Sequence[str], start: int, end: int, entry: _Entry) -> _Mention:
    """The mention at tokens[start:end], with what stands before it ("two red") and the "are red" behind it."""
    first = start
    while first and (tokens[first - 1] in _MODIFIERS or _is_of_many(tokens[:first])):
        first -= 1
    preceding = tokens[first:start]
    numbers = [_COUNTS[word] for word in preceding if word in _COUNTS]
    count: int | None = None if entry.is_plural else 0
    if _MANY & set(preceding):
        count = None
    elif numbers:
        count = max(numbers)
    elif _DEFINITE & set(preceding):
        count = 0
    said_behind = tokens[end + 1 : end + 2] if tokens[end : end + 1] in (["is"], ["are"]) else []
    colours = tuple(_COLOURS[word] for word in [*preceding, *said_behind] if word in _COLOURS)
    return _Mention(entry.names, entry.is_general, first, end, count, colours)


def _is_of_many(tokens: Sequence[str]) -> bool:
    """Whether the last word is the "of" of "a pair of", "a group of"."""
    return len(tokens) > 1 and tokens[-1] == "of" and tokens[-2] in _MANY | {"pair", "couple"}


def _relation(words: Sequence[str]) -> str | None:
    """The relation that the words between two mentions state; None if they end with none."""
    if _END & set(words):
        return None
    for length in (3, 2, 1):
        if (relation := _RELATIONS.get(tuple(words[-length:]))) is not None and len(words) >= length:
            return relation
    return None


@functools.lru_cache(maxsize=8)
def _vocabulary(further: frozenset[str]) -> Mapping[Words, _Entry]:
    """Words -> what they stand for: things, then kinds and genders, then further names, the first that has them."""
    things, kinds, further_names = _Names(), _Names(), _Names()
    for name, thing in read_things().items():
        for singular, plural in {name: thing.plural, **thing.synonyms}.items():
            things.add(singular, plural, name)
    for kind, (plural, *synonyms) in KINDS.items():
        kinds.add(kind, plural, kind)
        for synonym in synonyms:
            kinds.add(synonym, plural_of(synonym), kind)
    kinds.add("man", "men", "man")
    kinds.add("woman", "women", "woman")
    for name in sorted(further):
        further_names.add(name, plural_of(name), name)
    return further_names.entries(is_general=False) | kinds.entries(is_general=True) | things.entries(is_general=False)


class _Names:
    """Words of one sort, each with what it stands for."""

    def __init__(self) -> None:
        self._singular: dict[Words, list[str]] = {}
        self._plural: dict[Words, list[str]] = {}

    def add(self, singular: str, plural: str, name: str) -> None:
        """Take in two words for a name."""
        for words, entries in ((singular, self._singular), (plural, self._plural)):
            if tokens := tuple(_TOKEN.findall(words.lower())):
                entries.setdefault(tokens, []).append(name)

    def entries(self, *, is_general: bool) -> dict[Words, _Entry]:
        """All of them; a word that is singular and plural ("sheep") is not plural."""
        words = self._plural | self._singular
        return {
            tokens: _Entry(tuple(dict.fromkeys(names)), is_general, tokens not in self._singular)
            for tokens, names in words.items()
        }


def _share(right: int, wrong: int) -> float | None:
    return right / (right + wrong) if right + wrong else None
