"""Runs of a leaderboard: an adapter fitted on a draw, tuned on validation rows, judged once on the test rows."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from evenly.adapters import adapter_class
from evenly.adapters.contract import Adapter
from evenly.adapters.errors import MissingFeaturesError, ParameterError, SplitError
from evenly.adapters.evaluation.measures.classification import (
    expected_calibration_error,
    mean_per_class_accuracy,
    softmax,
    top_k_accuracy,
)
from evenly.adapters.evaluation.protocols.evaluation_data import EvaluationData
from evenly.adapters.evaluation.protocols.experiment import NO_TEXTS, chosen_in_words
from evenly.adapters.features import Booleans, Features, Floats, Integers, LabelledFeatures
from evenly.adapters.few_shot import FewShot, few_shot
from evenly.adapters.search import Tuned, tune

Validation = Literal["coop", "full"]

COOP_VALIDATION_SHOTS = 4
"""Most validation rows per class under "coop": min(shots, 4), as in CoOp's few-shot protocol (arXiv:2109.01134)."""


class RunKey(NamedTuple):
    """All that a run depends on: `shots` 0 means on no draw of rows, `seed` 0 then means on no seed either."""

    name: str
    texts: str
    shots: int
    seed: int


@dataclass(frozen=True, kw_only=True, eq=False)
class LeaderboardRun:
    """A finished run: `row`, plain values that JSON can hold (None for NaN), and `correct` (test rows,).

    `row`: name, texts, shots, seed (the key); accuracy, top5, mean_per_class, calibration_error on the test rows;
    validation_accuracy, zero_shot_validation_accuracy, kept_zero_shot, chosen, why, fallback; train_rows,
    validation_rows, test_rows; seconds for the fits, the search and the test logits.
    """

    row: Mapping[str, Any]
    correct: Booleans

    @property
    def key(self) -> RunKey:
        """The inputs of a run, by which it is found again."""
        return RunKey(self.row["name"], self.row["texts"], self.row["shots"], self.row["seed"])


@dataclass(frozen=True, kw_only=True, eq=False)
class Arena:
    """The rows that all runs share. Test rows are fixed; train and validation rows are drawn from their own parts.

    `validation`: "coop" draws min(shots, 4) val rows per class, "full" takes all val rows; results of the two do not
    compare. The unlabelled pool of a run is that of the features; with `undrawn`, and where there is none, the train
    rows that were not drawn are in it, their labels hidden.
    """

    data: EvaluationData
    validation: Validation = "coop"
    guard: bool = True
    undrawn: bool = False
    _draws: dict[tuple[str, int, int], FewShot] = field(default_factory=dict, init=False, repr=False)
    _fits: dict[tuple[str, str], dict[Any, Adapter]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.validation not in get_args(Validation):
            raise ParameterError(f"`validation` must be coop or full; got `{self.validation}`. Choose one of these.")
        if len(self.data.keys) != len(self.data.features):
            raise SplitError(
                f"`keys` must hold one name per image, {len(self.data.features)}; got {len(self.data.keys)}. "
                "Hand in the uids of the same rows."
            )
        if not len(self.test):
            raise SplitError("`split` must hold test rows; got none. Make the split with a share for test.")

    @property
    def pools_undrawn(self) -> bool:
        """Whether the train rows that a run does not draw are in its pool."""
        pool = self.data.features.unlabelled
        return self.undrawn or pool is None or not len(pool)

    @cached_property
    def test(self) -> Integers:
        """Positions of the test rows."""
        return self.data.rows("test")

    def texts_of(self, name: str) -> list[str]:
        """The sets of texts that adapter `name` is run with."""
        return list(self.data.prototypes) if adapter_class(name).uses_texts else [NO_TEXTS]

    def key(self, name: str, texts: str, shots: int, seed: int) -> RunKey:
        """The run that stands for this adapter at `shots` and `seed`: one that learns from no labelled row is shared.

        Such a run sees no train row. It depends on the validation rows, and on the seed where it trains by one.
        """
        kind = adapter_class(name)
        if "support" in kind.learns_from:
            return RunKey(name, texts, shots, seed)
        if self.validation == "coop":
            return RunKey(name, texts, min(shots, COOP_VALIDATION_SHOTS), seed)
        return RunKey(name, texts, 0, seed if _is_seeded(kind) else 0)

    def missing(self, name: str, texts: str) -> str:
        """Why adapter `name` cannot run on these features, naming the fields; "" where it can."""
        kind = adapter_class(name)
        try:
            nobody = np.empty(0, dtype=np.int64)
            record = self._with_pool(self._record(kind, texts), kind, nobody)
            record.require(*dict.fromkeys((*kind.needs, *kind.row_needs)), adapter=name)
        except MissingFeaturesError as error:
            return str(error)
        return ""

    def draw(self, part: Literal["train", "val"], shots: int, seed: int) -> FewShot:
        """`shots` rows per class of one part, at most one of a group while there are groups left."""
        if (part, shots, seed) not in self._draws:
            rows = self.data.rows(part)
            drawn = few_shot(
                self.data.labels[rows],
                np.asarray(self.data.keys, dtype=np.str_)[rows],
                shots=shots,
                seed=seed,
                groups=self.data.groups[rows],
                classes=self.data.classes,
            )
            self._draws[part, shots, seed] = FewShot(rows[drawn.indices], drawn.notes)
        return self._draws[part, shots, seed]

    def run(self, key: RunKey) -> LeaderboardRun:
        """Fit, tune and judge. MissingFeaturesError where the features do not hold what the adapter needs."""
        kind = adapter_class(key.name)
        train, validation = self._train_rows(kind, key), self._validation_rows(key)
        features = self._with_pool(self._record(kind, key.texts), kind, train)
        rows = LabelledFeatures(features=features, labels=self.data.labels)
        started = time.perf_counter()
        tuned = tune(
            kind,
            train=rows.rows(train),
            validation=rows.rows(validation),
            fixed={"seed": key.seed} if _is_seeded(kind) else None,
            guard=self.guard,
            fits=self._shared_fits(kind, key),
        )
        logits = tuned.adapter.decision_function(features.rows(self.test))
        seconds = time.perf_counter() - started
        labels = rows.labels[self.test]
        row = key._asdict() | _measures(logits, labels) | _choice(tuned)
        row |= {"train_rows": len(train), "validation_rows": tuned.validation_rows, "test_rows": len(labels)}
        return LeaderboardRun(row=row | {"seconds": seconds}, correct=logits.argmax(axis=1) == labels)

    @cached_property
    def _records(self) -> dict[str, Features]:
        return {texts: self.data.features.with_prototypes(array) for texts, array in self.data.prototypes.items()}

    def _record(self, kind: type[Adapter], texts: str) -> Features:
        """All rows with the prototypes of these texts; those of the baseline for an adapter that uses none."""
        return self._records[texts if kind.uses_texts else self.data.baseline]

    def _with_pool(self, features: Features, kind: type[Adapter], drawn: Integers) -> Features:
        """The train rows that were not drawn in the unlabelled pool, without their labels, where `undrawn` says so."""
        if "unlabelled" not in kind.needs or not self.pools_undrawn:
            return features
        undrawn = np.setdiff1d(self.data.rows("train"), drawn)
        image, second = [features.image[undrawn]], [] if features.second is None else [features.second[undrawn]]
        if features.unlabelled is not None:
            image.append(features.unlabelled)
            second = [*second, features.unlabelled_second] if features.unlabelled_second is not None else []
        return replace(
            features, unlabelled=np.concatenate(image), unlabelled_second=np.concatenate(second) if second else None
        )

    def _train_rows(self, kind: type[Adapter], key: RunKey) -> Integers:
        if "support" not in kind.learns_from:
            return np.empty(0, dtype=np.int64)
        return self.draw("train", key.shots, key.seed).indices

    def _shared_fits(self, kind: type[Adapter], key: RunKey) -> dict[Any, Adapter] | None:
        """The fits of an adapter that learns from no labelled row: the same for every draw; None for the others."""
        return None if "support" in kind.learns_from else self._fits.setdefault((key.name, key.texts), {})

    def _validation_rows(self, key: RunKey) -> Integers:
        """The val rows of a run; one that learns from no labelled row is judged on the drawn train rows as well."""
        if self.validation == "full":
            return self.data.rows("val")
        drawn = self.draw("val", min(key.shots, COOP_VALIDATION_SHOTS), key.seed).indices
        if "support" in adapter_class(key.name).learns_from or not len(drawn):
            return drawn
        return np.concatenate([drawn, self.draw("train", key.shots, key.seed).indices])


def _is_seeded(kind: type[Adapter]) -> bool:
    return "seed" in kind().get_params()


def _measures(logits: Floats, labels: Integers) -> dict[str, float]:
    predictions = logits.argmax(axis=1)
    return {
        "accuracy": float(np.mean(predictions == labels)),
        "top5": top_k_accuracy(logits, labels, k=min(5, logits.shape[1])),
        "mean_per_class": mean_per_class_accuracy(predictions, labels),
        "calibration_error": expected_calibration_error(softmax(logits), labels),
    }


def _choice(tuned: Tuned) -> dict[str, Any]:
    return {
        "validation_accuracy": _number(tuned.validation_accuracy),
        "zero_shot_validation_accuracy": _number(tuned.zero_shot_accuracy),
        "kept_zero_shot": bool(tuned.kept_zero_shot),
        "chosen": chosen_in_words(tuned.chosen),
        "why": tuned.why,
        "fallback": tuned.adapter.fallback_,
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
