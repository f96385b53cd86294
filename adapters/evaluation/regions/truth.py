"""The true objects of drawn pictures as flat arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.adapters.evaluation.regions.overlaps import Decode
from evenly.adapters.features import Floats, Integers

Words = npt.NDArray[np.object_]


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionTruth:
    """Objects (m) of n pictures, in their order, as `RegionRows` are; `labels` are the names of things.

    images, parts, groups (n,): each picture's sha256, part and group, which is its first object's code where there is
    no other; sizes (n, 2): height and width. kinds, colours, codes (m,): the nearest kind of the thing, the object's
    colour, "" where none prevails, and its drawing. defects (k,): the picture's place, then boxes (k, 4). decode: run
    lengths and the picture's place to a mask.
    """

    images: Words
    parts: Words
    groups: Words
    sizes: Integers
    picture: Integers
    boxes: Floats
    masks: Words
    labels: Words
    kinds: Words
    colours: Words
    codes: Words
    defects: Integers
    defect_boxes: Floats
    decode: Decode

    @property
    def scores(self) -> Floats:
        """1 of each."""
        return np.ones(len(self.picture))

    def maps(self, labels: npt.NDArray[Any], names: Sequence[str], pictures: Integers) -> Iterator[Integers]:
        """Maps (h, w) of pictures: 0, or the place from 1 among `names` of the label (m,) of the object there."""
        number = {name: place + 1 for place, name in enumerate(names)}
        for picture in pictures:
            drawn = np.zeros(self.sizes[picture], np.int64)
            for place in np.flatnonzero(self.picture == picture):
                drawn[self.decode(self.masks[place], picture)] = number.get(labels[place], 0)
            yield drawn
