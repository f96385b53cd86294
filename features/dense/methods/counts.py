"""Counts: blocks of cells told apart by texts of how many things they hold, and the expected count of each.

CLIP-EBC (Ma et al. 2024, arXiv:2403.09281; public code b52a594) trains a block of convolutions, and prompts within the
encoder, by cross-entropy of bins and DMCount. Here rows are frozen, bottlenecks of cells and texts are trained, and of
DMCount the optimal transport is left out: sums of densities, and how they are spread over blocks, are all it keeps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le

from evenly.bounds import FINITE
from evenly.features.dense.method import (
    UNLABELLED,
    Arrays,
    GivenRegions,
    LearnsArrays,
    RegionColumn,
    RegionNeed,
    Vocabulary,
)
from evenly.features.dense.naming import label_places
from evenly.features.dense.regions import DIGITS, Regions, encoded_mask
from evenly.features.dense.rows import Dense
from evenly.features.errors import RowsError
from evenly.features.torch_session import torch_session
from evenly.features.unit_rows import Single

if TYPE_CHECKING:
    from torch import Tensor

Numbers = npt.NDArray[np.float64]
_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_CARRIED = 0.8
"""The share of a count that the cells of a mask hold."""
_SPREAD_WEIGHT = 0.01
"""DMCount's, of its loss of how a density is spread."""


@dataclass(frozen=True, kw_only=True)
class ThingCounts(LearnsArrays):
    """A region for each thing of which min_count or more are expected on a picture; without `fit` by texts alone.

    bins: the least count of each, from 0; the last has no end. block: the sides of a block in cells. scale: of cosines,
    from which `fit` goes on. absent: the weight of things that are not on a picture, beside 1 of those that are.
    count_weight: of the loss of counts beside that of bins. rank, epochs, batch_size, step, seed: of `fit`.
    """

    columns: ClassVar[tuple[RegionColumn, ...]] = ("counts",)
    needs: ClassVar[frozenset[RegionNeed]] = frozenset()
    bins: tuple[int, ...] = (0, 1, 2, 3, 4, 7)
    block: Annotated[int, Ge(1)] = 4
    min_count: Annotated[float, Gt(0), FINITE] = 0.5
    scale: Annotated[float, Gt(0), FINITE] = 50.0
    absent: Annotated[float, Ge(0), Le(1)] = 1.0
    count_weight: Annotated[float, Ge(0), FINITE] = 1.0
    rank: Annotated[int, Ge(1), Le(4096)] = 64
    epochs: Annotated[int, Ge(1), Le(1000)] = 20
    batch_size: Annotated[int, Ge(1), Le(65536)] = 32
    step: Annotated[float, Gt(0), FINITE] = 1e-3
    seed: Annotated[int, Ge(0)] = 0

    def __post_init__(self) -> None:
        if self.bins[:1] != (0,) or len(self.bins) < 2 or list(self.bins) != sorted(set(self.bins)):
            raise RowsError(f"`bins` must be two counts or more that rise from 0; got {self.bins}. Correct them.")

    @property
    def prompts(self) -> list[str]:
        """The text of each bin (b), with {} for the thing."""
        return [*map(_prompt, self.bins[:-1], self.bins[1:]), f"there are {_word(self.bins[-1])} or more {{}}"]

    @property
    def anchors(self) -> Numbers:
        """The count of each bin (b,): the mean of those it was taught, else its middle; the last one its start."""
        ends = np.array([*self.bins[1:], self.bins[-1] + 1]) - 1
        return np.array(self.learned.get("anchors", (self.bins + ends) / 2), np.float64)

    def densities(self, dense: Dense, vocabulary: Vocabulary) -> tuple[Numbers, Numbers]:
        """The count (n, c, h, w) of each thing by cell, and the probability (n, c) that there is one.

        That of a block is spread evenly over those of its cells that lie in the picture.
        """
        import torch

        parameters = {name: torch.from_numpy(values) for name, values in self._parameters(dense).items()}
        texts, blocks = torch.from_numpy(self._texts(vocabulary)), torch.from_numpy(self._pooled(dense))
        h, w = dense.cells.shape[1:3]
        densities, chances = np.zeros((len(dense), len(texts), h, w)), np.zeros((len(dense), len(texts)))
        with torch_session(), torch.no_grad():
            for place in range(len(dense)):  # by itself: the same bits in any batch
                logits = bin_logits(blocks[place : place + 1], texts, parameters)[0]
                shares = logits.softmax(dim=1).numpy().astype(np.float64)
                lines, columns = (np.diff(edges) > 0 for edges in dense.edges(place))
                inside = (lines[:, None] & columns).astype(np.float64)
                means = np.einsum("cbhw,b->chw", shares, self.anchors) / np.maximum(_summed(inside, self.block), 1)
                densities[place] = means.repeat(self.block, 1)[:, :h].repeat(self.block, 2)[..., :w] * inside
                chances[place] = 1 - shares[:, 0].prod(axis=(1, 2))
        return densities, chances

    def score(self, dense: Dense, vocabulary: Vocabulary, _named: GivenRegions) -> Regions:
        """The regions of all things, by picture; a count is the sum of its density as it is stored."""
        rows = list[dict[str, Any]]()
        densities, chances = self.densities(dense, vocabulary)
        densities = densities.round(DIGITS)
        counts = densities.sum(axis=(2, 3)).round(DIGITS)
        for place, thing in np.argwhere(counts >= self.min_count):
            density = densities[place, thing]
            mask = _mask(dense, place, density)
            lines, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
            rows.append({
                "picture": place, "box": (columns[0], lines[0], columns[-1] + 1, lines[-1] + 1),
                "mask": encoded_mask(mask), "label": vocabulary.names[thing], "score": chances[place, thing],
                "source": "counts", "count": counts[place, thing], "density": density.ravel(),
            })  # fmt: skip
        return Regions.from_rows(rows)

    def fit(self, dense: Dense, regions: Regions, vocabulary: Vocabulary) -> Self:
        """Train on all things: of each the regions are all that there are. Raises RowsError where none has a region."""
        import torch

        truth = _summed(true_counts(dense, regions, vocabulary.names), self.block)
        if not truth.any():
            raise RowsError(f"`regions` must have labels among {vocabulary.names[:3]}; got none. Add labelled boxes.")
        classes, anchors = np.searchsorted(self.bins, truth, side="right") - 1, self.anchors
        for place in np.unique(classes):
            anchors[place] = truth[classes == place].mean()
        blocks, texts = torch.from_numpy(self._pooled(dense)), torch.from_numpy(self._texts(vocabulary))
        counts, bins, of_bins = torch.tensor(truth).float(), torch.from_numpy(classes), torch.tensor(anchors).float()
        weights = (counts.sum(dim=(2, 3)) > 0).float().clamp(min=self.absent)
        with torch_session(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            start = self._parameters(dense).items()
            parameters = {name: torch.from_numpy(values).requires_grad_() for name, values in start}
            optimizer = torch.optim.AdamW(parameters.values(), lr=self.step)
            for _ in range(self.epochs):
                for places in torch.randperm(len(dense)).split(self.batch_size):  # type: ignore[no-untyped-call]
                    logits = bin_logits(blocks[places], texts, parameters)
                    density = torch.einsum("ncbhw,b->nchw", logits.softmax(dim=2), of_bins)
                    of_counts = count_loss(density, counts[places])
                    losses = weights[places] * (bin_loss(logits, bins[places]) + self.count_weight * of_counts)
                    optimizer.zero_grad()
                    (losses.sum() / weights[places].sum().clamp(min=1)).backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
        return self.with_arrays({"anchors": anchors} | {name: v.detach().numpy() for name, v in parameters.items()})

    def _texts(self, vocabulary: Vocabulary) -> Single:
        """The rows (c, b, d) of the prompts of each thing."""
        filled = [prompt.replace("{}", name) for name in vocabulary.names for prompt in self.prompts]
        return vocabulary.encode(filled).reshape(len(vocabulary.names), len(self.bins), -1)

    def _pooled(self, dense: Dense) -> Single:
        """The mean (n, h, w, d) of the cells of each block."""
        sizes = _summed(np.ones(dense.cells.shape[1:3]), self.block)
        sums = _summed(dense.cells.transpose(0, 3, 1, 2), self.block)
        return np.ascontiguousarray((sums / sizes).transpose(0, 2, 3, 1), np.float32)

    def _parameters(self, dense: Dense) -> Arrays:
        """The parameters that were learned, else those that change no row."""
        if self.learned:
            return {name: values for name, values in self.learned.items() if name != "anchors"}
        random, d, r = np.random.default_rng(self.seed), dense.cells.shape[3], self.rank
        drawn = {"cells_down": ((d, r), d), "texts_down": ((d, r), d), "mixing": ((r, r, 3, 3), 9 * r)}
        zeros = {"cells_up": (r, d), "texts_up": (r, d), "mixing_bias": (r,), "texts_bias": (r,)}
        arrays = {name: random.normal(size=shape) * (2 / n) ** 0.5 for name, (shape, n) in drawn.items()}
        arrays |= {name: np.zeros(shape) for name, shape in zeros.items()} | {"log_scale": np.log([self.scale])}
        return {name: values.astype(np.float32) for name, values in arrays.items()}


def true_counts(dense: Dense, regions: Regions, names: Sequence[str]) -> Numbers:
    """The number (n, c, h, w) of regions of each name whose centre lies in each cell; beyond the grid none is seen."""
    n, h, w = dense.cells.shape[:3]
    counts, kept = np.zeros((n, len(names), h, w)), regions.kept
    labels, frames = label_places(kept, names), dense.frames[kept.picture]
    centres = (kept.boxes[:, :2] + kept.boxes[:, 2:]) / 2 - frames[:, :2]
    x, y = np.floor(centres / (frames[:, 2:] - frames[:, :2]) * (w, h)).astype(int).T
    inside = (labels != UNLABELLED) & (x >= 0) & (x < w) & (y >= 0) & (y < h)
    np.add.at(counts, (kept.picture[inside], labels[inside], y[inside], x[inside]), 1)
    return counts


def bin_logits(blocks: "Tensor", texts: "Tensor", parameters: "Mapping[str, Tensor]") -> "Tensor":
    """The scaled cosine (n, c, b, h, w) of blocks (n, h, w, d) with texts (c, b, d), each after its bottleneck."""
    import torch
    from torch.nn.functional import conv2d, normalize, relu

    narrow = (blocks @ parameters["cells_down"]).movedim(3, 1)
    mixed = relu(conv2d(narrow, parameters["mixing"], parameters["mixing_bias"], padding=1)).movedim(1, 3)
    rows = normalize(blocks + mixed @ parameters["cells_up"], dim=3)
    narrow_texts = relu(texts @ parameters["texts_down"] + parameters["texts_bias"])
    of_bins = normalize(texts + narrow_texts @ parameters["texts_up"], dim=2)
    return parameters["log_scale"].exp() * torch.einsum("nhwd,cbd->ncbhw", rows, of_bins)


def bin_loss(logits: "Tensor", bins: "Tensor") -> "Tensor":
    """The cross-entropy (n, c) of logits (n, c, b, h, w) of bins (n, c, h, w), summed over blocks."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits.movedim(2, 1), bins, reduction="none").sum(dim=(2, 3))


def count_loss(density: "Tensor", counts: "Tensor") -> "Tensor":
    """DMCount's losses (n, c) of a density (n, c, h, w): of its sum, and of its shares, times the true sum."""
    total, truth = density.sum(dim=(2, 3), keepdim=True), counts.sum(dim=(2, 3), keepdim=True)
    differences = (density / (total + 1e-8) - counts / (truth + 1e-8)).abs() * truth
    return (total - truth).abs().sum(dim=(2, 3)) + _SPREAD_WEIGHT * differences.sum(dim=(2, 3))


def _summed(cells: npt.NDArray[np.floating], block: int) -> Numbers:
    """Sums (..., h, w) of cells over blocks; the last of a line or column may be smaller."""
    lines, columns = (range(0, side, block) for side in cells.shape[-2:])
    return np.asarray(np.add.reduceat(np.add.reduceat(cells, lines, axis=-2), columns, axis=-1))


def _mask(dense: Dense, place: int, density: Numbers) -> npt.NDArray[np.bool_]:
    """The pixels (height, width) of the fewest cells that hold most of a density (h, w)."""
    order = np.argsort(-density, axis=None, kind="stable")
    further = density.ravel()[order].cumsum() - density.ravel()[order]
    cells = np.zeros(density.shape, np.bool_)
    cells.ravel()[order[further < _CARRIED * density.sum()]] = True
    (lines, columns), (width, height) = dense.edges(place), dense.sizes[place]
    mask = np.zeros((height, width), np.bool_)
    of_frame = mask[lines[0] : lines[-1], columns[0] : columns[-1]]
    of_frame[:] = cells.repeat(np.diff(lines), axis=0).repeat(np.diff(columns), axis=1)
    return mask


def _prompt(start: int, following: int) -> str:
    if following - start > 1:
        return f"there are between {_word(start)} and {_word(following - 1)} {{}}"
    return f"there {'is' if start < 2 else 'are'} {_word(start)} {{}}"


def _word(count: int) -> str:
    return _WORDS[count] if count < len(_WORDS) else str(count)
