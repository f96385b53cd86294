"""The cost of `evenly refine`: pairs of each part, what is trained, and the time, by a step that is run."""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evenly.features.errors import RowsError
from evenly.features.refining.objectives import OBJECTIVES
from evenly.features.refining.training import train_heads
from evenly.tasks.refining.measures import correct_of
from evenly.tasks.refining.refine import STRENGTHS, RefineRule, parts_of, trainable_of
from evenly.tasks.run import Run


@dataclass(frozen=True, kw_only=True)
class RefiningPlan:
    """Pairs by part, parameters that are trained, steps of all epochs, and seconds: of one, of val once, and of all."""

    pairs: dict[str, int]
    parameters: int
    steps: int
    step_s: float
    val_s: float
    total_s: float

    def facts(self) -> dict[str, Any]:
        """The fields of the plan, pairs by their parts."""
        pairs = {f"{part}_pairs": count for part, count in self.pairs.items()}
        seconds = {name: round(getattr(self, name), 3) for name in ("step_s", "val_s", "total_s")}
        return {**pairs, "parameters": self.parameters, "steps": self.steps, **seconds}


def plan_refining(run: Run, rule: RefineRule) -> RefiningPlan:
    """Train two steps on the first pairs and look at val once; nothing is kept but rows that had to be made."""
    parts = parts_of(run, rule)
    train, training = parts.pairs["train"], rule.training
    if len(train) < training.batch_size:
        raise RowsError(
            f"`batch_size` must be at most {len(train)}, the pairs there are; got {training.batch_size}. Take less."
        )
    first = train.rows(np.arange(training.batch_size))
    trained = trainable_of(run, rule, first)
    epochs = train_heads(
        first, OBJECTIVES[rule.objective](), replace(training, epochs=2), seed=run.seed, trained=trained
    )
    next(epochs)  # what is done once, is done
    start = time.perf_counter()
    _, refinement, _ = next(epochs)
    step_s = time.perf_counter() - start
    start = time.perf_counter()
    correct_of(parts, "val", refinement)
    val_s = time.perf_counter() - start
    steps = len(train) // training.batch_size * training.epochs
    return RefiningPlan(
        pairs={part: len(pairs) for part, pairs in parts.pairs.items()},
        parameters=sum(values.numel() for values in trained.start().values()),
        steps=steps,
        step_s=step_s,
        val_s=val_s,
        total_s=steps * step_s + training.epochs * len(STRENGTHS) * val_s,
    )
