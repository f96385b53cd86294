"""Fit and evaluate adapters on the stored features of a build: fitted on train, tuned on val, judged once on test."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from adapters.evaluation.experiment import Evaluation, fit_and_evaluate
from adapters.features_record import Features, unit_rows
from adapters.saved import to_arrays, to_card
from adapters.splits import split_by_group, twins
from features.class_weights import class_weights
from storage.adapter_files import write_adapter
from storage.builds import Builds
from storage.feature_store import FeatureStore
from storage.ledger import StepOutput
from storage.samples import Samples
from tasks.encoders import encoder_of, text_rows
from tasks.run import Run
from tasks.step import Records, Rule, Step


def evaluate_adapters(run: Run, _before: Records, rule: Rule) -> StepOutput:
    """Fit the adapters of the rule on the labelled kept pairs of a build and evaluate them once on the test part."""
    manifest = Builds(run.workspace).read(rule["build"])
    classes: list[str] = rule["classes"]
    rows, groups = _labelled_rows(run, manifest, classes)
    encoder = manifest["encoder"]["identity"]
    vectors, _ = FeatureStore(run.workspace, encoder, "images").read(rows["image_id"].to_pylist())
    labels = np.array([classes.index(label) for label in rows["label"].to_pylist()], dtype=np.int64)
    split = split_by_group(groups, labels, seed=run.seed)
    evaluation = fit_and_evaluate(
        Features(image=unit_rows(vectors), encoder=encoder),
        labels,
        split,
        groups,
        prototypes=_prototypes(run, rule),
        classes=classes,
        seed=run.seed,
        adapters=["zero_shot", *rule["adapters"]],
    )
    _save(run, rule, manifest, evaluation)
    parts = pa.table({"uid": rows["uid"], "class": rows["label"], "group": pa.array(groups), "part": pa.array(split)})
    tables = {
        "results": pa.Table.from_pandas(evaluation.results, preserve_index=False),
        "curves": pa.Table.from_pandas(evaluation.curves, preserve_index=False),
        "per_class": pa.Table.from_pandas(evaluation.per_class, preserve_index=False),
        "split": parts,
    }
    return StepOutput(tables=tables, notes={"notes": list(evaluation.notes), "list": rule["list"]})


def _labelled_rows(
    run: Run, manifest: Mapping[str, Any], classes: Sequence[str]
) -> tuple[pa.Table, npt.NDArray[np.str_]]:
    """The kept pairs with a label of the list, and the group of each, joined with those of all its merged twins."""
    samples = Samples(run.workspace, manifest["recipe_name"])
    version, last = manifest["samples"]["version"], manifest["samples"]["last"]
    everyone = samples.read(version, ["uid", "group"])
    merged: list[tuple[str, str]] = []
    for step in manifest["steps"]:
        if step["counts"].get("merged") and step["name"] != "collect":
            table = samples.read(version, ["uid", f"{step['name']}_into"], f"{step['name']}_into IS NOT NULL")
            merged += zip(table["uid"].to_pylist(), table[f"{step['name']}_into"].to_pylist(), strict=True)
    groups = twins(everyone["uid"].to_pylist(), everyone["group"].to_pylist(), merged)
    rows = samples.read(version, ["uid", "image_id", "label"], f"{last}_verdict = 'kept' AND label IS NOT NULL")
    rows = rows.filter(pc.is_in(rows["label"], pa.array(list(classes), pa.string())))
    return rows, groups[pc.index_in(rows["uid"], everyone["uid"].combine_chunks()).to_numpy()]


def _prototypes(run: Run, rule: Rule) -> dict[str, np.ndarray]:
    """Class vectors (c, d) per set of texts: the bare names, then what the descriptions of the rule offer."""
    texts: dict[str, dict[str, list[str]]] = {"names": {name: [name] for name in rule["classes"]}} | rule["texts"]
    weights = {}
    for kind, per_class in texts.items():
        ordered = [per_class.get(name) or [name] for name in rule["classes"]]
        flat = sorted({text for some in ordered for text in some})
        vectors = dict(zip(flat, text_rows(run, flat), strict=True))
        weights[kind] = class_weights([np.stack([vectors[text] for text in some]) for some in ordered])
    return weights


def _save(run: Run, rule: Rule, manifest: Mapping[str, Any], evaluation: Evaluation) -> None:
    rows = {(str(row["name"]), str(row["texts"])): row for row in evaluation.results.to_dict("records")}
    for (name, texts), tuned in evaluation.fitted.items():
        row = rows[name, texts]
        card = to_card(tuned.adapter) | {
            "build": manifest["build"],
            "content_hash": manifest["content_hash"],
            "encoder": manifest["encoder"],
            "class_list": rule["list"],
            "classes": rule["classes"],
            "texts": texts,
            "seed": run.seed,
            "chosen_on": "validation",
            "metrics": {key: _plain(row[key]) for key in ("accuracy", "low", "high", "validation_accuracy", "n")},
        }
        folder = run.workspace.adapters / manifest["build"] / rule["list"]
        write_adapter(folder, f"{name}-{texts}", card, to_arrays(tuned.adapter))


def _plain(value: Any) -> float | None:  # noqa: ANN401 - a cell of a data frame
    number = float(value)
    return None if np.isnan(number) else number


def _hash_build(run: Run, _before: Records, rule: Rule) -> dict[str, str]:
    manifest = Builds(run.workspace).read(rule["build"])
    return {"build": manifest["content_hash"]}


EVALUATE_ADAPTERS = Step(
    name="evaluate_adapters", compute=evaluate_adapters, inputs=_hash_build, model=encoder_of, seeded=True
)
