"""Captions of scenes: right, vague, wrong in one way, and long ones of which a late sentence alone is of the scene."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from evenly.demo.draws import demo_draw, lowest, pick
from evenly.demo.scenes.catalogue import KINDS, Thing, read_things
from evenly.demo.scenes.colours import SHADES
from evenly.demo.scenes.layout import REVERSED
from evenly.demo.scenes.plans import COUNTS, NEIGHBOURS, ScenePlan

NUMBERS = {1: "a", 2: "two", 3: "three", 4: "four"}
OTHER_END = 0.3
"""The share of captions that say the reverse of the planned relation: "a bus under a cat" for a cat on a bus."""

SENTENCES = 30
LATE = range(24, 30)
"""The places, from 1, of the sentence that is of the scene."""

_WORDS = {"left_of": "left of", "right_of": "right of"}
_TEMPLATES = ("{}", "{}", "a drawing of {}", "a picture of {}", "an illustration of {}")
_VAGUE = ("{}", "a drawing of {}", "a picture with {}", "here we see {}")
_UNCOUNTED = {"clothing", "food", "furniture", "fruit"}
_STYLE = (
    "This is a drawing and no photograph.",
    "It was made with few means.",
    "All outlines are black.",
    "The lines are of even width.",
    "Where two lines meet, their ends are round.",
    "The areas between the lines are filled evenly.",
    "There is hardly any shading.",
    "No texture was added anywhere.",
    "The light comes from no direction in particular.",
    "Nothing casts a shadow.",
    "The picture is wider than it is high.",
    "Its format is that of an old screen.",
    "A narrow margin all around stays empty.",
    "Everything is drawn as simply as possible.",
    "Details that do not matter were left out.",
    "The sizes are not those of life.",
    "Large and small may look alike here.",
    "Depth is not shown.",
    "There is no perspective either.",
    "The style is the same throughout.",
    "It reminds one of pictograms.",
    "Such drawings are seen in messages.",
    "They are easy to recognise even when small.",
    "The shades come from a fixed palette.",
    "They are bright rather than muted.",
    "The backdrop is pale, so that the outlines stand out.",
    "Nothing is blurred.",
    "Edges are sharp wherever one looks.",
    "The drawing has no frame.",
    "It has no title and no signature.",
    "Who made it is not said.",
    "When it was made is not said either.",
    "It could be printed on paper or shown on a screen.",
    "Either way it would look the same.",
    "One can take it in at a glance.",
    "Looking longer does no harm.",
)


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A caption's statements on a scene: (name, count, colour or None) of things, their relations, the background."""

    things: tuple[tuple[str, int, str | None], ...]
    relations: tuple[tuple[int, str, int], ...]
    background: str

    def text(self) -> str:
        """It in words: the first two things as the first relation orders them, then the third by the second."""
        first, *further = self.relations or ((0, "", 0),)
        words = self._phrase(first[0])
        if self.relations:
            words += f" {_relation(first[1])} {self._phrase(first[2])}"
        for subject, relation, target in further:
            name, count, _ = self.things[target]
            words += f", and {self._phrase(subject)} {_relation(relation)} the {_thing(name).noun(count)}"
        return f"{words} {self.background}"

    def _phrase(self, place: int) -> str:
        name, count, colour = self.things[place]
        noun = f"{colour} {_thing(name).noun(count)}" if colour else _thing(name).noun(count)
        return indefinite(noun) if count == 1 else f"{NUMBERS[count]} {noun}"


@dataclass(frozen=True, kw_only=True)
class LongCaption:
    """`text` of 30 sentences; `sentence` at `place`, from 1, is of the scene alone, all others are its neighbours'."""

    text: str
    sentence: str
    place: int


def statement_of(plan: ScenePlan) -> Statement:
    """The facts of a scene; colours are named where they were given, and the first relation from either end."""
    relations = plan.relations
    if relations and demo_draw(plan.seed, *plan.key, "from the other end") < OTHER_END:
        subject, relation, target = relations[0]
        relations = ((target, REVERSED[relation], subject), *relations[1:])
    return Statement(
        things=tuple((group.name, group.count, group.colour) for group in plan.groups),
        relations=relations,
        background=plan.background,
    )


def short_caption(plan: ScenePlan) -> str:
    """A sentence without end that names all things of the scene, rightly."""
    return _template(plan).format(statement_of(plan).text())


def wrong_captions(plan: ScenePlan) -> dict[str, str]:
    """The short caption made wrong, by kind, of the kinds that the scene has.

    colour: two things have each other's colour, or one another; relation: the first two things have each other's place;
    object: another thing stands for one; count: one has another number.
    """
    template = _template(plan)
    return {kind: template.format(wrong.text()) for kind, wrong in _wrong(plan).items()}


def vague_caption(plan: ScenePlan) -> str:
    """A caption that says of what kind the things are, and no more."""
    kinds: dict[str, int] = {}
    for group in plan.groups:
        kind = next(iter(group.thing.kinds), "thing")
        kinds[kind] = kinds.get(kind, 0) + group.count
    phrases = [
        f"some {kind}"
        if kind in _UNCOUNTED
        else indefinite(kind)
        if count == 1
        else f"some {KINDS[kind][0] if kind in KINDS else 'things'}"
        for kind, count in kinds.items()
    ]
    listed = " and ".join([", ".join(phrases[:-1]), phrases[-1]] if phrases[1:] else phrases)
    return pick(_VAGUE, plan.seed, *plan.key, "vague").format(listed)


def long_caption(plan: ScenePlan) -> LongCaption:
    """30 sentences, of which the neighbours of the scene share 29."""
    return with_late_sentence(statement_of(plan).text(), plan)


def with_late_sentence(shown: str, plan: ScenePlan) -> LongCaption:
    """30 sentences on a picture that shows what is said, of which its neighbours share 29."""
    family = str(plan.number // NEIGHBOURS)
    shared = lowest(_STYLE, SENTENCES - 1, plan.seed, f"style of {family}")
    place = pick(LATE, plan.seed, *plan.key, "late")
    sentence = f"What it shows is {shown}."
    return LongCaption(
        text=" ".join([*shared[: place - 1], sentence, *shared[place - 1 :]]), sentence=sentence, place=place
    )


def _wrong(plan: ScenePlan) -> Mapping[str, Statement]:
    true = statement_of(plan)
    wrong = {"object": _other_object(plan, true), "count": _other_count(plan, true)}
    coloured = [place for place, (_, _, colour) in enumerate(true.things) if colour]
    if coloured:
        wrong["colour"] = _other_colours(plan, true, coloured)
    if true.relations:
        (subject, relation, target), *further = true.relations
        wrong["relation"] = replace(true, relations=((target, relation, subject), *further))
    return wrong


def _other_colours(plan: ScenePlan, true: Statement, coloured: list[int]) -> Statement:
    """Two different colours change places; where there are no two, one thing has another."""
    first = coloured[0]
    partner = next((place for place in coloured if true.things[place][2] != true.things[first][2]), None)
    if partner is None:
        alternatives = [colour for colour in SHADES if colour != true.things[first][2]]
        return _with(true, first, colour=pick(alternatives, plan.seed, *plan.key, "wrong colour"))
    swapped = _with(true, first, colour=true.things[partner][2])
    return _with(swapped, partner, colour=true.things[first][2])


def _other_object(plan: ScenePlan, true: Statement) -> Statement:
    shown = {name for name, _, _ in true.things}
    place = pick(range(len(true.things)), plan.seed, *plan.key, "wrong object")
    alternatives = [
        name
        for name, thing in read_things().items()
        if not _shares_words(thing, shown) and (thing.is_recoloured or not true.things[place][2])
    ]
    return _with(true, place, name=pick(alternatives, plan.seed, *plan.key, "wrong name"))


def _other_count(plan: ScenePlan, true: Statement) -> Statement:
    place = pick(range(len(true.things)), plan.seed, *plan.key, "wrong count of")
    alternatives = [count for count in COUNTS if count != true.things[place][1]]
    return _with(true, place, count=pick(alternatives, plan.seed, *plan.key, "wrong count"))


def _with(
    true: Statement, place: int, *, name: str | None = None, count: int | None = None, colour: str | None = None
) -> Statement:
    own_name, own_count, own_colour = true.things[place]
    changed = (name or own_name, count or own_count, colour or own_colour)
    return replace(true, things=(*true.things[:place], changed, *true.things[place + 1 :]))


def _shares_words(thing: Thing, shown: set[str]) -> bool:
    """Whether a word for a thing is one for something that is shown, as "phone" is for two things."""
    words = {thing.name, *thing.synonyms}
    return any(words & {name, *_thing(name).synonyms} for name in shown)


def _template(plan: ScenePlan) -> str:
    return pick(_TEMPLATES, plan.seed, *plan.key, "template")


def _relation(relation: str) -> str:
    return _WORDS.get(relation, relation)


def _thing(name: str) -> Thing:
    return read_things()[name]


def indefinite(noun: str) -> str:
    """A noun, or words before it, with "a" or "an"."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
