"""Whether one change of colour makes a picture another, compiled. Import it late: it loads numba.

A change is brightness (every value times a factor), saturation (every value away from or towards the grey of its cell)
or hue (turned in HSV, the largest and smallest value of a cell kept), by an amount that photo editors call slight.
"""

import numpy as np

from evenly.curation.compiled import compiled
from evenly.curation.duplicates.colour_shifts import BRIGHTNESS, HUE, SATURATION
from evenly.curation.duplicates.colours import Bytes
from evenly.curation.duplicates.lsh import Ints

_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114  # of grey, as in ITU-R BT.601
_TURN = 2  # the place of hue among the changes


@compiled
def find_shifts(  # noqa: PLR0917 - compiled code takes no keywords
    colours: Bytes, left: Ints, right: Ints, limit: float, family: Ints, rest: Ints
) -> None:
    """Write for each pair of rows the change that leaves the least difference, and that difference.

    `family` is 0 where every change leaves more than `limit` levels in some value.
    """
    for at in range(len(left)):
        one, other = colours[left[at]], colours[right[at]]
        cell = _most_different(one, other)
        best, kind = int(limit) + 1, 0
        for change, (first, last, step) in enumerate((BRIGHTNESS, SATURATION, HUE)):
            if not _possible(one, other, change, first, last, cell, best) and not _possible(
                other, one, change, first, last, cell, best
            ):
                continue
            for amount in range(first, last + 1, step):
                forth = _left_over(one, other, change, amount, cell, best)
                back = _left_over(other, one, change, amount, cell, best)
                if min(forth, back) < best:
                    best, kind = min(forth, back), change + 1
        family[at], rest[at] = kind, best


@compiled
def _most_different(one: Bytes, other: Bytes) -> int:
    """The place of the cell that holds the largest difference."""
    most, place = -1, 0
    for at in range(len(one)):
        apart = int(abs(np.int64(one[at]) - np.int64(other[at])))
        if apart > most:
            most, place = apart, at
    return place // 3 * 3


@compiled
def _possible(  # noqa: PLR0917 - compiled code takes no keywords
    one: Bytes, other: Bytes, change: int, first: int, last: int, cell: int, enough: int
) -> bool:
    """Whether some amounts, one for each value, leave less than `enough` in one cell: said fast, for most pairs not."""
    if change == _TURN:
        some, others = one[cell : cell + 3], other[cell : cell + 3]
        high = abs(np.int64(some.max()) - np.int64(others.max()))
        return bool(max(high, abs(np.int64(some.min()) - np.int64(others.min()))) < enough)
    few, much = _changed(one, cell, change, first), _changed(one, cell, change, last)
    for channel in range(3):
        level = np.int64(other[cell + channel])
        low, high = min(few[channel], much[channel]), max(few[channel], much[channel])
        if low - level >= enough or level - high >= enough:
            return False
    return True


@compiled
def _left_over(  # noqa: PLR0917 - compiled code takes no keywords
    one: Bytes, other: Bytes, change: int, amount: int, cell: int, enough: int
) -> int:
    """The largest difference in any value once `one` is changed; at least `enough` where it is no less than that."""
    most = _apart(one, other, cell, change, amount)
    for at in range(0, len(one), 3):
        if most >= enough:
            break
        most = max(most, _apart(one, other, at, change, amount))
    return int(most)


@compiled
def _apart(one: Bytes, other: Bytes, at: int, change: int, amount: int) -> int:
    """The largest difference in the three values of one cell once `one` is changed."""
    red, green, blue = _changed(one, at, change, amount)
    most = max(abs(red - np.int64(other[at])), abs(green - np.int64(other[at + 1])))
    return int(max(most, abs(blue - np.int64(other[at + 2]))))


@compiled
def _changed(one: Bytes, at: int, change: int, amount: int) -> tuple[int, int, int]:
    """The three values of one cell once changed."""
    red, green, blue = float(one[at]), float(one[at + 1]), float(one[at + 2])
    if change == _TURN:
        red, green, blue = _turned(red, green, blue, amount / 60)
    else:
        grey = 0.0 if change == 0 else _RED * red + _GREEN * green + _BLUE * blue
        share = amount / 100
        red, green, blue = grey + share * (red - grey), grey + share * (green - grey), grey + share * (blue - grey)
    return _whole(red), _whole(green), _whole(blue)


@compiled
def _whole(level: float) -> int:
    return int(min(max(level, 0.0), 255.0) + 0.5)


@compiled
def _turned(red: float, green: float, blue: float, sixths: float) -> tuple[float, float, float]:
    """A colour with its hue turned by `sixths` of a circle; largest and smallest value stay."""
    high, low = max(red, green, blue), min(red, green, blue)
    chroma = high - low
    if chroma == 0:
        return red, green, blue
    if high == red:
        hue = (green - blue) / chroma
    elif high == green:
        hue = (blue - red) / chroma + 2
    else:
        hue = (red - green) / chroma + 4
    hue += sixths
    return (
        high - chroma * _missing(5 + hue),
        high - chroma * _missing(3 + hue),
        high - chroma * _missing(1 + hue),
    )


@compiled
def _missing(sixths: float) -> float:
    """The share of the chroma that a value lacks of the largest one, by its place on the circle."""
    place = sixths % 6
    return max(0.0, min(place, 4 - place, 1.0))
