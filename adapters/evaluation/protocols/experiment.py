"""One whole experiment: fit, tune on validation, evaluate once on test, say what the intervals show."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evenly.adapters import adapter_class
from evenly.adapters.contract import Adapter
from evenly.adapters.errors import InvalidFeaturesError, MissingFeaturesError, SplitError
from evenly.adapters.evaluation.measures.classification import per_class
from evenly.adapters.evaluation.protocols.judged import judge
from evenly.adapters.features import Features, Floats, Integers, Strings, checked_labels
from evenly.adapters.methods.zero_shot import ZeroShot
from evenly.adapters.own_features.part_checks import absent_classes
from evenly.adapters.search import Tuned, tune
from evenly.adapters.splits import PARTS, check_whole_groups

DEFAULT_ADAPTERS = ("zero_shot", "linear", "gda")
NO_TEXTS = "none"
"""`texts` of an adapter that does not use the prototypes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What `fit_and_evaluate` found.

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
    features: Features,
    labels: Integers,
    split: Strings,
    groups: npt.NDArray[Any],
    *,
    prototypes: Mapping[str, Floats],
    classes: Sequence[str],
    seed: int,
    adapters: Sequence[str] = DEFAULT_ADAPTERS,
    guard: bool = True,
    settings: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Evaluation:
    """Fit each of `adapters` on the train rows, tune it on the val rows, evaluate it once on the test rows.

    `features` of n images; `labels` (n,) positions in `classes`; `split` (n,) of "train", "val", "test"; `groups` (n,)
    names of rows that belong together: none may lie in two parts, and intervals resample them. `prototypes`: per set
    of texts ("names", "descriptions", "synonyms") unit rows (c, d); the first is the baseline of all differences, and
    of the guard of adapters that use no texts. `seed` fixes the bootstrap, and the training of
    adapters that train; `settings` the named parameters of an adapter, which are then not searched.
    """
    rows = _Rows(features=features, labels=labels, split=split, groups=groups, classes=tuple(classes))
    check_rows(features, labels, split, groups, classes=classes, prototypes=prototypes)
    baseline = next(iter(prototypes))
    fitted: dict[tuple[str, str], Tuned] = {}
    for name in dict.fromkeys(adapters):
        kind = adapter_class(name)
        for texts in prototypes if kind.uses_texts else [baseline]:
            fitted[name, texts if kind.uses_texts else NO_TEXTS] = rows.tuned(
                kind, prototypes[texts], guard=guard, seed=seed, settings=settings.get(name, {})
            )
    zero_shot = ZeroShot().fit(*rows.part("train", prototypes[baseline]))
    before = rows.test_logits(zero_shot).argmax(axis=1)
    results, tables, test_logits = [], [], {}
    for (name, texts), tuned in fitted.items():
        logits = test_logits[name, texts] = rows.test_logits(tuned.adapter)
        validation = rows.validation_logits(tuned.adapter)
        ruled_out = tuned.adapter.ruled_out()
        found = rows.measures(logits, validation, before, baseline=baseline, seed=seed, ruled_out=ruled_out)
        results.append({"name": name, "texts": texts} | found | _choice(tuned, rows.classes))
        tables.append(rows.per_class(logits).assign(name=name, texts=texts))
    curves = [tuned.curve.assign(name=name, texts=texts) for (name, texts), tuned in fitted.items()]
    return Evaluation(
        results=pd.DataFrame(results),
        curves=_names_first(curves),
        per_class=_names_first(tables),
        fitted=fitted,
        test_logits=test_logits,
        notes=(*rows.notes(), *_fallback_notes(fitted, rows.classes)),
    )


def check_rows(
    features: Features,
    labels: Integers,
    split: Strings,
    groups: npt.NDArray[Any],
    *,
    classes: Sequence[str],
    prototypes: Mapping[str, Floats],
) -> None:
    """Refuse rows that do not fit together, a group in two parts, or texts of another class list."""
    checked_labels(labels, n=len(features), n_classes=len(classes))
    for name, values in (("split", split), ("groups", groups)):
        if np.shape(values) != (len(features),):
            raise SplitError(
                f"`{name}` must hold one value per image, shape ({len(features)},); got shape "
                f"{np.shape(values)}. Hand in columns of the same rows."
            )
    check_whole_groups(split, groups)
    if not prototypes:
        raise MissingFeaturesError("`prototypes` must hold a set of texts; got none. Hand in those of the names.")
    for texts, array in prototypes.items():
        if len(array) != len(classes):
            raise InvalidFeaturesError(
                f"`prototypes` of `{texts}` must hold one row per class, {len(classes)}; got {len(array)}. "
                "Make them again from this class list."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """The rows of an experiment with all that is known of each."""

    features: Features
    labels: Integers
    split: Strings
    groups: npt.NDArray[Any]
    classes: tuple[str, ...]

    def part(self, name: str, prototypes: Floats | None = None) -> tuple[Features, Integers]:
        """Features, with these prototypes, and labels of one part of the split."""
        here = np.flatnonzero(self.split == name)
        return replace(self.features.rows(here), prototypes=prototypes), self.labels[here]

    def tuned(
        self, kind: type[Adapter], prototypes: Floats, *, guard: bool, seed: int, settings: Mapping[str, Any]
    ) -> Tuned:
        """`kind` fitted on the train rows and tuned on the val rows."""
        train, train_labels = self.part("train", prototypes)
        validation, validation_labels = self.part("val", prototypes)
        return tune(
            kind,
            train=train,
            train_labels=train_labels,
            validation=validation,
            validation_labels=validation_labels,
            fixed=({"seed": seed} if "seed" in kind().get_params() else {}) | dict(settings),
            guard=guard,
        )

    def validation_logits(self, adapter: Adapter) -> tuple[Floats, Integers]:
        """Logits of the val rows (n, c) and their labels."""
        features, labels = self.part("val")
        return adapter.decision_function(features), labels

    def test_logits(self, adapter: Adapter) -> Floats:
        """Logits of the test rows (n, c)."""
        return adapter.decision_function(self.part("test")[0])

    def measures(
        self,
        logits: Floats,
        validation: tuple[Floats, Integers],
        before: Integers,
        *,
        baseline: str,
        seed: int,
        ruled_out: npt.NDArray[np.bool_],
    ) -> dict[str, Any]:
        """The measured columns of one row of results; `before` are the predictions of the baseline."""
        return judge(
            logits,
            self.part("test")[1],
            groups=self.groups[self.split == "test"],
            before=before,
            baseline=f"zero-shot with {baseline}",
            seed=seed,
            validation=validation,
            ruled_out=ruled_out,
        )

    def per_class(self, logits: Floats) -> pd.DataFrame:
        """Images per class in each part, and the test rows predicted right."""
        table = per_class(logits.argmax(axis=1), self.part("test")[1], self.classes)
        counts = {part: np.bincount(self.part(part)[1], minlength=len(self.classes)) for part in PARTS}
        return pd.DataFrame(
            {"class": table["class"], **counts, "correct": table["correct"], "accuracy": table["accuracy"]}
        )

    def notes(self) -> list[str]:
        """A sentence per part that lacks a class."""
        return absent_classes({part: self.part(part)[1] for part in PARTS}, self.classes)


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
    """What an adapter did instead, with the names of classes where it, knowing none, gives their positions."""
    return re.sub(
        r"(?<=classes: )\d+(?:, \d+)*",
        lambda found: ", ".join(classes[int(at)] for at in found[0].split(", ")),
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
