"""Correlations: each cell becomes the mean of the cells that a second backbone holds to be of the same thing.

CLIP-DINOiser (Wysoczanska et al. 2023, arXiv:2312.12359; public code a954aae). Two convolutions are taught to do
without the second backbone and to find background. There FOUND teaches background and an inner layer is convolved; here
it is the regions handed to `fit`, and the encoder's own cells.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import numpy as np
from annotated_types import Ge, Gt, Le

from evenly.bounds import FINITE
from evenly.features.dense.maps import MapCut
from evenly.features.dense.method import GivenRegions, LearnsArrays, RegionNeed, Vocabulary, covered_shares
from evenly.features.dense.regions import Regions
from evenly.features.dense.rows import Dense, unit_length
from evenly.features.errors import RowsError
from evenly.features.torch_session import torch_session
from evenly.features.unit_rows import Single

if TYPE_CHECKING:
    from torch import Tensor

_BATCH = 16
_BACKGROUND_STEP = 0.01


@dataclass(frozen=True, kw_only=True)
class Correlations(LearnsArrays, MapCut):
    """Maps of pooled cells; `fit` makes the second backbone needless and finds background.

    gamma: the correlation from which two cells are of one thing. delta: a cell whose likeliest thing has that
    probability is no background; 0 knows none. dimension, epochs, step, seed: of what `fit` teaches.
    """

    gamma: Annotated[float, Gt(0), Le(1)] = 0.2
    delta: Annotated[float, Ge(0), Le(1)] = 0.99
    dimension: Annotated[int, Ge(1)] = 256
    epochs: Annotated[int, Ge(1)] = 10
    step: Annotated[float, Gt(0), FINITE] = 5e-5
    seed: int = 0
    learns_unlabelled: ClassVar[bool] = True

    @property
    def needs(self) -> frozenset[RegionNeed]:
        """A second backbone, until taught."""
        return frozenset() if self.learned else frozenset({"second"})

    def correlations(self, dense: Dense) -> Single:
        """The cosine (n, k, k) of each two of the k cells of a picture, by what was taught or the second backbone."""
        if self.learned:
            rows = _convolved(dense.cells, self.learned["objects_weight"], self.learned["objects_bias"])
            rows = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
        else:
            rows = _second(dense)
        flat = rows.reshape(len(dense), -1, rows.shape[-1])
        cosines: Single = flat @ flat.swapaxes(1, 2)
        return cosines

    def pooled(self, dense: Dense) -> Single:
        """Rows (n, h, w, d): the mean of the cells by their correlation with each, where that is gamma or more."""
        correlations = self.correlations(dense)
        weights = np.where(correlations < self.gamma, 0, correlations)
        sums = weights @ dense.cells.reshape(*weights.shape[:2], -1)
        means: Single = (sums / (weights.sum(axis=2, keepdims=True) + 1e-6)).reshape(dense.cells.shape)
        return means

    def maps(self, dense: Dense, texts: Single) -> Single:
        """The probability (n, c, h, w) of each of the things (c, d) in each pooled cell."""
        return self.probabilities(np.einsum("nhwd,cd->nchw", unit_length(self.pooled(dense)), texts, optimize=True))

    def background(self, dense: Dense, maps: Single) -> Single | None:
        """1 at cells (n, h, w) of background, in which no thing reaches delta, else 0; None where it is not known."""
        if not self.learned or "background_weight" not in self.learned:
            return None
        from scipy.special import expit

        of_things = expit(dense.cells @ self.learned["background_weight"].ravel() + self.learned["background_bias"])
        cells: Single = ((of_things <= 0.5) & (maps.max(axis=1) < self.delta)).astype(np.float32)
        return cells

    def score(self, dense: Dense, vocabulary: Vocabulary, _named: GivenRegions) -> Regions:
        """The regions of all things."""
        maps = self.maps(dense, vocabulary.prototypes)
        return self.regions(
            dense, maps, vocabulary.names, source="correlations", background=self.background(dense, maps)
        )

    def fit(self, dense: Dense, regions: Regions, _vocabulary: Vocabulary) -> Self:
        """Teach the convolutions; background by pictures that have regions, not at all where none has."""
        import torch

        if not len(dense):
            return self
        rows, cells = _second(dense).reshape(len(dense), -1, _second(dense).shape[-1]), dense.cells
        shares = covered_shares(dense, regions)
        covered = np.where(np.isnan(shares), np.nan, shares > 0.5).astype(np.float32)
        with torch_session(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            objects = torch.nn.Conv2d(cells.shape[3], self.dimension, 3, padding=1, padding_mode="replicate")
            things = torch.nn.Conv2d(cells.shape[3], 1, 1)
            optimizer = torch.optim.AdamW(objects.parameters(), lr=self.step)
            optimizer.add_param_group({"params": things.parameters(), "lr": _BACKGROUND_STEP})
            for _ in range(self.epochs):
                for places in np.split(torch.randperm(len(dense)).numpy(), range(_BATCH, len(dense), _BATCH)):
                    inputs = torch.from_numpy(cells[places]).movedim(3, 1)
                    correlated = torch.from_numpy(rows[places] @ rows[places].swapaxes(1, 2) >= self.gamma)
                    of_things = torch.from_numpy(covered[places])
                    optimizer.zero_grad()
                    loss = correlation_loss(objects(inputs), correlated) + background_loss(things(inputs), of_things)
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
            state = {**objects.state_dict(prefix="objects_"), **things.state_dict(prefix="background_")}
        arrays = {
            name: values.numpy() for name, values in state.items() if len(regions.kept) or name.startswith("objects")
        }
        arrays["objects_weight"] = np.ascontiguousarray(arrays["objects_weight"].transpose(2, 3, 1, 0))
        return self.with_arrays(arrays)


def correlation_loss(objects: "Tensor", correlated: "Tensor") -> "Tensor":
    """Cross-entropy of cosines of rows (n, e, h, w), above zero, as logits of which cells (n, k, k) are correlated."""
    from torch.nn.functional import binary_cross_entropy_with_logits, normalize

    rows = normalize(objects.flatten(2), dim=1)
    cosines = (rows.transpose(1, 2) @ rows).clamp(min=0)
    return binary_cross_entropy_with_logits(cosines, correlated.to(cosines.dtype))


def background_loss(things: "Tensor", covered: "Tensor") -> "Tensor":
    """Cross-entropy of logits (n, 1, h, w) of what things cover (n, h, w), NaN where it is not known."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    labelled = ~covered.isnan()
    loss = binary_cross_entropy_with_logits(things[:, 0][labelled], covered[labelled], reduction="sum")
    return loss / labelled.sum().clamp(min=1)


def _convolved(cells: Single, weight: Single, bias: Single) -> Single:
    """Rows (n, h, w, e) of cells (n, h, w, d) by a convolution (3, 3, d, e); edges are repeated."""
    height, width = cells.shape[1:3]
    wide = np.pad(cells, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows = bias + sum(wide[:, y : y + height, x : x + width] @ weight[y, x] for y in range(3) for x in range(3))
    return np.asarray(rows)


def _second(dense: Dense) -> Single:
    if dense.second is None:
        raise RowsError(
            "`second` must be rows of a second backbone, or the method taught; got None. Name one, as "
            "`features.second`, or hand in what was learned."
        )
    return dense.second
