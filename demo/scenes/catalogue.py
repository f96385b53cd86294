"""The things that scenes show: names, what they are, and the pictures of each, dealt out to train, val and test.

A picture, by its code, belongs to one part alone. A thing has several pictures where OpenMoji draws it several times:
a dog and its face, a farmer as man and woman in six skin tones.
"""

import csv
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from evenly.demo.draws import lowest, pick, shares
from evenly.demo.names import TONES

_RECIPES = Path(str(files("evenly"))) / "recipes"
THINGS_FILE = _RECIPES / "scene_things.csv"
"""name, plural, kinds, synonyms, marks, codes: one row a thing."""

CLASSES_FILE = _RECIPES / "scene_classes.txt"
"""The things, one a line, that the embedded encoder tells from one another at least in part."""

PARTS = {"train": 0.6, "val": 0.2, "test": 0.2}
KINDS = {
    "animal": ("animals", "creature"),
    "bag": ("bags",),
    "ball": ("balls",),
    "bird": ("birds",),
    "boat": ("boats", "vessel"),
    "building": ("buildings",),
    "clothing": ("clothes", "garment", "piece of clothing"),
    "container": ("containers",),
    "device": ("devices", "gadget", "appliance"),
    "flower": ("flowers", "blossom"),
    "food": ("foods", "snack", "meal"),
    "fruit": ("fruits",),
    "furniture": ("pieces of furniture", "piece of furniture"),
    "insect": ("insects", "bug"),
    "instrument": ("instruments", "musical instrument"),
    "person": ("people", "human", "human being", "worker"),
    "pet": ("pets",),
    "plant": ("plants",),
    "tool": ("tools", "utensil"),
    "toy": ("toys",),
    "vegetable": ("vegetables",),
    "vehicle": ("vehicles", "means of transport"),
}
"""Kind -> its plural and other words for it."""

_GENDERS = {"1F468": "man", "2642": "man", "1F469": "woman", "2640": "woman"}


@dataclass(frozen=True, kw_only=True)
class Thing:
    """Something that scenes show.

    kinds: keys of KINDS, the closest first; synonyms: singular -> plural; codes: its pictures. is_fine: whether it is
    in the list of classes that the embedded encoder knows; is_recoloured: whether another colour changes enough of its
    pixels; is_support: whether other things can stand on it.
    """

    name: str
    plural: str
    kinds: tuple[str, ...]
    synonyms: Mapping[str, str]
    codes: tuple[str, ...]
    is_fine: bool
    is_recoloured: bool
    is_support: bool

    def noun(self, count: int) -> str:
        """The name of the thing for so many."""
        return self.name if count == 1 else self.plural


@dataclass(frozen=True)
class Hand:
    """The variant of a picture of a person: "" where it does not say."""

    gender: str = ""
    skin_tone: str = ""


@functools.cache
def read_things() -> Mapping[str, Thing]:
    """The things by name, in the order of the file."""
    classes = CLASSES_FILE.read_text(encoding="utf-8").splitlines()
    with THINGS_FILE.open(newline="", encoding="utf-8") as lines:
        return {row["name"]: _thing(row, classes) for row in csv.DictReader(lines)}


@functools.cache
def things_of(part: str, seed: int) -> Mapping[str, tuple[str, ...]]:
    """The codes of each thing that has some in a part: train, val or test."""
    dealt = {name: _dealt(thing, seed) for name, thing in read_things().items()}
    return {
        name: codes
        for name, parts in dealt.items()
        if (codes := tuple(code for code, of_code in parts.items() if of_code == part))
    }


def hand_of(code: str) -> Hand:
    """Gender and skin tone of the picture of a person."""
    points = code.split("-")
    gender = next((_GENDERS[point] for point in points if point in _GENDERS), "")
    return Hand(gender, next((TONES[point] for point in points if point in TONES), ""))


def plural_of(noun: str) -> str:
    """The regular plural of an English noun."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def _thing(row: Mapping[str, str], classes: Sequence[str]) -> Thing:
    pairs = (synonym.partition("=") for synonym in row["synonyms"].split("|") if synonym)
    marks = row["marks"].split()
    return Thing(
        name=row["name"],
        plural=row["plural"],
        kinds=tuple(row["kinds"].split()),
        synonyms={singular: plural or plural_of(singular) for singular, _, plural in pairs},
        codes=tuple(row["codes"].split()),
        is_fine=row["name"] in classes,
        is_recoloured="recoloured" in marks,
        is_support="support" in marks,
    )


def _dealt(thing: Thing, seed: int) -> dict[str, str]:
    """The part of each code: each part has some from three codes on; of two one is for train and one for test."""
    codes = lowest(thing.codes, len(thing.codes), seed, "scene part")
    if len(codes) > 2:
        return dict(zip(codes, shares(len(codes), PARTS), strict=True))
    if len(codes) == 2:
        return dict(zip(codes, ("train", "test"), strict=True))
    return {codes[0]: pick(("train", "train", "train", "val", "test"), seed, "scene part of", thing.name)}
