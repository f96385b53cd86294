"""A text tower of two layers for tests of prompt learners: real gradients, names by hash, no weights to load."""

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from evenly.adapters.training import seeded_normal


@dataclass(frozen=True, eq=False)
class SmallTower:
    """A context moves the row of each name through a hidden layer; a name's own row lies near a prototype."""

    names: tuple[str, ...]
    base: dict[str, np.ndarray]
    identity: str = "small"
    states: dict = field(default_factory=dict)
    width: int = 6
    calls: list = field(default_factory=list)

    @property
    def dimension(self):
        return len(next(iter(self.base.values())))

    @property
    def weights(self):
        return layers(self.width, self.dimension)

    def rows(self, context, *, place="end", names=None):
        import torch

        chosen = self.names if names is None else tuple(names)
        self.calls.append(len(chosen))
        hidden, output = (torch.from_numpy(part) for part in self.weights)
        of_names = torch.from_numpy(np.stack([self.row(name) for name in chosen]))
        mean = context.mean(dim=-2).expand(len(chosen), self.width) * {"end": 1.0, "middle": 0.5, "front": 0.25}[place]
        return of_names + torch.tanh(torch.cat([mean, of_names], dim=1) @ hidden) @ output

    def row(self, name):
        if name in self.base:
            return self.base[name]
        return seeded_normal((self.dimension,), seed=1, name=name) / 8

    def training(self, _steps, *, per_epoch):  # noqa: ARG002
        return nullcontext(lambda _done: None)

    def vectors(self, text):
        words = [seeded_normal((1, self.width), seed=2, name=word) for word in text.split()]
        return np.concatenate([np.empty((0, self.width), np.float32), *words])

    def nearest_words(self, vectors):
        return [("word", float(np.linalg.norm(vector))) for vector in vectors]

    def of_classes(self, classes):
        return replace(self, names=tuple(self.names[place] for place in classes))


@cache
def layers(width, dimension):
    """The two layers, the same for every tower of these sizes."""
    hidden = seeded_normal((width + dimension, 12), seed=0, name="hidden") / 4
    return hidden, seeded_normal((12, dimension), seed=0, name="output") / 4
