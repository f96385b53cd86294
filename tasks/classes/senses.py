"""Senses of class names among the noun synsets at hand, of plural names by their singular."""

from functools import lru_cache

from evenly.curation.concepts.equal_entries import IRREGULAR_PLURALS
from evenly.descriptions.class_list import ClassList
from evenly.descriptions.method import GROUP
from evenly.descriptions.texts.grounding import Grounding
from evenly.descriptions.texts.words import singulars_of
from evenly.storage.files.wordnets import load_noun_synsets
from evenly.storage.records import content_hash

_SINGULARS = {plural: singular for singular, plural in IRREGULAR_PLURALS.items()}


@lru_cache(maxsize=1)
def noun_grounding() -> Grounding:
    """The senses of class names, read once in a process."""
    return Grounding(load_noun_synsets(), plurals=IRREGULAR_PLURALS)


def groups_hash(class_list: ClassList) -> dict[str, str]:
    """The input `groups` of a step that asks about classes: plural names, and how groups are asked about; {} without.

    Earlier versions found no sense for such names; a list without any has the key that it always had.
    """
    if not any(singulars_of(name, _SINGULARS) for name in class_list.classes):
        return {}
    plurals = [name for name in class_list.classes if noun_grounding().noun_of(name)]
    return {"groups": content_hash({"names": plurals, "wording": GROUP})} if plurals else {}
