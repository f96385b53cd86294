"""Tables beside the results of an evaluation: pairs of adapters, head and tail, confidence, pictures of no class."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from evenly.adapters.evaluation.measures.calibration import reliability
from evenly.adapters.evaluation.measures.classification import softmax
from evenly.adapters.evaluation.measures.ensemble_parts import judge_parts
from evenly.adapters.evaluation.measures.head_tail import head_tail, tail_classes
from evenly.adapters.evaluation.measures.paired import paired_tests
from evenly.adapters.evaluation.measures.rejection import judge_rejection
from evenly.adapters.evaluation.measures.unseen import judge_unseen
from evenly.adapters.evaluation.protocols.experiment import Evaluation
from evenly.adapters.features import Features, GroupedFeatures, Integers
from evenly.adapters.methods.cooked import Cooked
from evenly.curation.concepts.name_frequency import NameCounter
from evenly.storage.samples import BuildSamples
from evenly.tasks.classes.texts import ClassTexts, names_of_classes
from evenly.tasks.labelled_rows import LabelledRows
from evenly.tasks.run import Run

AS_FITTED, AT_TEMPERATURE = "as fitted", "at temperature"


def further_tables(
    run: Run, manifest: Mapping[str, Any], rule: ClassTexts, rows: LabelledRows, evaluation: Evaluation
) -> dict[str, pa.Table]:
    """Tables by name; each that has something to say.

    `pairs`: every two adapters on the test pictures. `frequencies`: how many captions of the pool name each class or
    one of its synonyms, and whether it is of the tail. `head_tail`: accuracy in both, per adapter. `reliability`: bins
    of confidence, per adapter, as fitted and at its temperature. `ood`: every score on the unseen pictures, by the
    logits of the adapter that validation liked best; `open_set`: what rejecting by each score gives. `ensembles`: what
    each classifier is worth that an adapter is the mean of.
    """
    test = np.flatnonzero(rows.split == "test")
    if not len(test):
        return {}
    labels, groups = rows.labels[test], rows.groups[test]
    predictions = {key: logits.argmax(axis=1) for key, logits in evaluation.test_logits.items()}
    correct = {
        f"{name} {texts}": labels_of_adapter == labels for (name, texts), labels_of_adapter in predictions.items()
    }
    counts = class_frequencies(run, manifest, rule)
    frequencies = pd.DataFrame({"class": rows.classes, "captions": counts, "tail": tail_classes(counts, rows.classes)})
    parts = [
        head_tail(labels_of_adapter, labels, rows.classes, counts, seed=run.seed, groups=groups).assign(
            name=name, texts=texts
        )
        for (name, texts), labels_of_adapter in predictions.items()
    ]
    tables = {
        "pairs": paired_tests(correct, seed=run.seed, groups=groups),
        "frequencies": frequencies,
        "head_tail": pd.concat(parts, ignore_index=True),
        "reliability": reliability_bins(evaluation, labels),
        **_unseen(run, rows, evaluation, test),
        "ensembles": _ensembles(run, rows, evaluation, test),
    }
    return {name: pa.Table.from_pandas(table, preserve_index=False) for name, table in tables.items() if len(table)}


def reliability_bins(evaluation: Evaluation, labels: Integers) -> pd.DataFrame:
    """Fifteen bins per adapter, texts and state: name, texts, state, lower, upper, n, confidence, accuracy.

    `state` is "as fitted" or "at temperature"; the second is left out where no validation row could fit one. `labels`
    are those of the test rows. `confidence` and `accuracy` are NaN in empty bins.
    """
    temperatures = {(row["name"], row["texts"]): row["temperature"] for row in evaluation.results.to_dict("records")}
    tables = []
    for (name, texts), logits in evaluation.test_logits.items():
        for state, temperature in ((AS_FITTED, 1.0), (AT_TEMPERATURE, temperatures[name, texts])):
            if np.isfinite(temperature):
                bins = reliability(softmax(logits / temperature), labels).drop(columns="gap")
                tables.append(bins.assign(name=name, texts=texts, state=state))
    return pd.concat(tables, ignore_index=True)


def class_frequencies(run: Run, manifest: Mapping[str, Any], rule: ClassTexts) -> np.ndarray:
    """Captions of the whole pool (c,) that name the class or one of its accepted synonyms, each caption once."""
    captions = BuildSamples(run.workspace, manifest).read(["caption"])
    return NameCounter(names_of_classes(rule), plurals=True).count(captions["caption"].combine_chunks()).of_concepts


def _unseen(run: Run, rows: LabelledRows, evaluation: Evaluation, test: np.ndarray) -> dict[str, pd.DataFrame]:
    """`ood` and `open_set` of the best adapter by validation; COOkeD's scores from an ensemble of its own."""
    if not rows.unseen:
        return {}
    name, texts = evaluation.best_on_validation()
    prototypes = rows.prototypes.get(texts, rows.prototypes["names"])
    features = rows.features.with_prototypes(prototypes)
    train, validation = (np.flatnonzero(rows.split == part) for part in ("train", "val"))
    adapter = evaluation.fitted[name, texts].adapter
    unseen = {kind: features_of_set.with_prototypes(prototypes) for kind, features_of_set in rows.unseen.items()}
    cooked = Cooked().fit(features.rows(train), rows.labels[train])
    of_val, of_test = (_rows(features, rows, part) for part in (validation, test))
    groups = rows.unseen_groups
    table = judge_unseen(adapter, of_test, unseen, unseen_groups=groups, seed=run.seed, cooked=cooked)
    rejection = judge_rejection(adapter, of_val, of_test, unseen, unseen_groups=groups, seed=run.seed, cooked=cooked)
    return {"ood": table.assign(name=name, texts=texts), "open_set": rejection.assign(name=name, texts=texts)}


def _rows(features: Features, rows: LabelledRows, places: np.ndarray) -> GroupedFeatures:
    return GroupedFeatures(features=features.rows(places), labels=rows.labels[places], groups=rows.groups[places])


def _ensembles(run: Run, rows: LabelledRows, evaluation: Evaluation, test: np.ndarray) -> pd.DataFrame:
    """name, texts and the columns of `judge_parts` for each adapter that is an ensemble."""
    tables = [
        judge_parts(
            tuned.adapter,
            _rows(rows.features, rows, test),
            seed=run.seed,
            unseen=rows.unseen,
            unseen_groups=rows.unseen_groups,
        ).assign(name=name, texts=texts)
        for (name, texts), tuned in evaluation.fitted.items()
    ]
    return pd.concat(tables, ignore_index=True) if any(map(len, tables)) else pd.DataFrame()
