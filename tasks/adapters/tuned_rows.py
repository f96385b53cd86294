"""Rows of class names by a run's text tower, parts of which are trained on labelled rows as `evenly refine` does it."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from evenly.adapters.effects.claim import NotMeasurableError
from evenly.adapters.effects.ground import TowerProblem, unit
from evenly.adapters.features import Floats
from evenly.features.encoder import Encoder
from evenly.features.errors import UnknownModelError
from evenly.features.refining.encoder import RefinedEncoder
from evenly.features.refining.heads import Heads
from evenly.features.refining.objectives.labelled import Labelled
from evenly.features.refining.pairs import Names, PairRows, SharedRows
from evenly.features.refining.towers import TUNED, TowerTraining
from evenly.features.refining.training import TrainingRule, train_heads
from evenly.features.refining.tuned import TunedTowers, tuned_towers

if TYPE_CHECKING:
    from torch import Tensor

STAGES = 5


class _TextTraining(TowerTraining):
    """A text tower in training whose rows go on through the heads that the encoder was refined by, if any."""

    def __init__(self, tuned: TunedTowers, pairs: PairRows, heads: Heads | None) -> None:
        super().__init__(tuned, pairs, lambda _uids: [], captions=False)
        self.heads = heads

    def texts(self, parameters: "Mapping[str, Tensor]", rows: "Tensor", names: Names) -> "Tensor":
        """Of tokens, and of their rows by the heads."""
        refined = super().texts(parameters, rows, names)
        return refined if self.heads is None else self.heads.of_text_tensor(refined)


def tuned_class_rows(encoder: Encoder, problem: TowerProblem) -> Iterator[Floats]:
    """Unit rows (c, d) of the problem's classes after each fifth of the steps; `image` are rows by this encoder.

    A step sees all pictures: their rows are there, and names alone pass through the tower. Raises NotMeasurableError
    for an encoder whose text tower cannot be trained so.
    """
    heads, base = (encoder.heads, encoder.base) if isinstance(encoder, RefinedEncoder) else (None, encoder)
    if not isinstance(heads, Heads | None):
        raise NotMeasurableError(f"rows of its texts pass through {type(heads).__name__}, which nothing trains through")
    try:
        tuned = tuned_towers(base, TUNED[problem.rule.tune], problem.rule.blocks, "text", seed=problem.seed)
    except UnknownModelError as error:
        raise NotMeasurableError(str(error)) from None
    steps, n = problem.rule.steps, len(problem.uids)
    rule = TrainingRule(epochs=steps, batch_size=n, learning_rate=problem.rule.learning_rate)
    rows, classes = encoder.encode_texts(problem.classes), np.array(problem.classes)
    names, places = np.unique(problem.labels, return_inverse=True)
    of_names = rows[[problem.classes.index(name) for name in names.tolist()]]
    pairs = PairRows(
        image=problem.image,
        text=of_names[places],
        uids=problem.uids,
        captions=problem.labels,
        groups=problem.uids,
        labels=problem.labels,
        named=SharedRows(rows=of_names, places=places[:, None], texts=names),
    )
    training = _TextTraining(tuned, pairs, heads)
    for step, refined, _ in train_heads(pairs, Labelled(), rule, seed=problem.seed, trained=training):
        if step % -(-steps // STAGES) == 0:
            of_tower = refined.text(rows, classes)
            yield unit(of_tower if heads is None else heads.text(of_tower))
