"""Labels of pictures among their names, which are encoded at each step: what CLIP-SVD and MaPLe train their towers by.

CLIP-SVD: Koleilat et al. 2025, arXiv:2509.03740; MaPLe: Khattak et al., CVPR 2023, arXiv:2210.03117. Labels that an
adapter gives: NoLA, Imam et al. 2024, arXiv:2411.19346.
"""

from typing import TYPE_CHECKING

import numpy as np

from evenly.features.refining.objective import Batch, Objective, Sides, asked_for
from evenly.features.refining.pairs import Names, PairRows

if TYPE_CHECKING:
    from torch import Tensor


class Labelled(Objective):
    """Cross-entropy of a picture's label among all labels of train, by `scale` times the cosine to the label's text.

    The texts are refined anew at each step. Pairs without a label have no part in it; captions have none at all.
    """

    learns_labels = True
    reads_captions = False
    needs = ("named",)

    def __init__(self, *, scale: float = 100.0, smoothing: float = 0.0) -> None:
        self.scale, self.smoothing = scale, smoothing

    def prepare(self, pairs: PairRows, *, seed: int) -> None:
        """Take the labels' rows and texts."""
        import torch

        del seed
        named = asked_for(pairs.named)
        self._rows, self._classes = torch.from_numpy(named.rows), torch.from_numpy(named.places[:, 0])
        self._texts: Names = np.array([""] * len(named.rows)) if named.texts is None else named.texts

    def loss(self, batch: Batch, refined: Sides, original: Sides) -> "Tensor":
        """The mean over the labelled pairs of the batch."""
        from torch.nn.functional import cross_entropy, normalize

        del original
        names = normalize(batch.texts(self._rows, self._texts), dim=1)
        classes = self._classes[batch.places]
        logits = self.scale * refined.unit().image @ names.T
        total = cross_entropy(logits, classes, ignore_index=-1, reduction="sum", label_smoothing=self.smoothing)
        return total / (classes >= 0).sum().clamp_min(1)


class TaughtLabels(Labelled):
    """`labelled` by labels that a fitted adapter gives all pictures of train, smoothed: NoLA's third stage.

    A share `smoothing` of each label lies on all classes alike, as in fazliimam/NoLA. There logits are rows, not
    normalised, times a classifier that begins at the class texts and is trained; here the texts stay.
    """

    is_taught = True
    gains = False

    def __init__(self, *, scale: float = 100.0, smoothing: float = 0.1) -> None:
        super().__init__(scale=scale, smoothing=smoothing)
