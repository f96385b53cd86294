"""The classes of the ground, the families of codes in each, and the part that each family belongs to.

A family is what no split may part: a man and a woman at one job, clock faces, hearts in colours.
"""

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from evenly.demo.draws import lowest, shares
from evenly.demo.errors import FolderError
from evenly.demo.names import name_picture
from evenly.demo.scenes.catalogue import plural_of

CLASSES_FILE = Path(str(files("evenly"))) / "recipes" / "ground_classes.csv"
"""name, plural, kind, list, often, rarely, never, codes: one row a class, merged from Unicode's subgroups."""

PARTS = {"refine": 0.4, "fit": 0.2, "val": 0.1, "test": 0.3}
LISTS = ("known", "near", "unknown")
READ = {"name": 0.6, "often": 0.25, "rarely": 0.15}
"""How often captions say a class by its name and by each synonym; `never` is said by none."""


@dataclass(frozen=True)
class Word:
    """A name of a class."""

    singular: str
    plural: str

    def form(self, count: int) -> str:
        """The word for so many."""
        return self.singular if count == 1 else self.plural


@dataclass(frozen=True, kw_only=True)
class GroundClass:
    """A class: its kind, the list it is in (LISTS), its words by `name` and how synonyms are read, its families."""

    kind: str
    list: str
    words: Mapping[str, Word]
    families: tuple[tuple[str, ...], ...]

    @property
    def name(self) -> str:
        """The name for one."""
        return self.words["name"].singular


@dataclass(frozen=True, kw_only=True)
class GroundCode:
    """A code of the ground; group: the first code of its family."""

    code: str
    name: str
    label: str
    group: str
    part: str


@functools.cache
def read_classes() -> Mapping[str, GroundClass]:
    """The classes by name, in the order of the file."""
    with CLASSES_FILE.open(newline="", encoding="utf-8") as lines:
        return {row["name"]: _class(row) for row in csv.DictReader(lines)}


@functools.lru_cache(maxsize=4)
def members_of(codes: int | None, seed: int) -> tuple[GroundCode, ...]:
    """The codes of a ground of about so many, all unless it is said, each with its part: classes have some in each.

    Raises FolderError for fewer codes than that takes.
    """
    members: list[GroundCode] = []
    for label, families in _chosen(codes, seed).items():
        names = lowest([family[0] for family in families], len(families), seed, f"ground part {label}")
        part_of = dict(zip(names, shares(len(names), PARTS), strict=True))
        members += [
            GroundCode(code=code, name=name_picture(code).text, label=label, group=family[0], part=part_of[family[0]])
            for family in families
            for code in family
        ]
    return tuple(members)


def _chosen(codes: int | None, seed: int) -> dict[str, list[tuple[str, ...]]]:
    """Families by class: one for each part of every class first, then as many of each as its size asks for."""
    ranked: list[tuple[float, str, tuple[str, ...]]] = []
    for label, entry in read_classes().items():
        by_name = {family[0]: family for family in entry.families}
        order = lowest(by_name, len(by_name), seed, f"ground size {label}")
        places = (max(place + 1 - len(PARTS), 0) / len(order) for place in range(len(order)))
        ranked += [(place, label, by_name[name]) for place, name in zip(places, order, strict=True)]
    ranked.sort(key=lambda entry: entry[0])
    least = sum(len(family) for place, _, family in ranked if place == 0)
    if codes is not None and codes < least:
        raise FolderError(
            f"`codes` must be at least {least}, so that parts have all classes; got {codes}. Ask for more."
        )
    chosen: dict[str, list[tuple[str, ...]]] = {label: [] for label in read_classes()}
    drawn = 0
    for place, label, family in ranked:
        if codes is None or place == 0 or drawn < codes:
            chosen[label].append(family)
            drawn += len(family)
    return {label: sorted(families) for label, families in chosen.items()}


def _class(row: Mapping[str, str]) -> GroundClass:
    words = {"name": Word(row["name"], row["plural"] or plural_of(row["name"]))}
    for read in ("often", "rarely", "never"):
        singular, _, plural = row[read].partition("=")
        words[read] = Word(singular, plural or plural_of(singular))
    families = tuple(tuple(family.split()) for family in row["codes"].split("|"))
    return GroundClass(kind=row["kind"], list=row["list"], words=words, families=families)
