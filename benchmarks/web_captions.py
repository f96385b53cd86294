"""Captions made up by seed that repeat as those of the web do, partition by partition, for searches of duplicates.

Words are the 50,000 most frequent English ones of wordfreq, drawn as often as they occur, 3 to 30 a caption (median 9).
Of each partition 5 % are captions of which the partition before holds a near copy (one word exchanged, or one left
out), 5 % such copies, 10 % fill one or two gaps of 5,000 templates of 5 to 16 words with any word, 10 % are one of
100,000 captions over and over, and 70 % stand alone. The template or caption of rank r is drawn with a probability of
about 1 / r, so the first template has one caption in 90 of all and the first repeated caption one in 120.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import wordfreq

WORDS = 50_000
COPIES, TEMPLATES, REPEATED = 0.05, 0.10, 0.10
N_TEMPLATES, N_REPEATED = 5_000, 100_000
SHORTEST, LONGEST = 3, 30
_MEDIAN, _SPREAD = 9, 0.5  # of a log-normal distribution

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class WordLists:
    """Lists of words by number: the `words` (m,) of all lists, one list after the other, and their `lengths` (n,)."""

    words: Ints
    lengths: Ints

    @classmethod
    def drawn(cls, rng: np.random.Generator, n: int, shortest: int = SHORTEST, longest: int = LONGEST) -> "WordLists":
        """n lists of words as frequent as they are in English."""
        lengths = np.rint(rng.lognormal(np.log(_MEDIAN), _SPREAD, n)).clip(shortest, longest).astype(np.int64)
        words = np.searchsorted(_vocabulary()[1], rng.random(lengths.sum()), side="right")
        return cls(words.clip(max=WORDS - 1), lengths)

    def edited(self, rng: np.random.Generator) -> "WordLists":
        """The lists with one word of each exchanged for any other, or left out."""
        places = np.cumsum(self.lengths) - self.lengths + (rng.random(len(self.lengths)) * self.lengths).astype(int)
        words, is_left_out = self.words.copy(), rng.random(len(places)) < 0.5
        words[places] = rng.integers(0, WORDS, len(places))
        return replace(self, words=np.delete(words, places[is_left_out]), lengths=self.lengths - is_left_out)

    def texts(self) -> pa.Array:
        """The lists (n,) as texts."""
        ends = pa.array(np.concatenate([[0], np.cumsum(self.lengths)]), pa.int32())
        return pc.binary_join(pa.ListArray.from_arrays(ends, _words(self.words)), " ")


def web_captions(seed: int, number: int, following: int, n: int) -> pa.Array:
    """The captions (n,) of a partition, `following` the next one; those with a copy come first, copies last."""
    rng = np.random.default_rng([seed, 11, number])
    parts = [sources(seed, number, n).texts()]
    parts.append(_filled(seed, rng, int(n * TEMPLATES)))
    parts.append(_repeated(seed).take(pa.array(_by_rank(rng, int(n * REPEATED), N_REPEATED))))
    copies = sources(seed, following, n).edited(rng).texts()
    alone = WordLists.drawn(rng, n - sum(map(len, parts)) - len(copies)).texts()
    return pa.concat_arrays([*parts, alone, copies])


def sources(seed: int, number: int, n: int) -> WordLists:
    """The captions of a partition of n that are copied."""
    return WordLists.drawn(np.random.default_rng([seed, 12, number]), int(n * COPIES))


@cache
def _vocabulary() -> tuple[pa.Array, npt.NDArray[np.float64]]:
    """The words, and up to where in [0, 1) each is drawn."""
    words = wordfreq.top_n_list("en", WORDS)
    shares = np.cumsum([wordfreq.word_frequency(word, "en") for word in words])
    return pa.array(words), shares / shares[-1]


@cache
def _repeated(seed: int) -> pa.Array:
    return WordLists.drawn(np.random.default_rng([seed, 13]), N_REPEATED).texts()


@cache
def _templates(seed: int) -> tuple[pa.Array, pa.Array, Ints]:
    """What stands before and between the gaps of each template, and how many gaps it has."""
    rng = np.random.default_rng([seed, 14])
    before, between = (WordLists.drawn(rng, N_TEMPLATES, *ends).texts() for ends in ((3, 8), (2, 8)))
    return before, between, rng.integers(1, 3, N_TEMPLATES)


def _filled(seed: int, rng: np.random.Generator, n: int) -> pa.Array:
    before, between, gaps = _templates(seed)
    ranks = _by_rank(rng, n, N_TEMPLATES)
    first, second = (_words(rng.integers(0, WORDS, n)) for _ in range(2))
    second = pc.if_else(pa.array(gaps[ranks] > 1), second, "")
    parts = (before.take(pa.array(ranks)), first, between.take(pa.array(ranks)), second)
    return pc.utf8_rtrim_whitespace(pc.binary_join_element_wise(*parts, " "))


def _words(numbers: Ints) -> pa.Array:
    return _vocabulary()[0].take(pa.array(numbers))


def _by_rank(rng: np.random.Generator, n: int, count: int) -> Ints:
    """Ranks (n,) from 0 on, of `count`, the one of rank r with a probability of about 1 / (r + 1)."""
    return np.asarray(np.exp(rng.random(n) * np.log(count + 1)).astype(np.int64) - 1)
