"""Tables beside the results of an evaluation: pairs of adapters, head and tail, confidence, pictures of no class."""

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
from evenly.adapters.labelled import LabelledRows
from evenly.adapters.methods.cooked import Cooked


def predictions_of(rows: LabelledRows, evaluation: Evaluation) -> pa.Table:
    """The prediction of each adapter for each test picture: uid, name, texts, class, predicted, confidence."""
    test = rows.pairs.filter(pa.array(rows.split == "test"))
    names = np.array(rows.classes)
    tables = [
        pa.table(
            {
                "uid": test["uid"],
                "name": pa.array([name] * len(test)),
                "texts": pa.array([texts] * len(test)),
                "class": test["label"],
                "predicted": pa.array(names[logits.argmax(axis=1)]),
                "confidence": pa.array(softmax(logits).max(axis=1)),
            }
        )
        for (name, texts), logits in evaluation.test_logits.items()
    ]
    return pa.concat_tables(tables)


AS_FITTED, AT_TEMPERATURE = "as fitted", "at temperature"


def further_tables(rows: LabelledRows, evaluation: Evaluation, counts: np.ndarray, *, seed: int) -> dict[str, pa.Table]:
    """Tables by name; each that has something to say. `counts` are the captions that name each class.

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
    frequencies = pd.DataFrame({"class": rows.classes, "captions": counts, "tail": tail_classes(counts, rows.classes)})
    parts = [
        head_tail(labels_of_adapter, labels, rows.classes, counts, seed=seed, groups=groups).assign(
            name=name, texts=texts
        )
        for (name, texts), labels_of_adapter in predictions.items()
    ]
    tables = {
        "pairs": paired_tests(correct, seed=seed, groups=groups),
        "frequencies": frequencies,
        "head_tail": pd.concat(parts, ignore_index=True),
        "reliability": reliability_bins(evaluation, labels),
        **_unseen(rows, evaluation, test, seed),
        "ensembles": _ensembles(rows, evaluation, test, seed),
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


def _unseen(rows: LabelledRows, evaluation: Evaluation, test: np.ndarray, seed: int) -> dict[str, pd.DataFrame]:
    """`ood` and `open_set` of the best adapter by validation; COOkeD's scores from an ensemble of its own.

    CLIPN's are by what the adapter `clipn` learned to deny the same texts, where it was fitted.
    """
    if not rows.unseen:
        return {}
    name, texts = evaluation.best_on_validation()
    used = texts if texts in rows.prototypes else "names"
    prototypes = rows.prototypes[used]
    features = rows.features.with_prototypes(prototypes)
    train, validation = (np.flatnonzero(rows.split == part) for part in ("train", "val"))
    adapter = evaluation.fitted[name, texts].adapter
    unseen = {kind: features_of_set.with_prototypes(prototypes) for kind, features_of_set in rows.unseen.items()}
    cooked = Cooked().fit(features.rows(train), rows.labels[train])
    of_val, of_test = (_rows(features, rows, part) for part in (validation, test))
    groups = rows.unseen_groups
    denying = evaluation.fitted.get(("clipn", used))
    scorers = (cooked, denying.adapter if denying else None)
    table = judge_unseen(adapter, of_test, unseen, unseen_groups=groups, seed=seed, scorers=scorers)
    rejection = judge_rejection(adapter, of_val, of_test, unseen, unseen_groups=groups, seed=seed, scorers=scorers)
    return {"ood": table.assign(name=name, texts=texts), "open_set": rejection.assign(name=name, texts=texts)}


def _rows(features: Features, rows: LabelledRows, places: np.ndarray) -> GroupedFeatures:
    return GroupedFeatures(features=features.rows(places), labels=rows.labels[places], groups=rows.groups[places])


def _ensembles(rows: LabelledRows, evaluation: Evaluation, test: np.ndarray, seed: int) -> pd.DataFrame:
    """name, texts and the columns of `judge_parts` for each adapter that is an ensemble."""
    tables = [
        judge_parts(
            tuned.adapter,
            _rows(rows.features, rows, test),
            seed=seed,
            unseen=rows.unseen,
            unseen_groups=rows.unseen_groups,
        ).assign(name=name, texts=texts)
        for (name, texts), tuned in evaluation.fitted.items()
    ]
    return pd.concat(tables, ignore_index=True) if any(map(len, tables)) else pd.DataFrame()
