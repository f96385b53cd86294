"""Plans of the ground's pictures, each drawn by hash from the seed, its code and its place among those of the code.

Of each code: a picture by every hand on white, `TEXTURED` on textures, and one beside a code of another family.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evenly.demo.draws import demo_draw, pick
from evenly.demo.ground.classes import PARTS, GroundCode, read_classes
from evenly.demo.ground.textures import TEXTURES, WHITE
from evenly.demo.scenes.colours import SHADES
from evenly.demo.scenes.defects import DEFECTS
from evenly.demo.scenes.plans import DEFECT_RATE, NEIGHBOURS, Defect, ScenePlan, ThingGroup

HUES = ("red", "yellow", "green", "blue", "purple", "pink")
COUNTS = (1, 2, 3)
RELATIONS = ("left_of", "right_of", "above", "below")
TEXTURED = 4
RECOLOURED = 0.5
CONFOUNDED = 2
"""Of the TEXTURED pictures of a code outside `refine` so many are of the confounded subset."""

AGREEING = 0.92
"""The share of the confounded subset that has the usual background of its class."""

_COLOUR_WORDS = {*SHADES, "black", "white", "grey"}  # a red apple is not drawn in blue


@dataclass(frozen=True, kw_only=True)
class GroundPlan(ScenePlan):
    """A plan by one hand. kind: white, texture or pair; copy: its place among those of the code and kind.

    Groups are of `members`, in their order. number: unique in the ground, of a part in a row.
    """

    kind: str
    hand: str
    copy: int
    members: tuple[GroundCode, ...]
    is_confounded: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        """The key that every draw of the picture begins with."""
        return _key(self.kind, self.members[0].code, self.copy)


def plan_ground(members: Sequence[GroundCode], hands: Sequence[str], seed: int) -> list[GroundPlan]:
    """The plans of all pictures, part by part; eight in a row are neighbours, of one part."""
    plans: list[GroundPlan] = []
    for part in PARTS:
        of_part = [member for member in members if member.part == part]
        start = -(-(plans[-1].number + 1) // NEIGHBOURS) * NEIGHBOURS if plans else 0
        for number, plan in enumerate(_plans(of_part, hands, seed), start):
            plans.append(_numbered(plan, number))
    return plans


def usual_background(label: str, seed: int) -> str:
    """The background that a class mostly has in the confounded subset: each is that of five classes or six."""
    labels = sorted(read_classes(), key=lambda name: demo_draw(seed, "usual background", name))
    return list(TEXTURES)[labels.index(label) % len(TEXTURES)]


def _numbered(plan: GroundPlan, number: int) -> GroundPlan:
    values = {name: getattr(plan, name) for name in GroundPlan.__dataclass_fields__}
    return GroundPlan(**values | {"number": number})


def _plans(members: Sequence[GroundCode], hands: Sequence[str], seed: int) -> Iterator[GroundPlan]:
    for member in members:
        for copy, hand in enumerate(hands):
            yield _plan("white", hand, copy, (member,), seed)
        turn = pick(range(len(hands)), seed, "ground hand", member.code)
        for copy in range(TEXTURED):
            yield _plan("texture", hands[(copy + turn) % len(hands)], copy, (member,), seed)
        strangers = [stranger for stranger in members if stranger.group != member.group]
        partner = pick(strangers, seed, "ground partner", member.code)
        yield _plan("pair", hands[turn], 0, (member, partner), seed)


def _plan(kind: str, hand: str, copy: int, members: tuple[GroundCode, ...], seed: int) -> GroundPlan:
    key, first = _key(kind, members[0].code, copy), members[0]
    count = pick(COUNTS, seed, *key, "count") if kind == "texture" else 1
    is_confounded = kind == "texture" and copy < CONFOUNDED and first.part != "refine"
    background = WHITE if kind == "white" else pick(list(TEXTURES), seed, *key, "background")
    if is_confounded and demo_draw(seed, *key, "agrees") < _agreeing():
        background = usual_background(first.label, seed)
    has_defect = kind != "white" and demo_draw(seed, *key, "has defect") < DEFECT_RATE
    return GroundPlan(
        seed=seed,
        number=0,
        part=first.part,
        background=background,
        groups=tuple(_group(member, count, place, seed, key) for place, member in enumerate(members)),
        relations=((0, pick(RELATIONS, seed, *key, "relation"), 1),) if kind == "pair" else (),
        defect=_defect(count * len(members), seed, key) if has_defect else None,
        kind=kind,
        hand=hand,
        copy=copy,
        members=members,
        is_confounded=is_confounded,
    )


def _agreeing() -> float:
    """The rate at which the usual background is set, beside the eighth that comes by chance."""
    chance = 1 / len(TEXTURES)
    return (AGREEING - chance) / (1 - chance)


def _group(member: GroundCode, count: int, place: int, seed: int, key: tuple[str, ...]) -> ThingGroup:
    key = (*key, str(place))
    may_be_coloured = key[1] != "white" and not _COLOUR_WORDS.intersection(member.name.split())
    is_coloured = may_be_coloured and demo_draw(seed, *key, "has colour") < RECOLOURED
    return ThingGroup(
        name=member.name,
        codes=(member.code,) * count,
        mirrored=(False,) * count,
        colour=pick(HUES, seed, *key, "colour") if is_coloured else None,
    )


def _defect(objects: int, seed: int, key: tuple[str, ...]) -> Defect:
    place = pick(range(objects), seed, *key, "damaged")
    return Defect(kind=pick(tuple(DEFECTS), seed, *key, "defect"), place=place)


def _key(kind: str, code: str, copy: int) -> tuple[str, ...]:
    return "ground", kind, code, str(copy)
