"""Adapters on corrupted test pictures: accuracy over strengths, and robustness beyond what accuracy predicts.

Also of a model per training source (Quality Not Quantity). Nguyen et al., NeurIPS 2022, arXiv:2208.05516, train CLIP on
each source at several sizes. The features-only analogue here: a linear probe on the frozen features of each source's
train pictures, at several shares of them, and of all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.adapters.class_texts import ClassTexts
from evenly.adapters.contract import Adapter
from evenly.adapters.evaluation.measures.effective_robustness import SourceModel, source_tables
from evenly.adapters.evaluation.measures.robustness import Cell, robustness_measures, robustness_tables
from evenly.adapters.features import Features, LabelledFeatures
from evenly.adapters.methods.linear import LinearProbe
from evenly.adapters.saved import from_arrays
from evenly.adapters.search import tune
from evenly.adapters.splits import unit_hash
from evenly.features import to_unit_rows
from evenly.features.corruptions import CORRUPTIONS, FAMILIES, STRENGTHS, corrupted_bytes
from evenly.storage.artifacts.kinds import fitted_adapters_of, read_adapter
from evenly.storage.builds import Builds
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput, StepRecord
from evenly.storage.samples import BuildSamples
from evenly.storage.web.images import read_images
from evenly.tasks.classes.texts import prototypes, single
from evenly.tasks.encoders import encoder_identity, open_encoder, step_encoder
from evenly.tasks.labelled_rows import kept_pairs
from evenly.tasks.run import Records, Run
from evenly.tasks.step import Step

Who = tuple[str, str]
"""Name and texts of an adapter."""
PER_SOURCE = "source model "
"""How the models per source are told from adapters, whose names hold no blank."""


@dataclass(frozen=True, kw_only=True)
class CorruptionRule:
    """The classes of a `list` whose adapters were fitted on a `build`, and how its test pictures are corrupted."""

    build: str
    list: str
    classes: tuple[str, ...]
    corruptions: tuple[str, ...] = tuple(CORRUPTIONS)
    strengths: tuple[int, ...] = tuple(STRENGTHS)


def corrupt_pictures(run: Run, upstream: Records, rule: CorruptionRule) -> StepOutput:
    """Judge the fitted adapters of an evaluation on its test pictures under every corruption and strength.

    Tables: `curves` (with the `family` of each corruption) and `corruptions` as Robustness has them, per adapter and
    texts; `models` as `models_table` has it; where the train pictures are of several sources, `sources` and
    `source_lines` as `source_tables` has them. "clean" is the picture at the size at which it is corrupted, so it may
    differ a little from the evaluation. Notes: `skipped`, the adapters that a picture alone is not enough for.
    """
    evaluation = upstream[0]
    split = run.ledger.table(evaluation, "split")
    test = split.filter(pc.equal(split["part"], "test"))
    fitted, skipped = fitted_adapters(run, evaluation, rule)
    if not len(test) or not fitted:
        return StepOutput(notes={"skipped": skipped})
    pairs = kept_pairs(run, Builds(run.workspace).read(rule.build))
    ids = pairs["image_id"].take(pc.index_in(test["uid"].combine_chunks(), pairs["uid"].combine_chunks())).to_pylist()
    labels = np.array([rule.classes.index(name) for name in test["class"].to_pylist()], dtype=np.int64)
    groups = test["group"].to_pylist()
    models = source_models(run, split, build=rule.build, classes=rule.classes)
    of_models = {(f"{PER_SOURCE}{place}", ""): model.adapter for place, model in enumerate(models)}
    correct = _judged(run, {**fitted, **of_models}, ids, labels, rule)
    of_fitted = {adapter: correct[adapter] for adapter in fitted}
    frames = robustness_tables(of_fitted, groups, families=FAMILIES, seed=run.seed)
    frames |= source_tables(models, [robustness_measures(correct[model], groups, seed=run.seed) for model in of_models])
    tables = {name: pa.Table.from_pandas(frame, preserve_index=False) for name, frame in frames.items()}
    return StepOutput(tables=tables, notes={"skipped": skipped})


def fitted_adapters(run: Run, evaluation: StepRecord, rule: CorruptionRule) -> tuple[dict[Who, Adapter], list[str]]:
    """The saved adapters that judge a picture by its features alone; of the others, what they lack."""
    artifacts = fitted_adapters_of(run.workspace, rule.build, rule.list)
    fitted: dict[Who, Adapter] = {}
    skipped = []
    for row in run.ledger.table(evaluation, "results", ["name", "texts", "accuracy"]).to_pylist():
        title = f"{row['name']} with {row['texts']}"
        card, arrays = read_adapter(artifacts, f"{row['name']}-{row['texts']}")
        adapter = from_arrays(card["adapter"], arrays, card["parameters"], learned=card["learned"])
        lacking = sorted(set(adapter.fields_of_rows()) - {"norms"})
        if lacking:
            skipped.append(f"{title}: it needs `{'`, `'.join(lacking)}` of each picture, which the probe does not make")
        elif card["metrics"]["accuracy"] != row["accuracy"]:
            skipped.append(f"{title}: its file was saved by another evaluation of this build and class list")
        else:
            fitted[row["name"], row["texts"]] = adapter
    return fitted, skipped


def _judged(
    run: Run, fitted: Mapping[Who, Adapter], ids: Sequence[str], labels: np.ndarray, rule: CorruptionRule
) -> dict[Who, dict[Cell, np.ndarray]]:
    """Per adapter and cell whether each picture is told right; ("clean", 0) is the first cell."""
    encoder = open_encoder(run)
    names = rule.corruptions
    cells = [("clean", 0), *((name, strength) for name in names for strength in rule.strengths)]
    # once at the size at which pictures are corrupted, which a second time leaves as they are
    clean = [
        corrupted_bytes(image, names[0], strength=0, seed=run.seed, key=image_id)
        for image, image_id in zip(read_images(run.workspace.downloads, ids), ids, strict=True)
    ]
    correct: dict[Who, dict[Cell, np.ndarray]] = {adapter: {} for adapter in fitted}
    with run.progress.bar("encoding corrupted pictures", len(cells) * len(ids)) as advance:
        for name, strength in cells:
            data = clean
            if strength:
                pictures = zip(clean, ids, strict=True)
                data = [
                    corrupted_bytes(picture, name, strength=strength, seed=run.seed, key=key)
                    for picture, key in pictures
                ]
            rows, norms = to_unit_rows(encoder.encode_images(data, progress=advance))
            features = Features(image=single(rows), norms=norms, encoder=encoder.identity)
            for adapter_key, adapter in fitted.items():
                correct[adapter_key][name, strength] = adapter.predict(features) == labels
    return correct


CORRUPT_PICTURES = Step(
    name="corrupt_pictures",
    rule=CorruptionRule,
    judge=corrupt_pictures,
    version=3,
    model=step_encoder,
    seeded=True,
)


SHARES = (0.125, 0.25, 0.5, 1.0)
"""Of a source's train pictures, nested: a line over models needs models of different accuracy."""
ALL = "all sources"
"""The source of models trained on the mixture: a line of its own."""


def source_models(run: Run, split: pa.Table, *, build: str, classes: Sequence[str]) -> list[SourceModel]:
    """A model per source with train pictures and share, C tuned on all val pictures; none with fewer than two sources.

    `split`: uid, class, part of an evaluation. A share is of the uids of the smallest hashes. A share of fewer than two
    classes, of which a probe learns nothing, is left out.
    """
    judged = split.filter(pc.is_in(split["part"], pa.array(["train", "val"])))
    sources = _sources(run, build, judged["uid"])
    train = judged["part"].to_numpy(zero_copy_only=False) == "train"
    names = sorted({source for source, in_train in zip(sources, train, strict=True) if in_train and source})
    if len(names) < 2:
        return []
    pictures = LabelledFeatures(features=_features(run, build, judged, classes), labels=_labels(judged, classes))
    order = np.argsort([unit_hash(run.seed, "source", uid) for uid in judged["uid"].to_pylist()], kind="stable")
    models = []
    for name in (*names, ALL):
        places = order[train[order] & ((sources[order] == name) | (name == ALL))]
        for share in SHARES:
            subset = places[: max(int(share * len(places)), 1)]
            if len(np.unique(pictures.labels[subset])) > 1:
                tuned = tune(
                    LinearProbe,
                    train=pictures.rows(subset),
                    validation=pictures.rows(~train),
                    guard=False,
                )
                models.append(SourceModel(source=name, share=share, rows=len(subset), adapter=tuned.adapter))
    return models


def _sources(run: Run, build: str, uids: pa.ChunkedArray) -> np.ndarray:
    """The source (n,) of each pair; "" where it has none."""
    table = BuildSamples(run.workspace, Builds(run.workspace).read(build)).read(["uid", "source"])
    sources = table["source"].take(pc.index_in(uids.combine_chunks(), table["uid"].combine_chunks()))
    return np.array([name or "" for name in sources.to_pylist()], dtype=np.str_)


def _features(run: Run, build: str, judged: pa.Table, classes: Sequence[str]) -> Features:
    pairs = kept_pairs(run, Builds(run.workspace).read(build))
    ids = pairs["image_id"].take(pc.index_in(judged["uid"].combine_chunks(), pairs["uid"].combine_chunks()))
    encoder = encoder_identity(run)
    return Features(
        image=single(FeatureStore(run.workspace, encoder, "images").read(ids.to_pylist())[0]),
        prototypes=prototypes(run, ClassTexts(classes=tuple(classes)))["names"],
        encoder=encoder,
    )


def _labels(judged: pa.Table, classes: Sequence[str]) -> np.ndarray:
    places = {name: place for place, name in enumerate(classes)}
    return np.array([places[name] for name in judged["class"].to_pylist()], dtype=np.int64)
