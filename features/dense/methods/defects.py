"""Defects: parts of pictures that are nearer to texts of damage than to texts of none, whose rows are sampled.

Bayes-PFL (Qu et al. 2025, arXiv:2503.10080; public code xiaozhen228/Bayes-PFL) learns tokens of prompts through the
text tower, and flows that give the distribution of their biases. Here no text tower is trained: what is learned and
sampled is added to the rows of texts, by linear maps of `dimension` numbers. Cells come from one layer, in the space of
texts, through maps of that rank; attention over them has one head; each picture of a batch has a sample of its own.
Pictures with and without defects count alike; the second stage, for the picture's score alone, is left out. A fifth of
the pictures chooses the epoch, and the probabilities that become one half.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le, MinLen

from evenly.bounds import FINITE
from evenly.features.dense.maps import LOW_SCORE
from evenly.features.dense.method import Arrays, GivenRegions, LearnsArrays, RegionNeed, Vocabulary, cell_shares
from evenly.features.dense.regions import Regions, encoded_mask
from evenly.features.dense.rows import Dense
from evenly.features.errors import RowsError
from evenly.features.torch_session import torch_session
from evenly.features.unit_rows import Single

if TYPE_CHECKING:
    from torch import Tensor

_FINER, _VAL, _SMALL, _REGULARISED = 4, 5, 0.02, 0.01
_TURNED = ("image", "cells", "query")
_Flags = npt.NDArray[np.bool_]


class Logits(NamedTuple):
    """Logits of pictures (n, s, 2, b) and of cells (n, s, 2, b, k), rows of texts (n, s, 2, b, d), the flows' loss."""

    pictures: "Tensor"
    cells: "Tensor"
    texts: "Tensor"
    divergence: "Tensor"


@dataclass(frozen=True, kw_only=True)
class Defects(LearnsArrays):
    """The most abnormal part of each picture, and others that are likely, by states of the picture's likeliest thing.

    min_score: the probability that a region must have to count. label: of defects, those to learn from as well. states:
    pairs of a normal and an abnormal text, with {} for the thing. weight: of the picture's own probability in a score,
    beside the highest of the region's pixels; .5 in the public code. scale: of cosines, at first. samples: of biases,
    which are averaged. steps, dimension, strength: of flows and biases. epochs, batch_size, step, seed: of `fit`;
    without it the texts alone decide.
    """

    min_score: Annotated[float, Ge(0), Le(1)] = 0.0
    label: str = "defect"
    states: Annotated[tuple[tuple[str, str], ...], MinLen(1)] = (
        ("a {}", "a damaged {}"),
        ("a flawless {}", "a {} with a scratch"),
        ("a {} without any damage", "a {} with a hole"),
    )
    weight: Annotated[float, Ge(0), Le(1)] = 0.0
    scale: Annotated[float, Gt(0), FINITE] = 1 / 0.07
    samples: Annotated[int, Ge(1), Le(1000)] = 5
    steps: Annotated[int, Ge(1), Le(100)] = 10
    dimension: Annotated[int, Ge(1), Le(1024)] = 32
    strength: Annotated[float, Ge(0), FINITE] = 1.0
    epochs: Annotated[int, Ge(1), Le(1000)] = 12
    batch_size: Annotated[int, Ge(2), Le(65536)] = 32
    step: Annotated[float, Gt(0), FINITE] = 1e-3
    seed: Annotated[int, Ge(0)] = 0
    needs: ClassVar[frozenset[RegionNeed]] = frozenset()

    def score(self, dense: Dense, vocabulary: Vocabulary, _named: GivenRegions) -> Regions:
        """The parts of each picture whose pixels have one half or more, and the one that has the highest."""
        rows = list[dict[str, Any]]()
        for place, (cells, picture) in enumerate(zip(*self.maps(dense, vocabulary), strict=True)):
            (pixels,) = dense.on_pixels(place, cells[None])
            for mask, box in _parts(pixels, pixels.size / cells.size):
                score = (1 - self.weight) * float(pixels[mask].max()) + self.weight * float(picture)
                rows.append({
                    "picture": place, "box": box, "mask": encoded_mask(mask), "label": self.label, "score": score,
                    "source": "defects", "reason": LOW_SCORE if score < self.min_score else "",
                })  # fmt: skip
        return Regions.from_rows(rows)

    def maps(self, dense: Dense, vocabulary: Vocabulary) -> tuple[Single, Single]:
        """The probability of a defect in each cell (n, h, w), and on each picture (n,)."""
        with torch_session():
            return self.likely(dense, self._texts(dense, vocabulary))

    def likely(self, dense: Dense, texts: Single) -> tuple[Single, Single]:
        """The same by rows of texts (n, 2, b, d), in a session of torch."""
        import torch

        weights = {name: torch.from_numpy(values) for name, values in self.learned.items()}
        halves = weights.get("halves", torch.zeros(2))
        cells, pictures = np.empty(dense.cells.shape[:3], np.float32), np.empty(len(dense), np.float32)
        with torch.no_grad():
            for place in range(len(dense)):  # one by one, since the last bits hang on how many there are
                picture = slice(place, place + 1)
                logits = self.logits(weights, dense[picture], texts[picture], weights.get("noise"))
                of_cells, of_picture = (
                    (values.softmax(dim=2)[0, :, 1].mean(dim=(0, 1)).logit() - half).sigmoid().numpy()
                    for values, half in zip((logits.cells, logits.pictures), halves, strict=True)
                )
                cells[place], pictures[place] = of_cells.reshape(cells.shape[1:]), of_picture
        return cells, pictures

    def logits(self, weights: "Mapping[str, Tensor]", dense: Dense, texts: Single, noise: "Tensor | None") -> Logits:
        """Logits by rows of texts (n, 2, b, d), normal ones first; by these alone where nothing was learned.

        noise: (n or 1, s, 3, e), of the flow that sees the picture and of those of normal and of abnormal texts.
        """
        import torch
        from torch.nn.functional import normalize

        image, cells = torch.from_numpy(dense.image), torch.from_numpy(dense.cells).flatten(1, 2)
        rows, scales, loss = torch.from_numpy(texts)[:, None], torch.full((2,), self.scale), torch.zeros(())
        read = rows
        if noise is not None:
            visual, of_pictures = flowed((image @ weights["conditioned"])[:, None], noise[:, :, 0], self.steps)
            states, of_states = flowed(weights["agnostic"], noise[:, :, 1:], self.steps)
            loss = of_pictures.mean() + of_states.sum(dim=2).mean()
            biases = (visual @ weights["biases"][2])[:, :, None] + torch.einsum(
                "nsae,aed->nsad", states, weights["biases"][:2]
            )
            rows = normalize(rows + weights["bank"] + self.strength * biases[:, :, :, None], dim=-1)
            image, cells, queries = (
                side + side @ weights[f"{name}_in"] @ weights[f"{name}_out"]
                for name, side in zip(_TURNED, (image, cells, rows), strict=True)
            )
            image, cells = normalize(image, dim=-1), normalize(cells, dim=-1)
            attended = torch.einsum("nsabd,nkd->nsabk", queries, cells) * cells.shape[2] ** -0.5
            read = normalize(rows + torch.einsum("nsabk,nkd->nsabd", torch.softmax(attended, -1), cells), dim=-1)
            scales = weights["temperatures"].exp()
        of_pictures = scales[0] * torch.einsum("nsabd,nd->nsab", rows, image)
        return Logits(of_pictures, scales[1] * torch.einsum("nsabd,nkd->nsabk", read, cells), rows, loss)

    def fit(self, dense: Dense, regions: Regions, vocabulary: Vocabulary) -> Self:
        """Learn of pictures with regions of `label` and of pictures without; their order changes nothing.

        The epoch is that of the highest areas under the ROC curve, of cells and of pictures. Raises RowsError where
        either kind is not among those to learn from and those to choose by.
        """
        names = [dense.digest(place) for place in range(len(dense))]
        truth, order = self._truth(dense, regions), np.argsort(names)
        is_val = np.array([int(name[:8], 16) % _VAL == 0 for name in names], np.bool_)[order]
        train, val, damaged = order[~is_val], order[is_val], np.array([cells.any() for cells in truth], np.bool_)
        counts = [int(kind[part].sum()) for part in (train, val) for kind in (damaged, ~damaged)]
        if not all(counts):
            raise RowsError(
                f"`regions` must be `{self.label}` on some pictures and not on others, among those to learn from and "
                f"those to choose by; got {counts[:2]} and {counts[2:]}. Give more pictures of the kind that lacks."
            )
        shape, texts = (
            (len(val), dense.cells.shape[1], _FINER, dense.cells.shape[2], _FINER),
            self._texts(dense, vocabulary),
        )
        best, highest, of_val = self, -1.0, truth[val].reshape(shape).any(axis=(2, 4))
        for arrays in self._trained(dense[train], texts[train], truth[train]):
            cells, pictures = self.with_arrays(arrays).likely(dense[val], texts[val])
            sides = [(scores[damaged[val]], scores[~damaged[val]]) for scores in (cells.max(axis=(1, 2)), pictures)]
            area = sum(_area(*pair) for pair in [(cells[of_val], cells[~of_val]), *sides])
            if area > highest:
                halves = np.array([_half(*pair) for pair in sides], np.float32)
                best, highest = self.with_arrays({**arrays, "halves": halves}), area
        return best

    def _texts(self, dense: Dense, vocabulary: Vocabulary) -> Single:
        """Rows of the texts (n, 2, b, d) of the likeliest thing of each picture, normal ones first."""
        names, sides = vocabulary.names, list(zip(*self.states, strict=True))
        texts = [state.replace("{}", name) for name in names for side in sides for state in side]
        rows = vocabulary.encode(texts).reshape(len(names), 2, len(self.states), -1)
        return np.asarray(rows[(dense.image @ vocabulary.prototypes.T).argmax(axis=1)], np.float32)

    def _truth(self, dense: Dense, regions: Regions) -> _Flags:
        """Whether half of each of _FINER x _FINER parts of a cell (n, h, w) is within a region of `label`."""
        n, height, width, d = dense.cells.shape
        truth = np.zeros((n, height * _FINER, width * _FINER), np.bool_)
        finer = replace(dense, cells=np.broadcast_to(np.float32(0), (*truth.shape, d)))
        defects = regions.kept[regions.kept.labels == self.label]
        for place in np.unique(defects.picture):
            truth[place] = (cell_shares(finer, int(place), defects.of_picture(place)) >= 0.5).any(axis=0)
        return truth

    def _trained(self, dense: Dense, texts: Single, truth: _Flags) -> Iterator[Arrays]:
        """The learned arrays after each epoch."""
        import torch
        from torch.nn.functional import cross_entropy, interpolate

        with torch_session(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            weights, damaged = self._start(dense.image.shape[1]), torch.from_numpy(truth.any(axis=(1, 2))).long()
            noise = torch.randn(1, self.samples, 3, self.dimension)
            further = [values for name, values in weights.items() if name != "temperatures"]
            groups = [{"params": further, "lr": self.step}, {"params": [weights["temperatures"]], "lr": 0.01}]
            optimizer = torch.optim.Adam(groups, betas=(0.5, 0.999))
            for _ in range(self.epochs):
                for places in torch.split(torch.randperm(len(dense)), self.batch_size):
                    part = places.numpy()
                    drawn = torch.randn(len(part), 1, 3, self.dimension)
                    logits = self.logits(weights, dense[part], texts[part], drawn)
                    pair = int(torch.randint(len(self.states), ()))
                    maps = logits.cells[:, 0, :, pair].reshape(len(part), 2, *dense.cells.shape[1:3])
                    likely = interpolate(maps, size=truth.shape[1:], mode="bilinear").softmax(dim=1)[:, 1]
                    of_pixels = torch.from_numpy(truth[part]).float()
                    loss = cross_entropy(
                        logits.pictures[:, 0, :, pair], damaged[places], len(damaged) / (2 * damaged.bincount())
                    )
                    loss = loss + focal_loss(likely, of_pixels) + dice_loss(likely, of_pixels)
                    loss = loss + _REGULARISED * logits.divergence + orthogonal_loss(logits.texts)
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                yield {name: values.detach().numpy().copy() for name, values in {**weights, "noise": noise}.items()}

    def _start(self, d: int) -> "dict[str, Tensor]":
        import torch

        of_flow = self.dimension * (2 + 2 * self.steps) + self.steps
        weights = {
            "bank": torch.zeros(2, len(self.states), d),
            "temperatures": torch.full((2,), self.scale).log(),
            "agnostic": _SMALL * torch.randn(2, of_flow),
            "conditioned": _SMALL * torch.randn(d, of_flow),
            "biases": _SMALL / 10 * torch.randn(3, self.dimension, d),
            **{f"{side}_in": torch.randn(d, self.dimension) / d**0.5 for side in _TURNED},
            **{f"{side}_out": torch.zeros(self.dimension, d) for side in _TURNED},
        }
        return {name: values.requires_grad_() for name, values in weights.items()}


def planar(z: "Tensor", u: "Tensor", w: "Tensor", b: "Tensor") -> "tuple[Tensor, Tensor]":
    """Z = z + u tanh(w z + b) of z (..., e), u, w (..., e) and b (...), and the logarithm of the determinant (...)."""
    inner = ((w * z).sum(dim=-1) + b).tanh()
    return z + u * inner[..., None], ((1 + (1 - inner**2) * (w * u).sum(dim=-1)).abs() + 1e-5).log()


def flowed(parameters: "Tensor", noise: "Tensor", steps: int) -> "tuple[Tensor, Tensor]":
    """Noise (..., e) through a Gaussian and planar flows, (..., e), and log q(z_0) - log p(z_k) - log determinants."""
    import torch

    e = noise.shape[-1]
    mean, log_variance, u, w, b = torch.split(parameters, [e, e, steps * e, steps * e, steps], dim=-1)
    z = mean + noise * (log_variance / 2).exp()
    divergence = -(log_variance + noise**2).sum(dim=-1) / 2
    for u_k, w_k, b_k in zip(torch.split(u, e, -1), torch.split(w, e, -1), b.unbind(-1), strict=True):
        z, determinant = planar(z, u_k, w_k, b_k)
        divergence = divergence - determinant
    return z, divergence + (z**2).sum(dim=-1) / 2


def focal_loss(likely: "Tensor", truth: "Tensor") -> "Tensor":
    """-(1 - p)^2 log p with p the probability of the truth (n, h, w): the means over defects and over the rest."""
    right = likely * truth + (1 - likely) * (1 - truth)
    losses = -((1 - right) ** 2) * (right + 1e-8).log()
    defects, sound = ((losses * side).sum() / (side.sum() + 1e-8) for side in (truth, 1 - truth))
    return defects + sound


def dice_loss(likely: "Tensor", truth: "Tensor") -> "Tensor":
    """1 - 2 |p truth| / (|p| + |truth|) over all pixels."""
    return 1 - (2 * (likely * truth).sum() + 1e-5) / (likely.sum() + truth.sum() + 1e-5)


def orthogonal_loss(texts: "Tensor") -> "Tensor":
    """The mean square of cosines of different texts (..., 2, b, d) of a side, summed over both sides."""
    import torch

    cosines = texts @ texts.mT * (1 - torch.eye(texts.shape[-2]))
    return (cosines**2).mean(dim=(-1, -2)).sum(dim=-1).mean()


def _parts(pixels: Single, cell: float) -> Iterator[tuple[_Flags, tuple[float, ...]]]:
    """The parts of one half or more, of a cell's size at least, and the part that has the highest: mask and box."""
    from scipy.ndimage import find_objects, label

    peak = np.unravel_index(pixels.argmax(), pixels.shape)
    numbers, _ = label(pixels >= min(0.5, (pixels[peak] + pixels.mean()) / 2))
    sizes = np.bincount(numbers.ravel())
    for number, (lines, columns) in enumerate(find_objects(numbers), start=1):
        if number == numbers[peak] or (sizes[number] >= cell and pixels[peak] >= 0.5):
            yield numbers == number, tuple(float(s) for s in (columns.start, lines.start, columns.stop, lines.stop))


def _area(positive: Single, negative: Single) -> float:
    """The area under the ROC curve, equal values counting half."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)]
    return float((ranks.mean() - (len(positive) + 1) / 2) / len(negative))


def _half(positive: Single, negative: Single) -> float:
    """The logit of the probability that parts both best, each side counting alike."""
    from scipy.special import logit

    values = np.unique(np.concatenate([positive, negative]))
    gains = [(positive >= value).mean() - (negative >= value).mean() for value in values]
    best = int(np.argmax(gains))
    return float(logit(values[max(0, best - 1) : best + 1]).mean())
