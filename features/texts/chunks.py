"""Texts that are longer than a model reads, in chunks that it reads, and one row for all chunks of a text."""

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from evenly.features.unit_rows import Single

Count = Callable[[Sequence[str]], list[int]]
"""The tokens of each text, with those that mark its ends."""
_SENTENCES = re.compile(r"(?<=[.!?]\s)|(?<=[\u3002\uff01\uff1f\n])")  # the three of Chinese and Japanese
_WORDS = re.compile(r"(?<=\s)")


def chunks_of(text: str, count: Count, limit: int) -> list[str]:
    """The parts of a text, one after another, each of at most `limit` tokens and of as many sentences as fit.

    A sentence that does not fit in one is parted between words, a word between letters. A letter always stays whole.
    """
    (marks,) = count([""])
    room, parts, left = limit - marks, list[list[str]](), 0
    for piece, tokens in _pieces(text, count, room, marks):
        if tokens > left or not parts:
            parts.append([])
            left = room
        parts[-1].append(piece)
        left -= tokens
    return [chunk for part in parts for chunk in _halved("".join(part), count, limit)]


def chunk_average(rows: Single, tokens: Sequence[int], owners: Sequence[int], n: int) -> Single:
    """Rows (n, d) of length 1: for each owner 0 to n - 1 the mean of its chunks' directions (m, d) by their tokens."""
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    sums = np.zeros((n, rows.shape[1]), np.float64)
    np.add.at(sums, np.asarray(owners, np.int64), unit.astype(np.float64) * np.asarray(tokens, np.float64)[:, None])
    lengths = np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return np.asarray(sums / lengths, dtype=np.float32)


def _pieces(text: str, count: Count, room: int, marks: int) -> Iterator[tuple[str, int]]:
    """Sentences with their tokens; words, or parts of these, of sentences that take more than `room`."""
    for sentence, tokens in _counted(_SENTENCES.split(text), count, marks):
        if tokens <= room:
            yield sentence, tokens
            continue
        for word, of_word in _counted(_WORDS.split(sentence), count, marks):
            if of_word <= room:
                yield word, of_word
            else:
                yield from _counted(_halved(word, count, room + marks), count, marks)


def _counted(texts: list[str], count: Count, marks: int) -> Iterator[tuple[str, int]]:
    return ((text, tokens - marks) for text, tokens in zip(texts, count(texts), strict=True))


def _halved(text: str, count: Count, limit: int) -> list[str]:
    if len(text) < 2 or count([text])[0] <= limit:
        return [text]
    half = len(text) // 2
    return [*_halved(text[:half], count, limit), *_halved(text[half:], count, limit)]
