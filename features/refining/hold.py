"""A hold on the rows that refining has no pairs for: a penalty on how far frozen rows move, towards a target.

Learning without forgetting, Li & Hoiem 2016, arXiv:1606.09282, asks a model to answer as before where it is not
trained. Here what stays is the place of rows: those of the pairs' pictures, and of nouns that no pool chose.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evenly.features.refining.pairs import Names
from evenly.features.unit_rows import Single

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from evenly.features.refining.objective import Sides
    from evenly.features.refining.refinement import Trainable

SLACK = 1.1
"""How many times the target a refinement may move rows to be chosen."""
HELD = 2000
"""Nouns that are held, as they are and as photographs."""
_TEMPLATES = ("{}", "a photo of a {}")
_START = 20.0
_RATE = 0.1
_LOWEST, _HIGHEST = 1e-2, 1e5
"""Bounds of the weight."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldTexts:
    """Texts (m,) that no pool chose, and their rows (m, d) by the frozen encoder, not normalised."""

    texts: Names
    rows: Single


def noun_texts(synsets: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """HELD nouns, the first lemmas of synsets (id, lemmas) drawn by the hash of their ids, by each template in turn."""
    drawn = sorted(synsets, key=lambda synset: hashlib.sha256(synset[0].encode()).digest())
    nouns = list(dict.fromkeys(lemmas[0].replace("_", " ") for _, lemmas in drawn))[:HELD]
    return [template.format(noun) for noun in nouns for template in _TEMPLATES]


class Hold:
    """weight x the mean square that unit rows move, of a batch's pictures and of as many texts drawn anew.

    Its weight rises by steps while texts, or pictures where texts are not refined, move more than `target` (mean 1 -
    cosine, to second order half the mean square), and falls while they move less: one target holds encoders of any
    scale.
    """

    def __init__(self, nouns: HeldTexts, target: float) -> None:
        import torch

        self.nouns, self.target = nouns, target
        self._rows = torch.from_numpy(np.array(nouns.rows))
        self.weight = torch.tensor([_START])

    def penalty(
        self,
        trained: "Trainable",
        parameters: "Mapping[str, Tensor]",
        original: "Sides",
        refined: "Sides",
        generator: "torch.Generator",
    ) -> "Tensor":
        """The addition to the loss of a batch; the weight takes its next step."""
        import torch

        places = torch.randint(len(self._rows), (len(original.image),), generator=generator)
        frozen = self._rows[places]
        texts = _moved(frozen, trained.texts(parameters, frozen, self.nouns.texts[places.numpy()]))
        images = _moved(original.image, refined.image)
        penalty = self.weight.clone() * (images + texts)
        excess = ((texts if "text" in trained.sides else images).detach() / (2 * self.target)).clamp(
            np.exp(-2), np.exp(2)
        )
        self.weight.mul_(excess**_RATE).clamp_(_LOWEST, _HIGHEST)
        return penalty.squeeze()


def _moved(frozen: "Tensor", refined: "Tensor") -> "Tensor":
    """The mean square that rows (n, d) move, each as a share of its length."""
    return ((refined - frozen).square().sum(1) / frozen.square().sum(1).clamp_min(1e-12)).mean()
