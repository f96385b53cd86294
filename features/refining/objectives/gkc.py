"""Other names of a label, and the order of names among pictures: GKC, Han et al., ICCV 2023, arXiv:2303.09181."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evenly.features.refining.objective import (
    Batch,
    Objective,
    Sides,
    asked_for,
    codes,
    drawn_row,
    info_nce,
    own_column,
)  # fmt: skip
from evenly.features.refining.pairs import PairRows
from evenly.features.unit_rows import Single

if TYPE_CHECKING:
    from torch import Tensor

_SHARPNESS = 100.0  # CLIP's own
_AT_ONCE = 256  # pairs whose synonyms are weighed at once: each has several rows


class KnowledgeCalibration(Objective):
    """InfoNCE; pictures find a name of their label, one of its synonyms drawn per step; and names order pictures.

    A picture's synonyms are drawn by their softmax on it by the frozen encoder. Pictures are to be as like one another
    as the names drawn for them are by the frozen encoder: their cosines, less the mean of the batch, are held together.
    Pairs without a label that has synonyms have InfoNCE alone. The paper trains a segmenter; its names are of segments.
    """

    uses_negatives = True
    learns_labels = True
    needs = ("synonyms",)

    def __init__(self, *, names: float = 0.5, distillation: float = 1.0, temperature: float = 0.05) -> None:
        self.names, self.distillation, self.temperature = names, distillation, temperature

    def prepare(self, pairs: PairRows, *, seed: int) -> None:
        """Weigh the synonyms of each picture."""
        import torch

        del seed
        synonyms = asked_for(pairs.synonyms)
        starts = range(0, len(pairs), _AT_ONCE)
        weights = [
            _chances(
                pairs.image[start : start + _AT_ONCE],
                *synonyms[np.arange(start, min(start + _AT_ONCE, len(pairs)))].padded(),
            )
            for start in starts
        ]
        self._weights = torch.cat(weights)
        self._labels = torch.from_numpy(codes(pairs.labels))

    def loss(self, batch: Batch, refined: Sides, original: Sides) -> "Tensor":
        """InfoNCE + names x the cross-entropy of drawn names + distillation x the mean square between cosines."""
        paired = info_nce(refined, batch.negatives, temperature=self.temperature)
        rows, has_one = drawn_row(batch.pairs.synonyms, batch, weights=self._weights)
        if has_one.sum() < 2:
            return paired
        named = batch.refined(Sides(image=original.image, text=rows)).unit().text[has_one]
        pictures, labels = refined.unit().image[has_one], self._labels[batch.places][has_one]
        different_labels = labels[:, None] != labels[None, :]
        calibrated = own_column(pictures @ named.T / self.temperature, different_labels).mean()
        frozen = Sides(image=original.image, text=rows).unit().text[has_one]
        difference = _centred(pictures @ pictures.T) - _centred(frozen @ frozen.T)
        return paired + self.names * calibrated + self.distillation * difference.square().mean()


def _chances(image: Single, synonyms: Single, is_there: npt.NDArray[np.bool_]) -> "Tensor":
    """The softmax (n, k) of the synonyms (n, k, d) on the picture (n, d) of each pair."""
    import torch

    lengths = np.linalg.norm(synonyms, axis=2) * np.linalg.norm(image, axis=1)[:, None]
    cosines = np.einsum("nkd,nd->nk", synonyms, image) / np.maximum(lengths, 1e-12)
    logits = torch.from_numpy(_SHARPNESS * cosines.astype(np.float64)).masked_fill(~torch.from_numpy(is_there), -1e9)
    return logits.softmax(1).clamp_min(1e-9)


def _centred(cosines: "Tensor") -> "Tensor":
    return cosines - cosines.mean()
