"""The compiled inner loop of normalising. Import it late: numba takes a second to load."""

import string

import numpy as np

from evenly.curation.arrays import compiled

SPACE = 32
BLANK, SIGN = 0, 1
FOLDED = np.zeros(256, np.uint8)  # what a byte of ASCII becomes: a letter or digit, BLANK or SIGN
FOLDED[list(b"+#")] = SIGN
for character in string.ascii_letters + string.digits:
    FOLDED[ord(character)] = ord(character.lower())
IN_WORDS = FOLDED > SIGN


@compiled
def normalise_rows(
    data: np.ndarray, offsets: np.ndarray, plain: np.ndarray, other_rows: np.ndarray, other_offsets: np.ndarray
) -> tuple:  # type: ignore[type-arg]
    """Return (bytes, offsets): rows that are `plain` ASCII normalised, in place of others `other_rows`."""
    out = np.empty(offsets[-1] - offsets[0] + len(other_rows), np.uint8)
    ends = np.zeros(len(offsets), np.int64)
    count = unplain = 0
    for row in range(len(plain)):
        if plain[row]:
            count = _normalise(data, offsets[row], offsets[row + 1], out, count)
        else:
            for place in range(other_offsets[unplain], other_offsets[unplain + 1]):
                out[count] = other_rows[place]
                count += 1
            unplain += 1
        ends[row + 1] = count
    return out[:count].copy(), ends


@compiled
def _normalise(data: np.ndarray, start: int, stop: int, out: np.ndarray, count: int) -> int:
    """Append data[start:stop], all ASCII, normalised to out[:count]; return its new end."""
    begin, place, after_blank = count, start, False
    while place < stop:
        folded = FOLDED[data[place]]
        end, kept = place + 1, place
        if folded == SIGN:
            while end < stop and FOLDED[data[end]] == SIGN:
                end += 1
            if place > start and IN_WORDS[data[place - 1]]:
                kept = end - 1 if end < stop and IN_WORDS[data[end]] else end
        elif folded != BLANK:
            kept = end
        if kept > place:
            if after_blank and count > begin:
                out[count] = SPACE
                count += 1
            for byte in data[place:kept]:
                out[count] = byte if folded == SIGN else folded
                count += 1
            after_blank = False
        after_blank = after_blank or kept < end
        place = end
    return count
