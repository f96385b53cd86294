"""Fit and evaluate adapters on the stored features of a build: fitted on train, tuned on val, judged once on test.

Tables beside the results: pairs of adapters, head and tail, confidence, pictures of no class.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
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
from evenly.adapters.evaluation.protocols.evaluation_data import EvaluationData
from evenly.adapters.evaluation.protocols.experiment import Evaluation, fit_and_evaluate
from evenly.adapters.evaluation.protocols.further_tables import further_tables, predictions_of
from evenly.adapters.evaluation.tables import losses_in_words
from evenly.adapters.labelled import LabelledRows, takes_second
from evenly.adapters.methods.vcd import DescribedClasses
from evenly.adapters.saved import to_arrays, to_card
from evenly.curation.concepts.name_frequency import NameCounter
from evenly.descriptions.methods.negations import LABEL as HAND_WRITTEN
from evenly.storage.artifacts.kinds import fitted_adapters_of, put_adapter
from evenly.storage.builds import Builds
from evenly.storage.ledger import StepOutput
from evenly.storage.records import content_hash
from evenly.storage.samples import BuildSamples
from evenly.tasks.adapters.prompts import finish_prompts
from evenly.tasks.classes.selection import choice_in_words
from evenly.tasks.encoders import second_identity, step_encoder
from evenly.tasks.labelled_rows import labelled_rows
from evenly.tasks.run import Records, Run
from evenly.tasks.splits import grouped_inputs
from evenly.tasks.step import Step, plain_rule

MEASURES = (
    "accuracy", "low", "high", "difference", "difference_low", "difference_high", "validation_accuracy", "n",
)  # fmt: skip
"""Of the results of an adapter, as its card has them."""
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
    adapters, without_texts = _with_texts(rule, rows)
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
        adapters=["zero_shot", *adapters],
        settings=_settings(rule),
    )
    sources = text_sources(rule, {"negations": HAND_WRITTEN})
    _save(run, rule, manifest, rows, evaluation)
    finish_prompts(rows.features)
    parts = {"class": rows.pairs["label"], "group": pa.array(rows.groups), "part": pa.array(rows.split)}
    tables = {
        "results": pa.Table.from_pandas(evaluation.results, preserve_index=False),
        "curves": pa.Table.from_pandas(evaluation.curves, preserve_index=False),
        "per_class": pa.Table.from_pandas(evaluation.per_class, preserve_index=False),
        "split": pa.table({"uid": rows.pairs["uid"], **parts}),
        "predictions": predictions_of(rows, evaluation),
        "texts": pa.Table.from_pylist(sources, schema=SCHEMA),
        **further_tables(rows, evaluation, class_frequencies(run, manifest, rule), seed=run.seed),
    }
    about_texts = [*choice_in_words(run, rule), *without_texts] if rule.describe else [NOT_DESCRIBED]
    notes = [*rows.notes, *_about_pool(rule, rows), *about_texts, *in_words(sources), *evaluation.notes]
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


def _with_texts(rule: EvaluationRule, rows: LabelledRows) -> tuple[list[str], list[str]]:
    """The adapters of the rule that have the texts they need, and a sentence on each of the others.

    A list that was not described is refused, in words that say how it gets texts.
    """
    adapters, notes = [], []
    for name in rule.adapters:
        missing = [field for field in ADAPTERS[name].needs if "text" in field and getattr(rows.features, field) is None]
        if missing and not rule.describe:
            raise MissingFeaturesError(
                f"`adapters` of list `{rule.list}` must have the texts they need; got {name}, which needs "
                f"{', '.join(missing)}, and it was not described as the recipe says. Run `evenly rebuild`, which "
                "describes it, or name other `methods`."
            )
        if missing:
            notes.append(f"{name} is not fitted: no descriptions, and so no {', '.join(missing)}")
        else:
            adapters.append(name)
    return adapters, notes


def _settings(rule: EvaluationRule) -> dict[str, dict[str, Any]]:
    """Parameters that the recipe fixes: how texts count together, and among how many classes pairs were sought."""
    settings: dict[str, dict[str, Any]] = {"vcd": {"aggregate": rule.aggregate}} if rule.aggregate else {}
    return settings | ({"fudd": {"k": rule.pairs["top"]}} if rule.pairs is not None else {})


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
            "metrics": {key: _plain(row[key]) for key in MEASURES},
            "losses": losses_in_words([{str(key): value for key, value in row.items()}]),
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
    version=11,
    inputs=_hash_build,
    model=step_encoder,
    seeded=True,
)


def class_frequencies(run: Run, manifest: Mapping[str, Any], rule: ClassTexts) -> np.ndarray:
    """Captions of the whole pool (c,) that name the class or one of its accepted synonyms, each caption once."""
    captions = BuildSamples(run.workspace, manifest).read(["caption"])
    return NameCounter(names_of_classes(rule), plurals=True).count(captions["caption"].combine_chunks()).of_concepts
