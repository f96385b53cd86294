"""The plan of a scene, drawn by hash from the seed and the scene's number alone.

Eight scenes in a row are neighbours: they are of one part (train, val or test), begin with different things, and their
long captions differ in one sentence.
"""

import functools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from evenly.demo.draws import demo_draw, lowest, pick
from evenly.demo.scenes.backgrounds import BACKGROUNDS
from evenly.demo.scenes.catalogue import PARTS, Thing, read_things, things_of
from evenly.demo.scenes.colours import SHADES
from evenly.demo.scenes.defects import DEFECTS

NEIGHBOURS = 8
LAYOUTS = {"single": 0.35, "pair": 0.45, "trio": 0.2}
"""Shares of scenes with one thing (and one picture of it), two things, three things."""

RELATIONS = {"left_of": 0.25, "right_of": 0.25, "above": 0.125, "below": 0.125, "on": 0.25}
"""Shares of relations between the first two things; `on` becomes `under` where the first can bear the second."""

COUNTS = {1: 0.55, 2: 0.25, 3: 0.12, 4: 0.08}
SEATS = 2
"""So many at most stand on one thing."""

RECOLOURED = 0.6
"""The share of things with another colour than OpenMoji's, of those that may have one."""

DEFECT_RATE = 0.15
CAPTION_KINDS = {"right": 0.4, "vague": 0.2, "wrong": 0.25, "boilerplate": 0.15}
LABELLED = 0.5
"""The share of single train pictures whose class the pool says; of val and test it says all."""

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class ThingGroup:
    """A thing of a scene, with the code of each of its pictures, whether each is mirrored, and its colour, if given."""

    name: str
    codes: tuple[str, ...]
    mirrored: tuple[bool, ...]
    colour: str | None

    @property
    def count(self) -> int:
        """The number of things in the group."""
        return len(self.codes)

    @property
    def thing(self) -> Thing:
        """The entry of the thing in the catalogue."""
        return read_things()[self.name]


@dataclass(frozen=True, kw_only=True)
class Defect:
    """A key of DEFECTS, and the place of the damaged object among all of the scene."""

    kind: str
    place: int


@dataclass(frozen=True, kw_only=True)
class ScenePlan:
    """Relations are (place of a group, relation, place of another), the first between the first two."""

    seed: int
    number: int
    part: str
    background: str
    groups: tuple[ThingGroup, ...]
    relations: tuple[tuple[int, str, int], ...]
    defect: Defect | None

    @property
    def key(self) -> tuple[str, ...]:
        """The key that every draw of the scene begins with."""
        return _key(self.number)


def plan_scene(number: int, seed: int) -> ScenePlan:
    """The scene of a number, whatever others there are."""
    key = _key(number)
    family = number // NEIGHBOURS
    part, layout = _part(family, seed), _layout(number, seed)
    names = [_first_things(family, seed)[number % NEIGHBOURS]]
    relation = weighted(RELATIONS, seed, *key, "relation")
    things = things_of(part, seed)
    other_names = [name for name in lowest(things, len(things), seed, f"others of {number}") if name != names[0]]
    if layout != "single" and relation == "on":
        if read_things()[names[0]].is_support:
            relation = "under"
        else:
            other_names.sort(key=lambda name: not read_things()[name].is_support)
    names += other_names[: {"single": 0, "pair": 1, "trio": 2}[layout]]
    most = [4, 4, 4]
    if layout == "single":
        most = [1]
    elif relation in {"on", "under"}:
        most = [SEATS, 1, 4] if relation == "on" else [1, SEATS, 4]
    counts = [min(weighted(COUNTS, seed, *key, "count", str(place)), most[place]) for place in range(len(names))]
    groups = tuple(_group(name, counts[place], things[name], seed, key) for place, name in enumerate(names))
    relations = ((0, relation, 1), (2, pick(("left_of", "right_of"), seed, *key, "side"), 1))[: len(names) - 1]
    return ScenePlan(
        seed=seed,
        number=number,
        part=part,
        background=pick(tuple(BACKGROUNDS), seed, *key, "background"),
        groups=groups,
        relations=relations,
        defect=_defect(sum(counts), seed, key, is_seated=bool(relations) and relation in {"on", "under"}),
    )


def weighted(weights: Mapping[K, float], seed: int, *key: str) -> K:
    """One of the keys, as likely as its weight says; weights add up to 1."""
    u = demo_draw(seed, *key)
    for choice, weight in weights.items():
        u -= weight
        if u < 0:
            return choice
    return choice


def _key(number: int) -> tuple[str, ...]:
    return "scene", str(number)


def _part(family: int, seed: int) -> str:
    return weighted(PARTS, seed, "scenes", str(family), "part")


def _layout(number: int, seed: int) -> str:
    return weighted(LAYOUTS, seed, *_key(number), "layout")


@functools.lru_cache(maxsize=64)
def _first_things(family: int, seed: int) -> tuple[str, ...]:
    """The first thing of each of the neighbours, each another one; a single picture is of one of the fine classes."""
    things = things_of(_part(family, seed), seed)
    names = lowest(things, len(things), seed, f"first of {family}")
    chosen: list[str] = []
    for number in range(family * NEIGHBOURS, (family + 1) * NEIGHBOURS):
        is_single = _layout(number, seed) == "single"
        chosen.append(
            next(name for name in names if name not in chosen and (read_things()[name].is_fine or not is_single))
        )
    return tuple(chosen)


def _group(name: str, count: int, codes: tuple[str, ...], seed: int, key: tuple[str, ...]) -> ThingGroup:
    places = [str(place) for place in range(count)]
    colour = None
    if read_things()[name].is_recoloured and demo_draw(seed, *key, name, "has colour") < RECOLOURED:
        colour = pick(tuple(SHADES), seed, *key, name, "colour")
    return ThingGroup(
        name=name,
        codes=tuple(pick(codes, seed, *key, name, "code", place) for place in places),
        mirrored=tuple(demo_draw(seed, *key, name, "mirrored", place) < 0.5 for place in places),
        colour=colour,
    )


def _defect(objects: int, seed: int, key: tuple[str, ...], *, is_seated: bool) -> Defect | None:
    """A defect of one of the objects; where one stands on another nothing is cut off that might bear it."""
    if demo_draw(seed, *key, "has defect") >= DEFECT_RATE:
        return None
    place = pick(range(objects), seed, *key, "damaged")
    kinds = ("scratch",) if is_seated else tuple(DEFECTS)
    return Defect(kind=pick(kinds, seed, *key, "defect"), place=place)
