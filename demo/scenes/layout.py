"""Where the objects of a scene stand, and which relations hold between boxes.

A box is (x0, y0, x1, y1) in pixels from the upper left corner, x1 and y1 the first beyond it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

WIDTH_PX, HEIGHT_PX = 384, 288
MARGIN_PX = 8
REVERSED = {"left_of": "right_of", "above": "below", "on": "under"}
REVERSED |= {reverse: relation for relation, reverse in REVERSED.items()}
"""Relation -> the one that holds the other way round; there are no others."""

_SLACK = 0.1  # of the lower box's height that one above it may reach into
_SEAT = 0.6  # of the lower box's height down to which one that stands on it may reach, where its top is uneven
_CONTACT_PX = 2
Mask = npt.NDArray[np.bool_]


class Box(NamedTuple):
    """A rectangle of pixels."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """In pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """In pixels."""
        return self.y1 - self.y0

    def holds(self, box: "Box") -> bool:
        """Whether the other lies within it."""
        return self.x0 <= box.x0 and self.y0 <= box.y0 and box.x1 <= self.x1 and box.y1 <= self.y1


CANVAS = Box(MARGIN_PX, MARGIN_PX, WIDTH_PX - MARGIN_PX, HEIGHT_PX - MARGIN_PX)


def box_of(mask: Mask) -> Box:
    """The tightest box around the true values of a mask (height, width) that has some."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def relation_holds(relation: str, first: Box, second: Box) -> bool:
    """Whether the first box is left_of, right_of, above, below, on or under the second.

    What stands on another is also above it; `on` asks for contact, which `above` does not.
    """
    if relation in {"right_of", "below", "under"}:
        return relation_holds(REVERSED[relation], second, first)
    if relation == "left_of":
        return first.x1 <= second.x0
    meets = first.y1 >= second.y0
    is_seated = meets and second.x0 <= (first.x0 + first.x1) / 2 < second.x1 and first.y0 < second.y0
    is_on = is_seated and first.y1 <= second.y0 + _SEAT * second.height
    if relation == "on":
        return is_on
    return is_on or first.y1 <= second.y0 + _SLACK * second.height


def relations_between(boxes: Sequence[Sequence[Box]]) -> list[tuple[int, str, int]]:
    """All relations between groups of boxes: (place, relation, place) where each box of the one has it to each other.

    `left_of` needs boxes at one height or not, so that a box may be left of another and above it.
    """
    return [
        (i, relation, j)
        for i, firsts in enumerate(boxes)
        for j, seconds in enumerate(boxes)
        if i != j
        for relation in REVERSED
        if all(relation_holds(relation, first, second) for first in firsts for second in seconds)
    ]


def cells(relations: Sequence[tuple[int, str, int]], canvas: Box = CANVAS) -> list[Box]:
    """The part of the canvas for each group of a plan's relations; of what stands on another both have the same."""
    x0, y0, x1, y1 = canvas
    third: list[Box] = []
    if len(relations) == 2:
        edge = x0 + canvas.width * (2 if relations[1][1] == "right_of" else 1) // 3
        if relations[1][1] == "right_of":
            third, x1 = [Box(edge + MARGIN_PX, y0, x1, y1)], edge
        else:
            third, x0 = [Box(x0, y0, edge, y1)], edge + MARGIN_PX
    if not relations:
        return [Box(x0, y0, x1, y1)]
    middle = (x0 + x1) // 2
    across, halfway = MARGIN_PX // 2, (y0 + y1) // 2
    relation = relations[0][1]
    if relation in {"left_of", "right_of"}:
        pair = [Box(x0, y0, middle - across, y1), Box(middle + across, y0, x1, y1)]
    elif relation in {"above", "below"}:
        pair = [Box(x0, y0, x1, halfway - across), Box(x0, halfway + across, x1, y1)]
    else:
        pair = [Box(x0, y0, x1, y1)] * 2
    return (pair[::-1] if relation in {"right_of", "below"} else pair) + third


def slots(cell: Box, count: int) -> list[Box]:
    """Equal parts of a cell for so many objects, in the rows that leave most room for each."""
    columns = max(range(1, count + 1), key=lambda n: (min(cell.width / n, cell.height / -(-count // n)), n))
    rows = -(-count // columns)
    wide, high = cell.width // columns, cell.height // rows
    corners = [(cell.x0 + place % columns * wide, cell.y0 + place // columns * high) for place in range(count)]
    return [Box(x, y, x + wide - MARGIN_PX // 2, y + high - MARGIN_PX // 2) for x, y in corners]


def seat_y(upper: Mask, lower: Mask, x: int, lower_corner: tuple[int, int]) -> int:
    """The y of the upper mask at which it rests on the lower one, at x; the lower's corner is (x, y).

    None of its columns reaches further down than the top of the lower mask there, but by the contact's two pixels.
    """
    left, top = lower_corner
    columns = [
        (place, place + x - left)
        for place in np.flatnonzero(upper.any(axis=0))
        if 0 <= place + x - left < lower.shape[1] and lower[:, place + x - left].any()
    ]
    if not columns:
        return top - len(upper)
    gaps = [
        top + int(lower[:, below].argmax()) - len(upper) + int(upper[::-1, above].argmax()) for above, below in columns
    ]
    return min(gaps) + _CONTACT_PX
