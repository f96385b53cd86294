"""The automaton of language identification, and its loops in numpy: for texts too few to load compiled ones for."""

from typing import NamedTuple

import numpy as np

_FEW = 4
"""Texts that are walked byte by byte by Python, which is as fast."""


class Automaton(NamedTuple):
    """s states that share r rows of steps; state 0 begins.

    steps (256 r,) uint32: by row and byte, the state that follows. rows (s,) unsigned: the row of each state. features
    (s,) int32: the feature that ends at each state, -1 for none.
    """

    steps: np.ndarray
    rows: np.ndarray
    features: np.ndarray


def automaton_features(
    automaton: Automaton, data: np.ndarray, offsets: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (features, times, ends), as the compiled `find_features` does; `counts` has an entry for each feature."""
    lengths = np.diff(offsets)
    states = _walk(automaton, data, offsets, lengths)
    named = automaton.features[states]
    places = np.flatnonzero(named >= 0)
    texts = np.repeat(np.arange(len(lengths)), lengths)[places]
    keys, first, times = np.unique(texts * len(counts) + named[places], return_index=True, return_counts=True)
    by_mention = np.argsort(first)
    ends = np.cumsum(np.bincount(keys // max(len(counts), 1), minlength=len(lengths)))
    return (keys % len(counts))[by_mention].astype(np.int32), times[by_mention].astype(np.int32), ends


def _walk(automaton: Automaton, data: np.ndarray, offsets: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The state after each byte: all texts take a step at a time, the longest few of them their last ones alone."""
    states = np.empty(offsets[-1] - offsets[0], np.uint32)
    by_length = np.argsort(-lengths, kind="stable")
    places, current = offsets[by_length], np.zeros(len(lengths), np.uint32)
    longer = len(lengths) - np.searchsorted(lengths[by_length[::-1]], np.arange(lengths.max(initial=0)), side="right")
    for step, n in enumerate(longer[longer > _FEW]):
        rows = automaton.rows[current[:n]].astype(np.int64)
        current[:n] = states[places[:n] - offsets[0] + step] = automaton.steps[rows << 8 | data[places[:n] + step]]
    done = int((longer > _FEW).sum())
    for number, text in enumerate(by_length[:_FEW]):
        state = current[number]
        for place in range(offsets[text] + done, offsets[text + 1]):
            state = automaton.steps[int(automaton.rows[state]) << 8 | int(data[place])]
            states[place - offsets[0]] = state
    return states


def fill_rows(
    features: np.ndarray,
    weights: np.ndarray,
    begins: np.ndarray,
    table: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
) -> None:
    """Fill `rows` as the compiled `gather` does."""
    places = begins[:, np.newaxis] + np.arange(rows[1].shape[1])
    rows[0][:, 0], rows[1][:] = weights[places], table[features[places]]
