"""The order of a caption's two things: whether "a cup above a plate" fits the picture, or it with both exchanged.

ComCLIP (Jiang et al. 2022, arXiv:2211.13854; eric-ai-lab/ComCLIP 75ef16e) adds to the row of a picture those of its
subject, of its object and of both: `recombined`. Both orders add the same ones, so that it hardly tells them apart.
`geometry` is ours, not the paper's: whether the subject lies where a word of place says that it does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Annotated, ClassVar, Self

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le

from evenly.bounds import FINITE
from evenly.features.dense.method import GivenRegions, LearnsFields, RegionNeed, Vocabulary
from evenly.features.dense.methods.descriptions import windows
from evenly.features.dense.naming import region_means
from evenly.features.dense.orders import Order, OrderParser
from evenly.features.dense.regions import DIGITS, Boxes, Regions
from evenly.features.dense.rows import Dense, unit_length
from evenly.features.errors import RowsError
from evenly.features.unit_rows import Single

RELATION = "relation"
"""The reason of both regions where the order does not fit."""
GEOMETRIES = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Relations(LearnsFields):
    """The regions of a caption's subject and object, each with its phrase; none of a caption that says no order.

    score: the probability of the order against that with both exchanged; under min_score `relation` is the reason.
    geometry: the weight of places beside cosines, chosen among GEOMETRIES by `fit`; 0 is ComCLIP. sharpness: of a
    phrase's map of cells, whose centre is its place. window: the share of the grid's sides that a region has.
    relations, verbs: further relations, of which the equation alone judges the order, as `OrderParser` reads them.
    """

    fitted: ClassVar[tuple[str, ...]] = ("geometry",)
    needs: ClassVar[frozenset[RegionNeed]] = frozenset({"captions"})
    geometry: Annotated[float, Ge(0), FINITE] = 0.3
    relations: tuple[str, ...] = ()
    verbs: bool = False
    scale: Annotated[float, Gt(0), FINITE] = 100.0
    sharpness: Annotated[float, Gt(0), FINITE] = 10.0
    window: Annotated[float, Gt(0), Le(1)] = 0.4
    min_score: Annotated[float, Ge(0), Le(1)] = 0.0

    def orders(self, captions: Sequence[str], vocabulary: Vocabulary) -> tuple[npt.NDArray[np.int64], list[Order]]:
        """The places (k,) of the captions that say an order, and these."""
        labels = dict(zip([*vocabulary.labels, *vocabulary.texts], [*vocabulary.labels] * 2, strict=True))
        parser = OrderParser(labels=labels, relations=self.relations, verbs=self.verbs)
        listed = list(parser.orders(captions))
        return np.array([place for place, _ in listed], np.int64), [order for _, order in listed]

    def margins(
        self, dense: Dense, orders: Sequence[Order], rivals: Sequence[Order], vocabulary: Vocabulary
    ) -> tuple[Floats, Floats, Boxes]:
        """Fits of orders to pictures less those of rival ones (n,), by ComCLIP and by place; boxes (n, 2, 4).

        By place it is how far the subject lies where an order says, as a share of the grid's sides. Boxes are those of
        the orders' subjects and objects.
        """
        regions = windows(dense, self.window)
        means = unit_length(region_means(dense, regions, dense.cells))
        ours, theirs = (self._parts(dense, listed, regions, means, vocabulary) for listed in (orders, rivals))
        return ours[0] - theirs[0], ours[1] - theirs[1], regions.boxes[ours[2]]

    def _parts(
        self, dense: Dense, orders: Sequence[Order], regions: Regions, means: Single, vocabulary: Vocabulary
    ) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
        from scipy.special import softmax

        words = [(order.caption, *order.phrases, order.relation) for order in orders]
        names = list(dict.fromkeys(chain.from_iterable(words)))
        rows = dict(zip(names, vocabulary.encode(names), strict=True))
        texts = np.array([[rows[text] for text in of_one] for of_one in words], np.float64)
        best = np.empty((len(orders), 2), np.int64)
        for place in range(len(orders)):
            of_picture = np.flatnonzero(regions.picture == place)
            best[place] = of_picture[(means[of_picture] @ texts[place, 1:3].T).argmax(axis=0)]
        overlays = unit_length(means[best].sum(axis=1, keepdims=True))
        composed = recombined(dense.image, np.concatenate([means[best], overlays], axis=1), texts[:, 1:])
        maps = softmax(self.sharpness * np.einsum("nhwd,npd->nphw", dense.cells, texts[:, 1:3]), axis=(2, 3))
        height, width = maps.shape[2:]
        x, y = maps.sum(axis=2) @ (np.arange(width) / width), maps.sum(axis=3) @ (np.arange(height) / height)
        offsets = np.stack([x[:, 0] - x[:, 1], y[:, 0] - y[:, 1]], axis=1)
        return (composed * texts[:, 0]).sum(axis=1), (offsets * [order.place for order in orders]).sum(axis=1), best

    def fit(self, dense: Dense, regions: Regions, vocabulary: Vocabulary) -> Self:
        """Take the geometry that makes captions of known regions likeliest; no caption is read.

        Of the first two regions of different labels a caption says how their boxes lie.
        """
        stated = dict(_stated(regions, vocabulary.names))
        places, orders = self.orders(list(stated.values()), vocabulary)
        if not orders:
            return self
        pictures = np.array(list(stated))[places]
        fits, distances, _ = self.margins(dense[pictures], orders, [order.swapped for order in orders], vocabulary)
        surprises = [np.logaddexp(0, -self.scale * (fits + weight * distances)).mean() for weight in GEOMETRIES]
        return replace(self, geometry=GEOMETRIES[int(np.argmin(surprises))])

    def score(self, dense: Dense, vocabulary: Vocabulary, named: GivenRegions) -> Regions:
        """The regions of all captions that say an order. Raises RowsError without captions."""
        if named.captions is None:
            raise RowsError("`captions` must be those of the pictures; got None. Hand them in.")
        places, orders = self.orders(named.captions, vocabulary)
        if not orders:
            return Regions.from_rows([])
        fits, distances, boxes = self.margins(dense[places], orders, [order.swapped for order in orders], vocabulary)
        scores = (1 / (1 + np.exp(-self.scale * (fits + self.geometry * distances)))).round(DIGITS)
        return Regions.from_rows([
            {
                "picture": int(place), "box": box, "label": label, "phrase": phrase, "score": score,
                "source": "relations", "reason": RELATION if score < self.min_score else "",
            }
            for place, order, two_boxes, score in zip(places, orders, boxes, scores, strict=True)
            for box, label, phrase in zip(two_boxes, order.labels, order.phrases, strict=True)
        ])  # fmt: skip


def recombined(image: Single, parts: Single, texts: Floats) -> Single:
    """Unit rows (n, d) of pictures (n, d) with their parts (n, k, d): v + sum s_i v_i; s_i = t_i v_i / sum t_j v_j.

    As in the public code weights turn where the sum is below 0, and grow without bound near it; no parts where it is 0.
    """
    scores = np.einsum("nkd,nkd->nk", parts, texts)
    total = scores.sum(axis=1, keepdims=True)
    shares = scores / np.where(total == 0, 1, total)
    return unit_length((image + np.einsum("nk,nkd->nd", shares, parts)).astype(np.float32))


def _stated(regions: Regions, names: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Pictures, each with a caption of its first two regions that count and have different labels."""
    counting = regions.kept
    for picture in np.unique(counting.picture):
        of_picture = counting.of_picture(picture)
        places = {str(label): row for row, label in reversed(list(enumerate(of_picture.labels))) if label in names}
        if len(places) > 1:
            (first, row), (second, other) = sorted(places.items(), key=lambda item: item[1])[:2]
            x, y = (of_picture.boxes[row] - of_picture.boxes[other]).reshape(2, 2).sum(axis=0)
            sides, height = ("left of", "right of"), ("above", "below")
            word = sides[int(x > 0)] if abs(x) > abs(y) else height[int(y > 0)]
            yield int(picture), f"a {first} {word} a {second}"
