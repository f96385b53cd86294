"""Score maps to regions: what of a picture looks like which thing, cut into parts that hang together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le

from evenly.bounds import FINITE
from evenly.features.dense.regions import DIGITS, Regions, encoded_mask
from evenly.features.dense.rows import Dense
from evenly.features.unit_rows import Single

LOW_SCORE, SMALL = "low_score", "small"


@dataclass(frozen=True, kw_only=True)
class MapCut:
    """Cutting of maps: a pixel belongs to its likeliest thing, and pixels of a thing that touch make a region.

    scale: of cosines, before the softmax over things. min_score: the mean probability that a region must have.
    min_area: the share of its picture that it must cover. Others stay as rows, with `low_score` or `small` as their
    reason; regions of less than a cell are no rows.
    """

    scale: Annotated[float, Gt(0), FINITE] = 100.0
    min_score: Annotated[float, Ge(0), Le(1)] = 0.5
    min_area: Annotated[float, Ge(0), Le(1)] = 0.01

    def probabilities(self, cosines: Single) -> Single:
        """The share (n, c, h, w) of each thing in each cell by cosines of that shape."""
        from scipy.special import softmax

        shares: Single = softmax(self.scale * cosines, axis=1)
        return shares

    def regions(
        self, dense: Dense, maps: Single, names: Sequence[str], *, source: str, background: Single | None = None
    ) -> Regions:
        """The regions of maps (n, c, h, w) of probabilities; background: (n, h, w), its own, which may win as well."""
        rows = list[dict[str, Any]]()
        for place in range(len(dense)):
            layers = maps[place] if background is None else np.concatenate([maps[place], background[place][None]])
            of_pixels = dense.on_pixels(place, layers)
            winners = _winners(of_pixels)
            for thing, mask, box in connected_parts(winners, len(names), of_pixels[0].size / maps[0, 0].size):
                score = round(float(of_pixels[thing][mask].mean()), DIGITS)
                share = mask.sum() / mask.size
                reason = LOW_SCORE if score < self.min_score else SMALL if share < self.min_area else ""
                rows.append({
                    "picture": place, "box": box, "mask": encoded_mask(mask), "label": names[thing], "score": score,
                    "source": source, "reason": reason,
                })  # fmt: skip
        return Regions.from_rows(rows)


def _winners(layers: Single) -> npt.NDArray[np.int64]:
    """The first of the largest layers (c, height, width) at each pixel; layer by layer is sooner than along them."""
    best, winners = layers[0].copy(), np.zeros(layers.shape[1:], np.int64)
    for number in range(1, len(layers)):
        np.copyto(winners, number, where=layers[number] > best)
        np.maximum(best, layers[number], out=best)
    return winners


def connected_parts(
    winners: npt.NDArray[np.int64], count: int, least: float
) -> Iterator[tuple[int, npt.NDArray[np.bool_], tuple[float, ...]]]:
    """The parts of each thing that hang together and have at least so many pixels: thing, mask and box."""
    from scipy.ndimage import find_objects, label

    for thing in np.flatnonzero(np.bincount(winners.ravel(), minlength=count)[:count]):
        numbers, _ = label(winners == thing)
        sizes = np.bincount(numbers.ravel())
        for number, (lines, columns) in enumerate(find_objects(numbers), start=1):
            if sizes[number] >= least:
                box = (float(columns.start), float(lines.start), float(columns.stop), float(lines.stop))
                yield int(thing), numbers == number, box
