"""The compiled inner loop of normalising. Import it late: numba takes a second to load."""

import string

import numpy as np

from evenly.curation.compiled import compiled

SPACE = 32
BLANK, SIGN = 0, 1
FOLDED = np.zeros(256, np.uint8)  # what a byte of ASCII becomes: a letter or digit, BLANK or SIGN
FOLDED[list(b"+#")] = SIGN
for character in string.ascii_letters + string.digits:
    FOLDED[ord(character)] = ord(character.lower())
IN_WORDS = FOLDED > SIGN


@compiled
def normalise_rows(
    data: np.ndarray, offsets: np.ndarray, plain: np.ndarray, rest: np.ndarray, rest_offsets: np.ndarray
) -> tuple:  # type: ignore[type-arg]
    """Return (bytes, offsets): each row that is `plain` ASCII normalised; in place of the others those of `rest`."""
    out = np.empty(offsets[-1] - offsets[0] + len(rest), np.uint8)
    ends = np.zeros(len(offsets), np.int64)
    count = other = 0
    for row in range(len(plain)):
        if plain[row]:
            count = _normalise(data, offsets[row], offsets[row + 1], out, count)
        else:
            for at in range(rest_offsets[other], rest_offsets[other + 1]):
                out[count] = rest[at]
                count += 1
            other += 1
        ends[row + 1] = count
    return out[:count].copy(), ends


@compiled
def _normalise(data: np.ndarray, start: int, stop: int, out: np.ndarray, count: int) -> int:
    """Append data[start:stop], all ASCII, normalised to out[:count]; return its new end."""
    begin, at, apart = count, start, False
    while at < stop:
        folded = FOLDED[data[at]]
        end, kept = at + 1, at
        if folded == SIGN:
            while end < stop and FOLDED[data[end]] == SIGN:
                end += 1
            if at > start and IN_WORDS[data[at - 1]]:
                kept = end - 1 if end < stop and IN_WORDS[data[end]] else end
        elif folded != BLANK:
            kept = end
        if kept > at:
            if apart and count > begin:
                out[count] = SPACE
                count += 1
            for byte in data[at:kept]:
                out[count] = byte if folded == SIGN else folded
                count += 1
            apart = False
        apart = apart or kept < end
        at = end
    return count
