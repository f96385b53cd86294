"""A cross-attention teacher over parts of pictures and words: DCLIP, Csizmadia et al. 2025, arXiv:2505.21549."""

from typing import TYPE_CHECKING

from evenly.features.refining.heads import Heads
from evenly.features.refining.objective import Batch, Objective, Sides, info_nce, of_batch
from evenly.features.refining.pairs import PairRows

if TYPE_CHECKING:
    from torch import Tensor

_SHARPNESS = 16.0  # of attention, by unit rows
_FAR = -1e9


class Dclip(Objective):
    """InfoNCE for the heads and for the teacher, and the heads' rows drawn to the teacher's by their cosine.

    In the teacher the words of a caption attend to the quarters of its picture, and the quarters to the words; what
    they see is added to the rows of picture and text, and a low-rank map of each side follows. It is trained beside
    the heads, which get no gradient through it. The paper has regions of a detector and a teacher that is trained
    first, and its student is the tower of pictures alone.
    """

    uses_negatives = True
    needs = ("views", "words")
    gains = False

    def __init__(self, *, weight: float = 1.0, rank: int = 64, temperature: float = 0.05) -> None:
        self.weight, self.rank, self.temperature = weight, rank, temperature

    def prepare(self, pairs: PairRows, *, seed: int) -> None:
        """Start the teacher: its maps change nothing yet."""
        import torch

        start = Heads.start(pairs.image.shape[1], self.rank, seed=seed + 1)
        attention = Heads.start(pairs.image.shape[1], self.rank, seed=seed + 2)
        arrays = {**start.arrays(), "key": attention.image_down, "query": attention.text_down}
        self._teacher = {name: torch.from_numpy(values.astype(pairs.image.dtype)) for name, values in arrays.items()}

    def trained(self) -> "dict[str, Tensor]":
        """The teacher."""
        return self._teacher

    def loss(self, batch: Batch, refined: Sides, original: Sides) -> "Tensor":
        """InfoNCE of both + weight x the mean of 1 - cosine to the teacher's rows."""
        teacher = self._taught(batch, original.unit())
        student = refined.unit()
        losses = info_nce(refined, batch.negatives, temperature=self.temperature) + info_nce(
            teacher, batch.negatives, temperature=self.temperature
        )
        unit = teacher.unit()
        cosines = (student.image * unit.image.detach()).sum(1) + (student.text * unit.text.detach()).sum(1)
        return losses + self.weight * (1 - cosines / 2).mean()

    def _taught(self, batch: Batch, original: Sides) -> Sides:
        from torch.nn.functional import normalize

        teacher = self._teacher
        views, _ = of_batch(batch.pairs.views, batch)
        words, is_word = of_batch(batch.pairs.words, batch)
        views, words = normalize(views, dim=2), normalize(words, dim=2)
        scores = _SHARPNESS * (words @ teacher["query"]) @ (views @ teacher["key"]).transpose(1, 2)
        attended_views = scores.softmax(2) @ views
        counts = is_word.sum(1, keepdim=True).clamp(min=1)
        image = original.image + (attended_views * is_word[:, :, None]).sum(1) / counts
        attended_words = scores.masked_fill(~is_word[:, :, None], _FAR).softmax(1).transpose(1, 2) @ words
        text = original.text + attended_words.mean(1)
        return Sides(
            image=image + image @ teacher["image_down"] @ teacher["image_up"],
            text=text + text @ teacher["text_down"] @ teacher["text_up"],
        )
