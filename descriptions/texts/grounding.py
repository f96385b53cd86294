"""WordNet senses of class names: a gloss to ground a small model's prompt, and lemmas that are synonyms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from evenly.descriptions.class_list import ClassEntry, ClassList, shown
from evenly.descriptions.errors import ClassListError
from evenly.descriptions.texts.words import distinct_words


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A class as the methods see it; `gloss` is None without a sense, `synset` and `lemmas` come from WordNet only.

    `tags` say what is known of the class in structured form, `neighbours` are nouns of like things (neighbours.py),
    `against` is the second class of a pair. The subject of a question about the list as a whole has the name "".
    """

    name: str
    synset: str | None = None
    lemmas: tuple[str, ...] = ()
    gloss: str | None = None
    tags: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    against: "Subject | None" = None


class Grounding:
    """Looks class names up in noun synsets, a table of synset string, lemmas list<string>, gloss string.

    A synset or gloss given in the class list wins. Otherwise the sense of a name is the synset in which it stands
    earliest among the lemmas (case and underscores do not count), the first in table order among equals. Position goes
    before table order because WordNet lists the usual word first: "car" is the automobile, not the cable car that has
    "car" as its second lemma. Over the 1,000 ImageNet classes, each looked up by its own first lemma, this finds the
    class's own synset for 949, table order alone for 921.
    """

    def __init__(self, synsets: pa.Table) -> None:
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
        self.vocabulary = distinct_words("\n".join(texts))
        self._senses: Mapping[str, str] = {key: synset for key, (_, synset) in places.items()}

    @property
    def synsets(self) -> Mapping[str, tuple[tuple[str, ...], str]]:
        """Lemmas and gloss of each synset, in table order."""
        return self._rows

    def gloss_of(self, name: str) -> str | None:
        """The gloss of the sense that a name has; None where it has none."""
        synset = self._senses.get(_key(name))
        return None if synset is None else self._rows[synset][1]

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
        if entry.gloss:
            return Subject(name=entry.name, gloss=entry.gloss)
        synset = entry.synset or self._senses.get(_key(entry.name))
        if synset is None:
            return Subject(name=entry.name)
        lemmas, gloss = self._rows[synset]
        return Subject(name=entry.name, synset=synset, lemmas=lemmas, gloss=gloss)


def ungrounded(subjects: Sequence[Subject]) -> tuple[str, ...]:
    """Names of the classes for which there is no gloss, in order."""
    return tuple(subject.name for subject in subjects if subject.gloss is None)


def _key(words: str) -> str:
    return " ".join(words.replace("_", " ").casefold().split())
