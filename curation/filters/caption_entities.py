"""Captions that name a thing of ImageNet-21k: DataComp's text_based filter (Gadre et al. 2023, arXiv:2304.14108).

As published, a caption stays if for any of its words, which white space separates, the offset of the first WordNet
synset is that of an ImageNet-21k synset. So "dog." with its full stop names nothing, no name of two words is found,
and a verb whose offset happens to be that of a noun counts. Only the look-up differs: a hash set, not a list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import column
from evenly.curation.decisions import Decisions

# Endings and what takes their place, as morphy(7WN) lists them; adverbs have none.
# Parts of speech are tried in this order.
ENDINGS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "noun": (
        ("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"),
        ("men", "man"), ("ies", "y"),
    ),
    "verb": (("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    "adj": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "adv": (),
}  # fmt: skip
_ENDINGS = {part: tuple(old for old, _ in endings) for part, endings in ENDINGS.items()}


@dataclass(frozen=True, kw_only=True)
class CaptionEntities:
    """Keep captions with a word whose first synset is in ImageNet-21k.

    `wordnet` is a folder with the database of WordNet 3.0, or `auto`: the installed one. `sha256`, where given, must be
    that of what is found there.
    """

    wordnet: str = "auto"
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class FirstSenses:
    """WordNet's first synset of each lemma, and the synsets that count.

    first: by part of speech, lemma (lower case, words joined by `_`) -> offset of its first synset. exceptions: by part
    of speech, irregular form -> lemmas. entities: offsets.
    """

    first: Mapping[str, Mapping[str, int]]
    exceptions: Mapping[str, Mapping[str, tuple[str, ...]]]
    entities: frozenset[int]

    def first_synset(self, word: str) -> int | None:
        """Return the offset of the first synset of `word`; parts of speech in the order of ENDINGS, nouns first."""
        form = word.lower()
        for part in ENDINGS:
            lemmas = self.first[part]
            if form in lemmas:
                return lemmas[form]
            for lemma in self._lemmas(form, part):
                if lemma in lemmas:
                    return lemmas[lemma]
        return None

    def _lemmas(self, form: str, part: str) -> Sequence[str]:
        """The irregular lemmas of a form or, where it has none, the form without each of its endings."""
        irregular = self.exceptions[part].get(form)
        if irregular is not None:
            return irregular
        if not form.endswith(_ENDINGS[part]):
            return ()
        return [form[: -len(old)] + new for old, new in ENDINGS[part] if form.endswith(old)]


class _EntityWords(dict[str, bool]):
    """Whether the first synset of a word is in ImageNet-21k; each word is looked up once."""

    def __init__(self, senses: FirstSenses) -> None:
        super().__init__()
        self._senses = senses

    def __missing__(self, word: str) -> bool:
        self[word] = self._senses.first_synset(word) in self._senses.entities
        return self[word]


def measure_entities(batch: pa.Table, rule: CaptionEntities, senses: FirstSenses) -> pa.Array:  # noqa: ARG001 - the shape of a filter
    """Return how many words of each `caption` have their first synset in ImageNet-21k, as doubles."""
    is_entity = _EntityWords(senses).__getitem__
    captions = pc.fill_null(column(batch, "caption", pa.string()), "").to_pylist()
    return pa.array([float(sum(map(is_entity, caption.split()))) for caption in captions], pa.float64())


def judge_entities(values: pa.Array, rule: CaptionEntities) -> Decisions:  # noqa: ARG001 - the shape of a filter
    """Judge counts: none goes as no_entity."""
    return Decisions.of(reason=pc.if_else(pc.equal(values, 0), "no_entity", ""), value=values)
