"""WordNet senses of class names: a gloss to ground a small model's prompt, and lemmas that are synonyms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import pyarrow as pa

from evenly.descriptions.class_list import ClassEntry, ClassList, shown
from evenly.descriptions.errors import ClassListError
from evenly.descriptions.texts.words import singulars_of, stems_of, word_forms, words_of


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A class as the methods see it; `gloss` is None without a sense, `synset` and `lemmas` come from WordNet only.

    `noun` is the singular of a plural name ("animal" of "animals"), whose class is a group of things; "" of all others.
    `tags` say what is known of the class in structured form, `neighbours` are nouns of like things (neighbours.py),
    `phrases` are of its captions (methods/caption_phrases.py), `against` is the second class of a pair. The subject of
    a question about the list as a whole has the name "".
    """

    name: str
    synset: str | None = None
    lemmas: tuple[str, ...] = ()
    gloss: str | None = None
    noun: str = ""
    tags: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    against: "Subject | None" = None

    @property
    def singular(self) -> str:
        """The name of a single thing of the class."""
        return self.noun or self.name

    @property
    def own_names(self) -> tuple[str, ...]:
        """Its name, and the singular of an irregular plural: the words by which a text names the class."""
        return (self.name, self.noun) if self.noun and words_of(self.noun) != words_of(self.name) else (self.name,)


class Grounding:
    """Looks class names up in noun synsets, a table of synset string, lemmas list<string>, gloss string.

    A synset or gloss given in the class list wins. Otherwise the sense of a name is the synset in which it stands
    earliest among the lemmas (case and underscores do not count), the first in table order among equals. Position goes
    before table order because WordNet lists the usual word first: "car" is the automobile, not the cable car that has
    "car" as its second lemma. Over the 1,000 ImageNet classes, each looked up by its own first lemma, this finds the
    class's own synset for 949, table order alone for 921. A name that no synset has is looked up in its singular;
    `plurals` gives the plurals of irregular nouns.
    """

    def __init__(self, synsets: pa.Table, *, plurals: Mapping[str, str] = MappingProxyType({})) -> None:
        self._irregular = {plural: singular for singular, plural in plurals.items()}
        self._rows: dict[str, tuple[tuple[str, ...], str]] = {}
        places: dict[str, tuple[int, str]] = {}
        columns = (synsets[column].to_pylist() for column in ("synset", "lemmas", "gloss"))
        for synset, lemmas, gloss in zip(*columns, strict=True):
            self._rows[synset] = (tuple(lemmas), gloss)
            for position, lemma in enumerate(lemmas):
                key = _key(lemma)
                if key not in places or position < places[key][0]:
                    places[key] = (position, synset)
        texts = (text for lemmas, gloss in self._rows.values() for text in (*lemmas, gloss))
        self._forms = word_forms("\n".join(texts))
        self.vocabulary = stems_of(self._forms)
        self._senses: Mapping[str, str] = {key: synset for key, (_, synset) in places.items()}

    @property
    def synsets(self) -> Mapping[str, tuple[tuple[str, ...], str]]:
        """Lemmas and gloss of each synset, in table order."""
        return self._rows

    def gloss_of(self, name: str) -> str | None:
        """The gloss of the sense that a name has as it stands; None where it has none."""
        synset = self._senses.get(_key(name))
        return None if synset is None else self._rows[synset][1]

    def noun_of(self, name: str) -> str:
        """The singular of a plural name; "" for one that has a sense as it stands, and where there is no such word.

        First that which has a sense, else one that glosses hold as a word.
        """
        key = _key(name)
        if key in self._senses:
            return ""
        nouns = singulars_of(key, self._irregular)
        words = (noun for noun in nouns if noun.partition(" of ")[0].split()[-1] in self._forms)
        return next((noun for noun in nouns if noun in self._senses), next(words, ""))

    def subjects(self, class_list: ClassList) -> tuple[Subject, ...]:
        """The classes in order, each with its sense if it has one; a synset that is not in the table is an error."""
        unknown = [entry for entry in class_list.entries if entry.synset and entry.synset not in self._rows]
        if unknown:
            raise ClassListError(
                [
                    f"class list {class_list.name!r}: the synset of {shown(entry.name)} must be one of the "
                    f"{len(self._rows)} known noun synsets; got {entry.synset}. Correct it, or write a gloss instead."
                    for entry in unknown
                ]
            )
        return tuple(self._subject(entry) for entry in class_list.entries)

    def _subject(self, entry: ClassEntry) -> Subject:
        noun = self.noun_of(entry.name)
        if entry.gloss:
            return Subject(name=entry.name, gloss=entry.gloss, noun=noun)
        synset = entry.synset or self._senses.get(noun or _key(entry.name))
        if synset is None:
            return Subject(name=entry.name, noun=noun)
        lemmas, gloss = self._rows[synset]
        return Subject(name=entry.name, synset=synset, lemmas=lemmas, gloss=gloss, noun=noun)


def ungrounded(subjects: Sequence[Subject]) -> tuple[str, ...]:
    """Names of the classes for which there is no gloss, in order."""
    return tuple(subject.name for subject in subjects if subject.gloss is None)


def _key(words: str) -> str:
    return " ".join(words.replace("_", " ").casefold().split())
