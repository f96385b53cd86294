"""Experiments: fit, tune on validation, evaluate once on test, say what the intervals show."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from evenly.adapters import adapter_class
from evenly.adapters.contract import Adapter
from evenly.adapters.evaluation.measures.calibration import fit_temperature
from evenly.adapters.evaluation.measures.classification import per_class
from evenly.adapters.evaluation.protocols.evaluation_data import EvaluationData
from evenly.adapters.evaluation.protocols.judged import judge
from evenly.adapters.features import Floats, Integers
from evenly.adapters.methods.zero_shot import ZeroShot
from evenly.adapters.own_features.part_checks import absent_classes
from evenly.adapters.search import Tuned, tune
from evenly.adapters.splits import PARTS

DEFAULT_ADAPTERS = ("zero_shot", "linear", "gda")
NO_TEXTS = "none"
"""`texts` of an adapter that does not use the prototypes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """The result of `fit_and_evaluate`.

    `results`, one row per adapter and set of texts: name, texts, accuracy, low, high (its 95 % interval), difference,
    difference_low, difference_high (accuracy minus that of zero-shot with the first texts, paired), n (test rows),
    groups (test groups), top5, mean_per_class, calibration_error, temperature (fitted on validation; NaN where
    undetermined), temperature_why (why undetermined, else ""), calibrated_error (the calibration error at that
    temperature), chosen ("alpha=0.1"), validation_accuracy, validation_rows, kept_zero_shot, why, fallback, verdict
    (what the interval of the difference shows, in words).
    `curves`: name, texts, stage, the searched parameters, validation_accuracy. `per_class`: name, texts, class, train,
    val, test (images in each part), correct, accuracy (NaN without test images). `fitted`, and `test_logits` (n, c), by
    (name, texts). `notes` are sentences on classes that lack images in a part and on fallbacks.
    """

    results: pd.DataFrame
    curves: pd.DataFrame
    per_class: pd.DataFrame
    fitted: Mapping[tuple[str, str], Tuned]
    test_logits: Mapping[tuple[str, str], Floats]
    notes: tuple[str, ...]

    def best_on_validation(self) -> tuple[str, str]:
        """Name and texts of the adapter with the highest validation accuracy, the first of equal ones."""
        accuracies = self.results["validation_accuracy"].fillna(-1.0).to_numpy()
        best = self.results.iloc[int(accuracies.argmax())]
        return str(best["name"]), str(best["texts"])


def fit_and_evaluate(
    data: EvaluationData,
    *,
    seed: int,
    adapters: Sequence[str] = DEFAULT_ADAPTERS,
    guard: bool = True,
    settings: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Evaluation:
    """Fit each of `adapters` on the train rows, tune it on the val rows, evaluate it once on the test rows.

    `seed` fixes the bootstrap, and the training of adapters that train; `settings` the named parameters of an adapter,
    which are then not searched.
    """
    fitted: dict[tuple[str, str], Tuned] = {}
    for name in dict.fromkeys(adapters):
        kind = adapter_class(name)
        for texts in data.prototypes if kind.uses_texts else [data.baseline]:
            fitted[name, texts if kind.uses_texts else NO_TEXTS] = _tuned(
                data, kind, texts, guard=guard, seed=seed, settings=settings.get(name, {})
            )
    test = data.part("test").features
    train = data.part("train", data.prototypes[data.baseline])
    baseline_predictions = ZeroShot().fit(train.features, train.labels).decision_function(test).argmax(axis=1)
    results, tables, test_logits = [], [], {}
    for (name, texts), tuned in fitted.items():
        logits = test_logits[name, texts] = tuned.adapter.decision_function(test)
        measures = _measures(data, tuned.adapter, logits, baseline_predictions, seed=seed)
        results.append({"name": name, "texts": texts} | measures | _choice(tuned, data.classes))
        tables.append(_per_class(data, logits).assign(name=name, texts=texts))
    curves = [tuned.curve.assign(name=name, texts=texts) for (name, texts), tuned in fitted.items()]
    return Evaluation(
        results=pd.DataFrame(results),
        curves=_names_first(curves),
        per_class=_names_first(tables),
        fitted=fitted,
        test_logits=test_logits,
        notes=(
            *absent_classes({part: data.labels[data.rows(part)] for part in PARTS}, data.classes),
            *_fallback_notes(fitted, data.classes),
        ),
    )


def _tuned(
    data: EvaluationData,
    kind: type[Adapter],
    texts: str,
    *,
    guard: bool,
    seed: int,
    settings: Mapping[str, Any],
) -> Tuned:
    """`kind` with these texts, fitted on the train rows and tuned on the val rows."""
    prototypes = data.prototypes[texts]
    return tune(
        kind,
        train=data.part("train", prototypes),
        validation=data.part("val", prototypes),
        fixed=({"seed": seed} if "seed" in kind().get_params() else {}) | dict(settings),
        guard=guard,
    )


def _measures(
    data: EvaluationData, adapter: Adapter, logits: Floats, baseline_predictions: Integers, *, seed: int
) -> dict[str, Any]:
    """The measured columns of one row of results, from the logits (n, c) of the test rows."""
    test, validation = data.part("test"), data.part("val")
    return judge(
        logits,
        test,
        baseline_predictions=baseline_predictions,
        baseline=f"zero-shot with {data.baseline}",
        seed=seed,
        temperature=fit_temperature(
            adapter.decision_function(validation.features), validation.labels, ruled_out=adapter.ruled_out()
        ),
    )


def _per_class(data: EvaluationData, logits: Floats) -> pd.DataFrame:
    """Images per class in each part, and the test rows predicted right."""
    labels = {part: data.labels[data.rows(part)] for part in PARTS}
    table = per_class(logits.argmax(axis=1), labels["test"], data.classes)
    counts = {part: np.bincount(labels[part], minlength=len(data.classes)) for part in PARTS}
    return pd.DataFrame({"class": table["class"], **counts, "correct": table["correct"], "accuracy": table["accuracy"]})


def _choice(tuned: Tuned, classes: Sequence[str]) -> dict[str, Any]:
    """The columns of results that say what validation chose."""
    return {
        "chosen": chosen_in_words(tuned.chosen),
        "validation_accuracy": tuned.validation_accuracy,
        "validation_rows": tuned.validation_rows,
        "kept_zero_shot": tuned.kept_zero_shot,
        "why": tuned.why,
        "fallback": _in_names(tuned.adapter.fallback_, classes),
    }


def chosen_in_words(chosen: Mapping[str, Any]) -> str:
    """Values of hyper-parameters as "alpha=0.1, beta=2"; "" where nothing was chosen."""
    return ", ".join(f"{name}={_short(value)}" for name, value in chosen.items())


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _in_names(fallback: str, classes: Sequence[str]) -> str:
    """The fallback of an adapter in words, with the names of classes where it, knowing none, gives their positions."""
    return re.sub(
        r"(?<=classes: )\d+(?:, \d+)*",
        lambda match: ", ".join(classes[int(place)] for place in match[0].split(", ")),
        fallback,
    )


def _fallback_notes(fitted: Mapping[tuple[str, str], Tuned], classes: Sequence[str]) -> list[str]:
    """A sentence per adapter that could not work as meant or that the guard replaced."""
    sentences = []
    for (name, texts), tuned in fitted.items():
        title = name if texts == NO_TEXTS else f"{name} with {texts}"
        if tuned.adapter.fallback_:
            sentences.append(f"{title}: {_in_names(tuned.adapter.fallback_, classes)}")
        if tuned.kept_zero_shot:
            sentences.append(f"{title}: {tuned.why}")
    return sentences


def _names_first(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The tables one below the other, with `name` and `texts` as the first columns."""
    table = pd.concat(tables, ignore_index=True)
    return table[["name", "texts", *(column for column in table.columns if column not in {"name", "texts"})]]
