"""Captions of the ground: class, name of the drawing, number, colour, background; the same made wrong in one way."""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from evenly.demo.draws import pick
from evenly.demo.ground.classes import READ, GroundCode, Word, read_classes
from evenly.demo.ground.plans import COUNTS, HUES, GroundPlan
from evenly.demo.ground.textures import TEXTURES
from evenly.demo.scenes.captions import NUMBERS, indefinite, with_late_sentence
from evenly.demo.scenes.layout import REVERSED
from evenly.demo.scenes.plans import weighted
from evenly.demo.scenes.truth import sayings

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class _Thing:
    word: Word
    name: str
    count: int
    colour: str | None

    def text(self) -> str:
        """It in words, with the name of the drawing in brackets."""
        noun = f"{self.colour} {self.word.form(self.count)}" if self.colour else self.word.form(self.count)
        return f"{indefinite(noun) if self.count == 1 else f'{NUMBERS[self.count]} {noun}'} ({self.name})"


@dataclass(frozen=True, kw_only=True)
class GroundStatement:
    """A caption's statements on a picture: its things, the relation of the first two, the background."""

    things: tuple[_Thing, ...]
    relation: str | None
    background: str

    def text(self) -> str:
        """It in words."""
        words = self.things[0].text()
        if self.relation is not None:
            words += f" {self.relation.replace('_', ' ')} {self.things[1].text()}"
        return f"{words} {self.background}"


def caption_of(plan: GroundPlan) -> str:
    """The caption of a picture in the pool, which is right."""
    return _statement(plan).text()


def ground_sayings(plan: GroundPlan) -> dict[str, Any]:
    """What could be said of a picture. Of 30 sentences the one on it comes 24th to 29th, beyond 128 tokens."""
    caption = caption_of(plan)
    vague = f"a picture of the kind {read_classes()[plan.members[0].label].kind}"
    return sayings(caption, vague, with_late_sentence(caption, plan), _wrong(plan))


def _statement(plan: GroundPlan) -> GroundStatement:
    """The facts of a picture; a class is said by its name or by a synonym that captions say (READ)."""
    return GroundStatement(
        things=tuple(
            _Thing(word=_word(plan, member), name=group.name, count=group.count, colour=group.colour)
            for member, group in zip(plan.members, plan.groups, strict=True)
        ),
        relation=plan.relations[0][1] if plan.relations else None,
        background=plan.background,
    )


def _wrong(plan: GroundPlan) -> dict[str, str]:
    """The caption made wrong, by kind: object and background, and count, colour and relation where there is one."""
    true, key = _statement(plan), plan.key
    first = true.things[0]
    labels = [label for label in read_classes() if label not in {member.label for member in plan.members}]
    rival = read_classes()[pick(labels, plan.seed, *key, "wrong class")].words["name"]
    wrong = {
        "object": _with_first(true, replace(first, word=rival, name=rival.singular)),
        "background": replace(true, background=_different(tuple(TEXTURES), plan.background, plan)),
    }
    if plan.kind == "texture":
        wrong["count"] = _with_first(true, replace(first, count=_different(COUNTS, first.count, plan)))
    if first.colour is not None:
        wrong["colour"] = _with_first(true, replace(first, colour=_different(HUES, first.colour, plan)))
    if true.relation is not None:
        wrong["relation"] = replace(true, relation=REVERSED[true.relation])
    return {kind: statement.text() for kind, statement in wrong.items()}


def _word(plan: GroundPlan, member: GroundCode) -> Word:
    return read_classes()[member.label].words[weighted(READ, plan.seed, *plan.key, "word", member.code)]


def _with_first(true: GroundStatement, thing: _Thing) -> GroundStatement:
    return replace(true, things=(thing, *true.things[1:]))


def _different(choices: tuple[T, ...], current: T, plan: GroundPlan) -> T:
    return pick([choice for choice in choices if choice != current], plan.seed, *plan.key, "wrong", str(current))
