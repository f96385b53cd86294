"""The naive Bayes n-gram detector of langid (package py3langid), for one caption at a time and for many at once.

The method is that of Lui and Baldwin (2012), "langid.py: an off-the-shelf language identification tool", as the package
scores since 0.4: a text, in lower case if it is all capitals, in NFC, has features, byte n-grams that an automaton
finds. The score of a language is the sum of log(1 + count) times the feature's log probability, plus the prior;
divided by the square root of the bytes, a softmax makes probabilities of the scores.

Many at once do the same arithmetic on the same numbers in the same order, so that results are equal to the last bit:
texts of equally many features are multiplied in one call, which makes of each the product that it has alone.
"""

import functools
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Bytes, Flags, Ints, Singles, is_compiled_for, text_buffers
from evenly.curation.errors import ColumnsError, RuleError
from evenly.curation.filters.language_arrays import Automaton, automaton_features, fill_rows

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

KERNEL_FROM, LOADED_FROM = 100_000, 20_000
"""Captions from which the compiled loops are faster, loading numba included, or where that is loaded; later always."""
CHARACTERS = 0x20000
"""Beyond are rare Chinese characters only; a caption that has one is prepared by Python."""
CUT_ROWS, CUT_BYTES = 1 << 14, 1 << 21
"""What is scored at once, if the first caption is no longer: it bounds memory, by some 10 bytes for each."""
_PRODUCT = 1 << 18  # numbers that are multiplied in one call
_KERNEL = "evenly.curation.filters.language_kernel"
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True, eq=False)
class LanguageDetector:
    """The package's detector, and the d languages that it tells apart, ISO 639-1 codes in its order."""

    identifier: "LanguageIdentifier" = field(repr=False)
    languages: tuple[str, ...]

    def probabilities(self, captions: pa.Array) -> tuple[Flags, Singles]:
        """Return which captions hold a letter (n,), and the probability of each language (m, d) for those that do.

        Null has no letter. Captions are strings in UTF-8; raises ColumnsError where they are not.
        """
        try:
            captions.validate(full=True)
        except pa.ArrowInvalid as error:
            raise ColumnsError(
                f"`caption` must be UTF-8; got other bytes. Decode it where it is read. {error}"
            ) from error
        captions = pc.fill_null(captions, "")
        is_compiled = _KERNEL in sys.modules or is_compiled_for(len(captions), KERNEL_FROM, loaded=LOADED_FROM)
        cuts = [self._together(cut, is_compiled=is_compiled) for cut in _cuts(captions)]
        return np.concatenate([cut[0] for cut in cuts]), np.concatenate([cut[1] for cut in cuts])

    def _together(self, captions: pa.Array, *, is_compiled: bool) -> tuple[Flags, Singles]:
        prepared, find_features, gather = _compiled_loops() if is_compiled else _ARRAYS
        has_letter, texts = prepared(captions)
        buffers = text_buffers(texts)
        counts = np.zeros(len(self._table), np.int32)
        features, times, ends = find_features(self._automaton, buffers.data, buffers.offsets, counts)
        scores = self._scores(gather, features, np.log1p(times.astype(np.float32)), ends)
        scores *= (1.0 / np.sqrt(np.maximum(np.diff(buffers.offsets), 1))).astype(np.float32)[:, np.newaxis]
        np.exp(scores - scores.max(axis=1, keepdims=True), out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return has_letter, self._by_language(scores)

    def _scores(self, gather: Callable[..., None], features: Ints, weights: Singles, ends: Ints) -> Singles:
        """The score of each class, for each text; 0 where it has no feature."""
        table = self._table
        begins = np.concatenate([[0], ends[:-1]]).astype(np.int64)
        counts = ends - begins
        scores = np.zeros((len(ends), table.shape[1]), np.float32)
        by_count = np.argsort(counts, kind="stable")
        for texts in _equal_runs(counts, by_count, table.shape[1]):
            n, k = len(texts), int(counts[texts[0]])
            if k:
                rows = np.empty((n, 1, k), np.float32), np.empty((n, k, table.shape[1]), np.float32)
                gather(features, weights, begins[texts], table, rows)
                scores[texts] = np.matmul(*rows)[:, 0] + self.identifier.nb_pc
        return scores

    def _by_language(self, probabilities: Singles) -> Singles:
        """Classes of one language, such as two scripts, are added up where the first of them stands."""
        classes = self.identifier.nb_classes
        if len(classes) == len(self.languages):
            return probabilities
        firsts = [classes.index(code) for code in self.languages]
        for number, code in enumerate(classes):
            if (first := classes.index(code)) != number:
                probabilities[:, first] += probabilities[:, number]
        return probabilities[:, firsts]

    @functools.cached_property
    def _automaton(self) -> Automaton:
        steps, rows = np.asarray(self.identifier.tk_nextmove, np.uint32), np.asarray(self.identifier.tk_row)
        return Automaton(steps, rows, np.array(self.identifier.tk_output, np.int32))

    @functools.cached_property
    def _table(self) -> Singles:
        """The log probability of each feature in each class."""
        return np.ascontiguousarray(self.identifier.nb_ptc, np.float32)


@functools.lru_cache(maxsize=4)
def language_detector(codes: tuple[str, ...]) -> LanguageDetector:
    """Return the detector that tells `codes` apart; raises RuleError where it does not know one."""
    identifier = _identifier()
    unknown = sorted(set(codes) - set(identifier.labels))
    if unknown:
        raise RuleError(f"`among` must be ISO 639-1 codes that langid knows; got {unknown}. Leave them out.")
    identifier.set_languages(codes)
    return LanguageDetector(identifier, tuple(identifier.labels))


class Unpacking:
    """The reader of the file of the package's model; None: the package, which unpacks it each time."""

    reader: ClassVar[Callable[[Any], Mapping[str, np.ndarray]] | None] = None


def _identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_DIR, MODEL_FILE, LanguageIdentifier

    if Unpacking.reader is None:
        return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    model = Unpacking.reader(MODEL_DIR / MODEL_FILE)
    arrays = model["ptc"], model["pc"], model["classes"].tolist(), model["nextmove"], model["out_feat"]
    return LanguageIdentifier(*arrays, norm_probs=True, tk_row=model["nextmove_row"].tolist())


def _cuts(captions: pa.Array) -> Iterator[pa.Array]:
    """Cut captions into parts of at most CUT_ROWS and CUT_BYTES, or of one; at least one part."""
    offsets = text_buffers(captions).offsets
    first = 0
    while first < len(captions) or first == 0:
        fits = int(np.searchsorted(offsets, offsets[first] + CUT_BYTES, side="right")) - 1
        last = min(max(fits, first + 1), first + CUT_ROWS)
        yield captions.slice(first, last - first)
        first = last


def _prepared(captions: pa.Array) -> tuple[Flags, pa.Array]:
    """Whether each caption holds a letter, and those that do: in lower case where all is capitals, and in NFC."""
    from evenly.curation.filters.language_kernel import UNSTEADY, WORDLESS, text_kinds

    buffers = text_buffers(captions)
    kinds = text_kinds(buffers.data, buffers.offsets, _character_flags())
    has_letter: Flags = kinds != WORDLESS
    unsteady = kinds == UNSTEADY
    if unsteady.any():
        texts = captions.filter(pa.array(unsteady)).to_pylist()
        has_letter[unsteady] = [_LETTER.search(text) is not None for text in texts]
        steadied = pa.array([_steady(text) for text in texts], captions.type)
        captions = pc.replace_with_mask(captions, pa.array(unsteady), steadied)
    return has_letter, captions if has_letter.all() else captions.filter(pa.array(has_letter))


def _prepared_one_by_one(captions: pa.Array) -> tuple[Flags, pa.Array]:
    """The same result as `_prepared`, text by text."""
    steadied = [_steady(text) if _LETTER.search(text) else None for text in captions.to_pylist()]
    texts = pa.array(steadied, captions.type)
    return np.array([text is not None for text in steadied], np.bool_), texts.drop_null()


def _steady(text: str) -> str:
    return unicodedata.normalize("NFC", text.lower() if text.isupper() else text)


_ARRAYS = _prepared_one_by_one, automaton_features, fill_rows


def _compiled_loops() -> tuple[Callable[..., Any], ...]:
    from evenly.curation.filters.language_kernel import find_features, gather

    return _prepared, find_features, gather


def _equal_runs(counts: Ints, by_count: Ints, n_classes: int) -> Iterator[Ints]:
    """The texts of equal counts, as many as may be multiplied in one call."""
    bounds = np.flatnonzero(np.diff(counts[by_count], prepend=-1, append=-1))
    for begin, end in pairwise(bounds):
        size = max(_PRODUCT // max(int(counts[by_count[begin]]) * n_classes, 1), 1)
        for start in range(begin, end, size):
            yield by_count[start : min(start + size, end)]


@functools.cache
def _character_flags() -> Bytes:
    """The flags of each character below CHARACTERS, as Python's tables of Unicode have them."""
    from evenly.curation.filters.language_kernel import CHANGES, LETTER, LOWER, UPPER

    characters = [chr(point) for point in range(CHARACTERS)]
    flags = np.zeros(CHARACTERS, np.uint8)
    flags[[_LETTER.match(character) is not None for character in characters]] |= LETTER
    flags[[character.isupper() for character in characters]] |= UPPER
    flags[[character.islower() or (character.istitle() and not character.isupper()) for character in characters]] |= (
        LOWER
    )
    flags[[not unicodedata.is_normalized("NFC", character) for character in characters]] |= CHANGES
    flags[[unicodedata.combining(character) != 0 for character in characters]] |= CHANGES
    flags[[ord(character) for character in _joining(characters)]] |= CHANGES
    return flags


def _joining(characters: Sequence[str]) -> Iterator[str]:
    """The characters that normalising may join to the one before them: second halves, and Korean vowels and ends."""
    for character in characters:
        halves = unicodedata.decomposition(character).split(" ")
        if len(halves) == 2 and not halves[0].startswith("<"):
            yield chr(int(halves[1], 16))
    yield from map(chr, (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)))
