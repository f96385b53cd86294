"""A small learned score of grammar: how likely a caption is as written, and not disturbed.

CLIP-Reward (Cho et al. 2022, arXiv:2205.13115, section 3.3) trains a head on the text encoder with captions whose words
were repeated, removed, inserted, swapped or shuffled. Here a logistic regression on runs of up to four words, in which
all but words of grammar stand for their endings, learns the same from the pool's own captions in seconds. Disturbances
are drawn by hash, and captions of a single word are never disturbed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evenly.curation.arrays import Floats
from evenly.curation.concepts.concept_list import FUNCTION_WORDS
from evenly.curation.draws import draw
from evenly.curation.errors import ColumnsError

WIDTH = 1 << 16
"""Buckets that runs of words are hashed into."""
_LONGEST_RUN = 4
_HELD_OUT = 0.3
_LEAST_CAPTIONS = 100


def _place(key: str, entry: str, n: int) -> int:
    """A place among `n`, drawn for a caption."""
    return int(draw(seed=0, step="grammar", uid=key, entry=entry) * n)


def _repeat(words: list[str], key: str) -> list[str]:
    start = _place(key, "start", len(words))
    stop = min(start + 1 + _place(key, "length", 3), len(words))
    return [*words[:stop], *words[start:]]


def _remove(words: list[str], key: str) -> list[str]:
    start = _place(key, "start", len(words) - 1)
    return [*words[:start], *words[start + 1 + _place(key, "length", min(2, len(words) - 1 - start)) :]]


def _insert(words: list[str], key: str) -> list[str]:
    place = _place(key, "place", len(words) + 1)
    return [*words[:place], words[_place(key, "word", len(words))], *words[place:]]


def _swap(words: list[str], key: str) -> list[str]:
    first = _place(key, "first", len(words))
    second = (first + 1 + _place(key, "second", len(words) - 1)) % len(words)
    words[first], words[second] = words[second], words[first]
    return words


def _shuffle(words: list[str], key: str) -> list[str]:
    order = sorted(range(len(words)), key=lambda place: draw(seed=0, step="grammar", uid=key, entry=str(place)))
    return [words[place] for place in order]


DISTURBANCES: Mapping[str, Callable[[list[str], str], list[str]]] = {
    "repeat": _repeat,
    "remove": _remove,
    "insert": _insert,
    "swap": _swap,
    "shuffle": _shuffle,
}
"""How words of a caption are disturbed, by name: one to three are repeated, one or two removed, one of its own inserted
elsewhere, two swapped, or all shuffled."""


def disturb(caption: str, kind: str) -> str | None:
    """Return the caption disturbed, the same each time; None where that changes nothing or it has a single word."""
    words = caption.split()
    if len(words) < 2:
        return None
    disturbed = DISTURBANCES[kind](list(words), f"{kind} {caption}")
    return None if disturbed == words else " ".join(disturbed)


@dataclass(frozen=True, kw_only=True)
class GrammarScore:
    """A fitted score: weights (WIDTH,) float32 and a bias. `caught` says how it did on captions it had not seen.

    caught: kind of disturbance -> share of disturbed captions with a probability below a half, and `false_alarms`, that
    of captions as written; None where there were none to test on.
    """

    weights: np.ndarray
    bias: float
    caught: Mapping[str, float | None]

    def probabilities(self, captions: Sequence[str]) -> Floats:
        """Return the probability of each caption being as written, in [0, 1], 4 digits."""
        if not len(captions):
            return np.empty(0)
        logits = np.asarray(_counts(captions) @ self.weights.astype(np.float64)) + self.bias
        return np.round(1 / (1 + np.exp(-np.clip(logits, -50, 50))), 4)


def fit_grammar(captions: Sequence[str]) -> GrammarScore:
    """Fit a score on different captions, seven in ten of them by hash; the others say how it does.

    Raises ColumnsError for fewer than 100 captions of two words and more: too few to learn from.
    """
    texts = sorted({text for text in captions if len(text.split()) > 1})
    if len(texts) < _LEAST_CAPTIONS:
        raise ColumnsError(
            f"a grammar score needs at least {_LEAST_CAPTIONS} different captions of two words and more; got "
            f"{len(texts)}. Choose captions by score instead."
        )
    tested = [text for text in texts if draw(seed=0, step="grammar", uid=text, entry="tested") < _HELD_OUT]
    fitted = sorted(set(texts) - set(tested))
    model = _fitted(fitted)
    return GrammarScore(weights=model.weights, bias=model.bias, caught=_caught(model, tested))


def _fitted(texts: Sequence[str]) -> GrammarScore:
    """Originals and all their disturbances; each kind counts a fifth of what the originals count."""
    from sklearn.linear_model import LogisticRegression

    disturbed = [text for kind in DISTURBANCES for caption in texts if (text := disturb(caption, kind)) is not None]
    labels = np.r_[np.ones(len(texts)), np.zeros(len(disturbed))]
    weights = np.r_[np.ones(len(texts)), np.full(len(disturbed), len(texts) / len(disturbed))]
    model = LogisticRegression(C=1.0, solver="lbfgs", max_iter=200)
    model.fit(_counts([*texts, *disturbed]), labels, sample_weight=weights)
    return GrammarScore(weights=model.coef_[0].astype(np.float32), bias=float(model.intercept_[0]), caught={})


def _caught(model: GrammarScore, tested: Sequence[str]) -> dict[str, float | None]:
    shares: dict[str, float | None] = {"false_alarms": _share_below(model, tested)}
    for kind in DISTURBANCES:
        shares[kind] = _share_below(model, [text for caption in tested if (text := disturb(caption, kind)) is not None])
    return shares


def _share_below(model: GrammarScore, captions: Sequence[str]) -> float | None:
    return round(float(np.mean(model.probabilities(captions) < 0.5)), 4) if captions else None


def _counts(captions: Sequence[str]) -> Any:  # noqa: ANN401 - a sparse matrix of scipy
    """Sparse (n, WIDTH): which runs of words each caption has, its start and end included, scaled to unit length."""
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(
        n_features=WIDTH, analyzer=_runs, alternate_sign=False, norm="l2", lowercase=False, binary=True
    )
    return vectorizer.transform(captions)


def _runs(caption: str) -> list[str]:
    marks = ["<", *map(_mark, caption.split()), ">"]
    runs = [
        " ".join(marks[start : start + n]) for n in range(2, _LONGEST_RUN + 1) for start in range(len(marks) - n + 1)
    ]
    words = caption.casefold().split()
    runs += [f"= {distance}" for distance in (1, 2, 3) for a, b in zip(words, words[distance:], strict=False) if a == b]
    return runs


def _mark(word: str) -> str:
    """A word of grammar as it is; of any other its ending, its end of sentence, and whether it is capitalised."""
    plain = word.casefold().strip(".,;:!?\"'()")
    if plain in FUNCTION_WORDS:
        mark = plain
    elif plain.isalpha():
        mark = f"-{plain[-3:]}" if len(plain) > 4 else f"-{plain[-1:]}"
    else:
        mark = "0"
    return mark + ("." if word[-1] in ".!?" else "," if word[-1] in ",;:" else "")
