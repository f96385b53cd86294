"""Captions against each other, long texts word by word: VladVA, Ouali et al., CVPR 2025, arXiv:2412.04378."""

import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from evenly.features.refining.objective import Batch, Objective, Sides, info_nce
from evenly.features.refining.pairs import PairRows
from evenly.features.torch_session import torch_session

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_WORD = re.compile(r"\w+(?:['-]\w+)*")
_START, _OTHER = 0, 1  # what stands before the first word, and for all that are not in the vocabulary
_RATE, _AT_ONCE = 1e-2, 256


class VladVa(Objective):
    """InfoNCE of captions, and the next word of a pair's long text said by a small decoder from the row of either side.

    The decoder sees the row and the `before` last words, is asked for `drawn` words of a text per step, and knows the
    `vocabulary` most frequent words. Before the first batch it learns to speak from frozen rows, for `first_steps`;
    then it goes on beside the heads. The paper tunes a large language model that encodes both sides and speaks itself;
    here that is the decoder, and so it speaks from pictures and from texts.
    """

    uses_negatives = True
    needs = ("long_texts",)
    gains = False

    def __init__(
        self, *, weight: float = 0.3, vocabulary: int = 2000, before: int = 3, width: int = 64, drawn: int = 8,
        first_steps: int = 300, temperature: float = 0.05,
    ) -> None:  # fmt: skip
        self.weight, self.vocabulary, self.before, self.width = weight, vocabulary, before, width
        self.drawn, self.first_steps, self.temperature = drawn, first_steps, temperature

    def prepare(self, pairs: PairRows, *, seed: int) -> None:
        """Number the words, and train the decoder on frozen rows."""
        import torch

        texts = [_WORD.findall(text.casefold()) for text in ([] if pairs.long_texts is None else pairs.long_texts)]
        counts = Counter(word for words in texts for word in words)
        frequent = sorted(counts, key=lambda word: (-counts[word], word))[: self.vocabulary]
        number = {word: place for place, word in enumerate(frequent, start=2)}
        coded = [[_START] * self.before + [number.get(word, _OTHER) for word in words] for words in texts]
        self._starts = torch.from_numpy(np.cumsum([0, *map(len, coded)]))
        self._words = torch.tensor([word for words in coded for word in words], dtype=torch.int64)
        generator = torch.Generator().manual_seed(seed)
        size, d, width = len(frequent) + 2, pairs.image.shape[1], self.width
        dtype = torch.from_numpy(pairs.image[:0]).dtype
        shapes = {"embed": (size, width), "mix": (self.before * width, width), "out": (width, size)}
        shapes |= {"image": (d, width), "text": (d, width)}
        lengths = {name: 1 if name in {"image", "text"} else shape[0] ** -0.5 for name, shape in shapes.items()}
        self._decoder = {
            name: torch.randn(shape, generator=generator, dtype=dtype) * lengths[name] for name, shape in shapes.items()
        }
        spoken = np.flatnonzero([bool(words) for words in texts])
        if len(spoken):
            with torch_session():
                self._learn_to_speak(pairs, spoken, generator)

    def trained(self) -> "dict[str, Tensor]":
        """The decoder."""
        return self._decoder

    def loss(self, batch: Batch, refined: Sides, original: Sides) -> "Tensor":
        """InfoNCE + weight x the cross-entropy of next words."""
        del original
        paired = info_nce(refined, batch.negatives, temperature=self.temperature)
        return paired + self.weight * self._said(batch.places, refined.unit(), batch.generator)

    def _learn_to_speak(self, pairs: PairRows, spoken: np.ndarray, generator: "torch.Generator") -> None:
        """Train the decoder on the pairs at the places `spoken`, which have words."""
        import torch

        weights = [values.requires_grad_() for values in self._decoder.values()]
        optimizer = torch.optim.Adam(weights, lr=_RATE)
        for _ in range(self.first_steps):
            places = spoken[torch.randint(len(spoken), (_AT_ONCE,), generator=generator).numpy()]
            sides = Sides(image=torch.from_numpy(pairs.image[places]), text=torch.from_numpy(pairs.text[places]))
            optimizer.zero_grad()
            self._said(places, sides.unit(), generator).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        for values in weights:
            values.requires_grad_(False)

    def _said(self, places: np.ndarray, unit: Sides, generator: "torch.Generator") -> "Tensor":
        """The mean cross-entropy of words drawn from the texts of the pairs, by both sides; 0 where no text has any."""
        import torch
        from torch.nn.functional import cross_entropy

        decoder = self._decoder
        starts = self._starts[places]
        lengths = self._starts[places + 1] - starts - self.before
        share = torch.rand((len(places), self.drawn), generator=generator, dtype=torch.float64)
        drawn = (starts + self.before)[:, None] + (share * lengths[:, None]).long()
        has_text = lengths > 0
        if not has_text.any():
            return unit.image.sum() * 0
        drawn = drawn[has_text]
        context = decoder["embed"][
            torch.stack([self._words[drawn - shift] for shift in range(self.before, 0, -1)], dim=2)
        ]
        mixed = context.flatten(2) @ decoder["mix"]
        losses = [
            cross_entropy(((mixed + row[:, None]).tanh() @ decoder["out"]).flatten(0, 1), self._words[drawn].flatten())
            for row in (unit.image[has_text] @ decoder["image"], unit.text[has_text] @ decoder["text"])
        ]
        return (losses[0] + losses[1]) / 2
