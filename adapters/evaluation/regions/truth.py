"""The true objects of drawn pictures as flat arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evenly.adapters.evaluation.regions.overlaps import Decode, RegionRows
from evenly.adapters.features import Booleans, Floats, Integers

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
    def colour_names(self) -> tuple[str, ...]:
        """All colours of objects, sorted."""
        return tuple(sorted({*self.colours} - {""}))

    @property
    def scores(self) -> Floats:
        """1 of each."""
        return np.ones(len(self.picture))

    def crowded(self, part: str) -> Integers:
        """The places of the pictures of a part that show two objects or more."""
        counts = np.bincount(self.picture, minlength=len(self.sizes))
        return np.flatnonzero((self.parts == part) & (counts > 1))

    def rows_of(self, pictures: Integers) -> Integers:
        """The places of the objects of pictures."""
        return np.flatnonzero(np.isin(self.picture, pictures))

    def defect_masks(self, pictures: Integers, *, step: int) -> Iterator[Booleans]:
        """Whether the pixels (h, w) of pictures, of `step` lines and columns one, are in the box of a defect."""
        for picture in pictures:
            mask = np.zeros(self.sizes[picture], np.bool_)
            for x0, y0, x1, y1 in self.defect_boxes[self.defects == picture].astype(np.int64):
                mask[y0:y1, x0:x1] = True
            yield mask[step // 2 :: step, step // 2 :: step]

    def maps(self, regions: RegionRows, names: Sequence[str], pictures: Integers) -> Iterator[Integers]:
        """Maps (h, w) of pictures: 0, or the place from 1 among `names` of the label of the region there.

        Where several overlap it is the one with the highest score.
        """
        number = {name: place + 1 for place, name in enumerate(names)}
        order = np.argsort(regions.scores, kind="stable")
        for picture in pictures:
            drawn = np.zeros(self.sizes[picture], np.int64)
            for place in order[regions.picture[order] == picture]:
                drawn[self.decode(str(regions.masks[place]), picture)] = number.get(regions.labels[place], 0)
            yield drawn
