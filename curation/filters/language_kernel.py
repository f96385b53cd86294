"""The compiled loops of language identification, over UTF-8 bytes. Import it late: it loads numba.

A text is walked byte by byte through a deterministic automaton, whose states name the features (byte n-grams) that end
there. The automaton exceeds the caches of a processor, and waiting for the next state is most of the work: a block of
texts is therefore walked at LANES places at once, so that these waits overlap.
"""

# mypy: disable-error-code="assignment, no-any-return, arg-type"
# numba has one type of signed integer, and numpy's stubs have several.

import numpy as np

from evenly.curation.arrays import compiled
from evenly.curation.filters.language_arrays import Automaton

WORDLESS, STEADY, UNSTEADY = 0, 1, 2
"""Kinds of text: without a letter; already in lower case or mixed, and normalised; perhaps not."""
LETTER, UPPER, LOWER, CHANGES = 1, 2, 4, 8
"""Flags of a character. LOWER: title case too. CHANGES: normalising may change it, or what stands before it."""
LANES = 8
BLOCK = 1 << 15  # bytes that are walked at once, if the first text is no longer
_EIGHT = np.uint32(8)


@compiled
def text_kinds(data: np.ndarray, offsets: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """Return the kind of each text (n,) uint8. flags: those of the first characters; all others may change."""
    kinds = np.empty(len(offsets) - 1, np.uint8)
    for text in range(len(kinds)):
        place, stop = offsets[text], offsets[text + 1]
        text_flags = np.uint8(0)
        while place < stop:
            lead = np.int64(data[place])
            place += 1
            if lead < 0x80:
                text_flags |= flags[lead]
                continue
            n_following = 1 if lead < 0xE0 else 2 if lead < 0xF0 else 3
            point = lead & (0x3F >> n_following)
            for following in range(place, min(place + n_following, stop)):
                point = point << 6 | (np.int64(data[following]) & 0x3F)
            place += n_following
            text_flags |= flags[point] if point < len(flags) else np.uint8(CHANGES)
        if text_flags & CHANGES or (text_flags & UPPER and not text_flags & LOWER):
            kinds[text] = UNSTEADY
        else:
            kinds[text] = STEADY if text_flags & LETTER else WORDLESS
    return kinds


@compiled
def find_features(automaton: Automaton, data: np.ndarray, offsets: np.ndarray, counts: np.ndarray) -> tuple:  # type: ignore[type-arg]
    """Return (features, times, ends): the features of all texts, how often a text has each, and where each text ends.

    Those of a text stand in order of first mention. counts: a zero for each feature, and so again afterwards.
    """
    n = len(offsets) - 1
    features = np.empty(offsets[n] - offsets[0], np.int32)  # no text has more features than bytes
    times = np.empty(len(features), np.int32)
    ends = np.empty(n, np.int64)
    states = np.empty(BLOCK, np.uint32)
    first = count = 0
    while first < n:
        last = first + 1
        while last < n and offsets[last + 1] - offsets[first] <= BLOCK:
            last += 1
        if offsets[last] - offsets[first] > len(states):
            states = np.empty(offsets[last] - offsets[first], np.uint32)
        _walk(automaton.steps, automaton.rows, data, offsets[first : last + 1], states)
        for text in range(first, last):
            begin = count
            for state in states[offsets[text] - offsets[first] : offsets[text + 1] - offsets[first]]:
                feature = automaton.features[state]
                if feature >= 0:
                    features[count] = feature
                    count += counts[feature] == 0
                    counts[feature] += 1
            for number in range(begin, count):
                times[number] = counts[features[number]]
                counts[features[number]] = 0
            ends[text] = count
        first = last
    return features[:count], times[:count], ends


@compiled
def _walk(steps: np.ndarray, rows: np.ndarray, data: np.ndarray, offsets: np.ndarray, states: np.ndarray) -> None:
    """Put the state after each byte of some texts into `states`; each text starts at 0."""
    n, base = len(offsets) - 1, offsets[0]
    size = offsets[n] - base
    goes_on = np.ones(size + 1, np.uint32)
    for text in range(n):
        goes_on[offsets[text] - base] = 0
    begins, stops = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    text = 0
    for lane in range(LANES):
        begins[lane] = offsets[text] - base
        while text < n and (offsets[text] - base) * LANES < size * (lane + 1):
            text += 1
        stops[lane] = offsets[text] - base
    current = np.zeros(LANES, np.uint32)
    common = (stops - begins).min()
    for step in range(common):
        for lane in range(LANES):
            place = begins[lane] + step
            row = np.uint32(rows[current[lane] * goes_on[place]])
            state = steps[row << _EIGHT | np.uint32(data[base + place])]
            current[lane] = state
            states[place] = state
    for lane in range(LANES):
        state = current[lane]
        for place in range(begins[lane] + common, stops[lane]):
            row = np.uint32(rows[state * goes_on[place]])
            state = steps[row << _EIGHT | np.uint32(data[base + place])]
            states[place] = state


@compiled
def gather(features: np.ndarray, weights: np.ndarray, begins: np.ndarray, table: np.ndarray, rows: tuple) -> None:  # type: ignore[type-arg]
    """Put, of texts with k features each, the weights (n, 1, k) and their rows of `table` (n, k, d) into `rows`."""
    text_weights, text_rows = rows
    for text in range(len(begins)):
        for number in range(text_rows.shape[1]):
            place = begins[text] + number
            text_weights[text, 0, number] = weights[place]
            row, text_row = table[features[place]], text_rows[text, number]
            for language in range(len(row)):
                text_row[language] = row[language]
