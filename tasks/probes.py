"""Probes of an evaluated build: corrupted test pictures, diversity given the captions, attributes of two objects."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from adapters.evaluation.binding import ProbeSet, binding_table
from adapters.evaluation.diversity import schur_complement_entropy
from adapters.evaluation.effective_robustness import effective_robustness
from adapters.evaluation.robustness import corruption_robustness
from adapters.features_record import Features
from adapters.saved import from_arrays
from adapters.training import row_keys
from demo.binding import COLOURS, THINGS, compositions, question
from features import to_unit_rows
from features.corruptions import CORRUPTIONS, FAMILIES, STRENGTHS, corrupted_bytes
from storage.adapter_files import read_adapter
from storage.builds import Builds
from storage.ledger import StepOutput, StepRecord
from storage.web import read_images
from tasks.class_texts import single
from tasks.encoders import encoder_of, open_encoder, text_rows
from tasks.labelled_rows import kept_pairs
from tasks.run import Run
from tasks.step import Records, Rule, Step

DIVERSITY_ROWS = 2000
DIVERSITY_SIGMA = 0.5
"""Median-distance scale of unit rows; the published 3.5 makes a nearly flat kernel on them."""


def corrupt_pictures(run: Run, before: Records, rule: Rule) -> StepOutput:
    """Judge the fitted adapters of an evaluation on its test pictures under every corruption and strength.

    Tables: `curves` and `corruptions` as Robustness has them, per adapter and texts; `models`, the accuracy of each
    adapter on clean and on corrupted pictures with its residual from the logit line over all of them.
    """
    evaluation = before[0]
    split = run.ledger.table(evaluation, "split")
    test = split.filter(pc.equal(split["part"], "test"))
    pairs = kept_pairs(run, Builds(run.workspace).read(rule["build"]))
    ids = pairs["image_id"].take(pc.index_in(test["uid"].combine_chunks(), pairs["uid"].combine_chunks())).to_pylist()
    labels = np.array([rule["classes"].index(name) for name in test["class"].to_pylist()], dtype=np.int64)
    fitted, skipped = _fitted(run, evaluation, rule)
    images = list(read_images(run.workspace.downloads, ids))
    cells = [("clean", 0), *((name, strength) for name in rule["corruptions"] for strength in rule["strengths"])]
    correct: dict[tuple[str, str], dict[tuple[str, int], np.ndarray]] = {key: {} for key in fitted}
    with run.progress.bar("encoding corrupted pictures", len(cells) * len(ids)) as advance:
        for name, strength in cells:
            shown = name if strength else rule["corruptions"][0]
            data = [
                corrupted_bytes(image, shown, strength=strength, seed=run.seed, key=one)
                for image, one in zip(images, ids, strict=True)
            ]
            rows, norms = to_unit_rows(open_encoder(run).encode_images(data, progress=advance))
            features = Features(image=single(rows), norms=norms, encoder=open_encoder(run).identity)
            for key, adapter in fitted.items():
                correct[key][name, strength] = adapter.predict(features) == labels
    return StepOutput(tables=_robustness(correct, test["group"].to_pylist(), run.seed), notes={"skipped": skipped})


def _fitted(run: Run, evaluation: StepRecord, rule: Rule) -> tuple[dict[tuple[str, str], Any], list[str]]:
    """The saved adapters that judge a picture by its features alone, and the names of the others."""
    folder = run.workspace.adapters / rule["build"] / rule["list"]
    fitted, skipped = {}, []
    for row in run.ledger.table(evaluation, "results", ["name", "texts"]).to_pylist():
        card, arrays = read_adapter(folder, f"{row['name']}-{row['texts']}")
        adapter = from_arrays(card["adapter"], arrays, card["parameters"], learned=card["learned"])
        if set(adapter.row_needs) <= {"norms"}:
            fitted[row["name"], row["texts"]] = adapter
        else:
            skipped.append(f"{row['name']} with {row['texts']} needs {', '.join(adapter.row_needs)}")
    return fitted, skipped


def _robustness(
    correct: Mapping[tuple[str, str], Mapping[tuple[str, int], np.ndarray]], groups: Sequence[str], seed: int
) -> dict[str, pa.Table]:
    curves, corruptions, models = [], [], []
    for (name, texts), cells in correct.items():
        found = corruption_robustness(
            cells["clean", 0], {cell: rows for cell, rows in cells.items() if cell[1]}, seed=seed, groups=groups
        )
        who = {"name": name, "texts": texts}
        curves.append(found.curves.assign(**who, family=found.curves["corruption"].map(_family)))
        corruptions.append(found.corruptions.assign(**who))
        models.append(who | {"clean": found.clean.estimate, "corrupted": found.mean_accuracy.estimate})
    table = pd.DataFrame(models)
    residuals, line = effective_robustness(
        [f"{row['name']} {row['texts']}" for row in models], table["clean"], table["corrupted"]
    )
    table = table.assign(residual=residuals["residual"].to_numpy(), slope=line.slope, intercept=line.intercept)
    frames = {"curves": pd.concat(curves), "corruptions": pd.concat(corruptions), "models": table}
    return {name: pa.Table.from_pandas(frame, preserve_index=False) for name, frame in frames.items()}


def _family(corruption: str) -> str:
    return next((family for family, names in FAMILIES.items() if corruption in names), "")


def measure_diversity(run: Run, _before: Records, rule: Rule) -> StepOutput:
    """How diverse the kept pictures of a build are beyond what their captions say: table `diversity`, one row.

    Of more than `rows` pairs those with the smallest digests are taken, so the number depends on content alone.
    """
    from storage.feature_store import FeatureStore

    pairs = kept_pairs(run, Builds(run.workspace).read(rule["build"]))
    store = FeatureStore(run.workspace, open_encoder(run).identity, "images")
    images = single(store.read(pairs["image_id"].to_pylist())[0])
    texts = single(text_rows(run, pairs["caption"].to_pylist()))
    keys = row_keys(np.concatenate([images, texts], axis=1))
    chosen = sorted(range(len(keys)), key=lambda row: keys[row])[: rule["rows"]]
    found = schur_complement_entropy(images[chosen], texts[chosen], sigma=rule["sigma"], seed=run.seed)
    row = {
        "pairs": len(keys),
        "n": found.n,
        "sigma": rule["sigma"],
        "given_texts": found.given_texts,
        "by_texts": found.by_texts,
        "unexplained": found.unexplained,
    }
    return StepOutput(tables={"diversity": pa.Table.from_pylist([row])})


def probe_binding(run: Run, _before: Records, _rule: Rule) -> StepOutput:
    """Whether the encoder gives each of two objects its own colour: table `binding`, as `binding_table` has it."""
    shown = compositions()
    with run.progress.bar("encoding pictures of two objects", len(shown)) as advance:
        rows = to_unit_rows(open_encoder(run).encode_images([one.png for one in shown], progress=advance))[0]
    texts = text_rows(run, [question(thing, colour) for thing in THINGS for colour in COLOURS])
    probe = ProbeSet(
        image=single(rows),
        texts=single(texts).reshape(len(THINGS), len(COLOURS), -1),
        objects=np.array([[THINGS.index(item.thing) for item in one.items] for one in shown], dtype=np.int64),
        attributes=np.array([[COLOURS.index(item.colour) for item in one.items] for one in shown], dtype=np.int64),
        strength=np.array([[item.strength for item in one.items] for one in shown], dtype=np.str_),
    )
    groups = [" ".join(sorted(item.code for item in one.items)) for one in shown]
    table = binding_table(probe, seed=run.seed, groups=groups)
    return StepOutput(tables={"binding": pa.Table.from_pandas(table, preserve_index=False)})


def _hash_build(run: Run, _before: Records, rule: Rule) -> dict[str, str]:
    return {"build": Builds(run.workspace).read(rule["build"])["content_hash"]}


CORRUPT_PICTURES = Step(name="corrupt_pictures", compute=corrupt_pictures, model=encoder_of, seeded=True)
MEASURE_DIVERSITY = Step(
    name="measure_diversity", compute=measure_diversity, inputs=_hash_build, model=encoder_of, seeded=True
)
PROBE_BINDING = Step(name="probe_binding", compute=probe_binding, model=encoder_of, seeded=True)
ALL_CORRUPTIONS = {"corruptions": list(CORRUPTIONS), "strengths": list(STRENGTHS)}
