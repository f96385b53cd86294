"""Contrastive linkage of records: CLIPPINGS, Arora et al. 2023, arXiv:2304.03464."""

from typing import TYPE_CHECKING

from evenly.features.refining.objective import Batch, Objective, Sides, drawn_row, info_nce, own_column

if TYPE_CHECKING:
    from torch import Tensor


class Clippings(Objective):
    """A duplicate finds the record that it was merged into among those of the batch, beside InfoNCE.

    A record is norm(w x picture + (1 - w) x text) of unit rows; of a pair's merged duplicates one is drawn per step.
    The paper trains on pictures and texts first and then on records, with positives and negatives that people labelled.
    """

    uses_negatives = True
    needs = ("duplicates",)

    def __init__(self, *, picture: float = 0.636, weight: float = 1.0, temperature: float = 0.05) -> None:
        self.picture, self.weight, self.temperature = picture, weight, temperature

    def loss(self, batch: Batch, refined: Sides, original: Sides) -> "Tensor":
        """InfoNCE + weight x the linkage of pairs that have duplicates."""
        del original
        paired = info_nce(refined, batch.negatives, temperature=self.temperature)
        rows, has_one = drawn_row(batch.pairs.duplicates, batch)
        if not has_one.any():
            return paired
        duplicates = self._records(batch.refined(Sides(image=rows[:, 0], text=rows[:, 1])))
        logits = duplicates @ self._records(refined).T / self.temperature
        return paired + self.weight * own_column(logits, batch.negatives)[has_one].mean()

    def _records(self, sides: Sides) -> "Tensor":
        from torch.nn.functional import normalize

        unit = sides.unit()
        return normalize(self.picture * unit.image + (1 - self.picture) * unit.text, dim=1)
