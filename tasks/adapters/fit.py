"""Fit and evaluate adapters on the stored features of a build: fitted on train, tuned on val, judged once on test.

Tables beside the results: pairs of adapters, head and tail, confidence, pictures of no class.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from evenly.adapters import ADAPTERS
from evenly.adapters.class_texts import (
    SCHEMA,
    ClassTexts,
    EvaluationRule,
    described_texts,
    in_words,
    names_of_classes,
    text_sources,
)
from evenly.adapters.errors import MissingFeaturesError
from evenly.adapters.evaluation.measures.calibration import reliability
from evenly.adapters.evaluation.measures.classification import softmax
from evenly.adapters.evaluation.measures.ensemble_parts import judge_parts
from evenly.adapters.evaluation.measures.head_tail import head_tail, tail_classes
from evenly.adapters.evaluation.measures.paired import paired_tests
from evenly.adapters.evaluation.measures.rejection import judge_rejection
from evenly.adapters.evaluation.measures.unseen import judge_unseen
from evenly.adapters.evaluation.protocols.evaluation_data import EvaluationData
from evenly.adapters.evaluation.protocols.experiment import Evaluation, fit_and_evaluate
from evenly.adapters.features import Features, GroupedFeatures, Integers
from evenly.adapters.methods.cooked import Cooked
from evenly.adapters.methods.vcd import DescribedClasses
from evenly.adapters.saved import to_arrays, to_card
from evenly.curation.concepts.name_frequency import NameCounter
from evenly.descriptions.methods.negations import LABEL as HAND_WRITTEN
from evenly.storage.artifacts.kinds import fitted_adapters_of, put_adapter
from evenly.storage.builds import Builds
from evenly.storage.ledger import StepOutput
from evenly.storage.records import content_hash
from evenly.storage.samples import BuildSamples
from evenly.tasks.encoders import second_identity, step_encoder
from evenly.tasks.labelled_rows import LabelledRows, labelled_rows, takes_second
from evenly.tasks.run import Records, Run
from evenly.tasks.splits import grouped_inputs
from evenly.tasks.step import Step, plain_rule

NOT_DESCRIBED = (
    "the list has not been described as the recipe says, so no generated text is used: `evenly rebuild` describes it"
)


def evaluate_adapters(run: Run, _upstream: Records, rule: EvaluationRule) -> StepOutput:
    """Fit the adapters of the rule on the labelled kept pairs of a build and evaluate them once on the test part.

    Tables: `results`, `curves` and `per_class` as Evaluation has them; `split` (uid, class, group, part);
    `predictions`, one row per adapter and test picture; `texts` as `text_sources` has it; those of `further_tables`.
    """
    manifest = Builds(run.workspace).read(rule.build)
    rows = labelled_rows(run, manifest, rule, adapters=rule.adapters)
    _require_texts(rule, rows)
    evaluation = fit_and_evaluate(
        EvaluationData(
            features=rows.features,
            labels=rows.labels,
            split=rows.split,
            groups=rows.groups,
            classes=rows.classes,
            prototypes=rows.prototypes,
        ),
        seed=run.seed,
        adapters=["zero_shot", *rule.adapters],
        settings=_settings(rule),
    )
    sources = text_sources(rule, {"negations": HAND_WRITTEN})
    _save(run, rule, manifest, rows, evaluation)
    parts = {"class": rows.pairs["label"], "group": pa.array(rows.groups), "part": pa.array(rows.split)}
    tables = {
        "results": pa.Table.from_pandas(evaluation.results, preserve_index=False),
        "curves": pa.Table.from_pandas(evaluation.curves, preserve_index=False),
        "per_class": pa.Table.from_pandas(evaluation.per_class, preserve_index=False),
        "split": pa.table({"uid": rows.pairs["uid"], **parts}),
        "predictions": _predictions(rows, evaluation),
        "texts": pa.Table.from_pylist(sources, schema=SCHEMA),
        **further_tables(run, manifest, rule, rows, evaluation),
    }
    undescribed = [] if rule.describe else [NOT_DESCRIBED]
    notes = [*rows.notes, *_about_pool(rule, rows), *undescribed, *in_words(sources), *evaluation.notes]
    return StepOutput(tables=tables, notes={"notes": notes, "list": rule.list})


def evaluations_in_words(run: Run, records: Records) -> str:
    """The number of adapters evaluated for each class list, and of test pictures, in a line."""
    results = {record.rule["list"]: run.ledger.table(record, "results", ["name", "n"]) for record in records}
    return "; ".join(
        f"{name}: adapters {len(set(table['name'].to_pylist())):,}, test pictures {max(table['n'].to_pylist()):,}"
        for name, table in results.items()
    )


def _about_pool(rule: EvaluationRule, rows: LabelledRows) -> list[str]:
    """A sentence on the pool without labels, where an adapter of the rule learns from it."""
    if not any("unlabelled" in ADAPTERS[name].needs for name in rule.adapters):
        return []
    train = int(np.count_nonzero(rows.split == "train"))
    return [f"unlabelled pool: {train:,} train pictures, labels hidden, and {len(rows.unlabelled):,} without a label"]


def _require_texts(rule: EvaluationRule, rows: LabelledRows) -> None:
    """Refuse adapters that need texts of a list that has none, in words that say how it gets them."""
    for name in rule.adapters:
        missing = [field for field in ADAPTERS[name].needs if "text" in field and getattr(rows.features, field) is None]
        if missing:
            reason = "no text of it was accepted" if rule.describe else "it was not described as the recipe says"
            raise MissingFeaturesError(
                f"`adapters` of list `{rule.list}` must have the texts they need; got {name}, which needs "
                f"{', '.join(missing)}, and {reason}. Run `evenly rebuild`, which describes it, or name "
                "other `methods`."
            )


def _settings(rule: EvaluationRule) -> dict[str, dict[str, Any]]:
    """Parameters that the recipe fixes: how texts count together, and among how many classes pairs were sought."""
    settings: dict[str, dict[str, Any]] = {"vcd": {"aggregate": rule.aggregate}} if rule.aggregate else {}
    return settings | ({"fudd": {"k": rule.pairs["top"]}} if rule.pairs is not None else {})


def _predictions(rows: LabelledRows, evaluation: Evaluation) -> pa.Table:
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


def _save(
    run: Run, rule: EvaluationRule, manifest: Mapping[str, Any], rows: LabelledRows, evaluation: Evaluation
) -> None:
    """Store each fitted adapter, in the place of one that an earlier run fitted on this build for this list."""
    artifacts = fitted_adapters_of(run.workspace, manifest["build"], rule.list)
    split = content_hash(dict(zip(rows.pairs["uid"].to_pylist(), rows.split.tolist(), strict=True)))
    rows_by_adapter = {(str(row["name"]), str(row["texts"])): row for row in evaluation.results.to_dict("records")}
    for (name, texts), tuned in evaluation.fitted.items():
        row = rows_by_adapter[name, texts]
        card = to_card(tuned.adapter) | {
            "build": manifest["build"],
            "content_hash": manifest["content_hash"],
            "encoder": {**manifest["encoder"], **run.encoder.numbers},
            "second": _second(run, rows),
            "class_list": rule.list,
            "classes": rule.classes,
            "class_list_hash": content_hash(rule.classes),
            "describe": rule.describe,
            "given": None if rule.given is None else plain_rule(rule.given),
            "split_hash": split,
            "texts": texts,
            "seed": run.seed,
            "chosen": tuned.chosen,
            "why": tuned.why,
            "chosen_on": "validation",
            "temperature": _plain(row["temperature"]),
            "temperature_why": row["temperature_why"],
            "metrics": {key: _plain(row[key]) for key in ("accuracy", "low", "high", "validation_accuracy", "n")},
        }
        if isinstance(tuned.adapter, DescribedClasses):
            card["class_texts"] = [text for _, text in described_texts(rule)]
        made_of = {
            "build": manifest["build"],
            "encoder": manifest["encoder"]["identity"],
            "rule": {"adapter": name, "texts": texts, "seed": run.seed, **EVALUATE_ADAPTERS.stored(rule)},
        }
        arrays = to_arrays(tuned.adapter)
        put_adapter(artifacts, f"{name}-{texts}", card, arrays, made_of=made_of, force=True)


def _second(run: Run, rows: LabelledRows) -> dict[str, Any] | None:
    """The second backbone, where rows of it were there to learn from."""
    if run.second is None or rows.features.second is None:
        return None
    return {"model": run.second.model, "pretrained": run.second.pretrained, "identity": second_identity(run)}


def _plain(value: Any) -> float | None:  # noqa: ANN401 - a cell of a data frame
    number = float(value)
    return None if np.isnan(number) else number


def _hash_build(run: Run, _upstream: Records, rule: EvaluationRule) -> dict[str, str]:
    inputs = grouped_inputs(run, rule.build, rule.split)
    if run.second is not None and takes_second(rule, rule.adapters):
        inputs["second"] = second_identity(run)
    if run.views is not None and rule.adapters:
        inputs["views"] = str(run.views)
    return inputs


EVALUATE_ADAPTERS = Step(
    name="evaluate_adapters",
    rule=EvaluationRule,
    judge=evaluate_adapters,
    version=9,
    inputs=_hash_build,
    model=step_encoder,
    seeded=True,
)


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
