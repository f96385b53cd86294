"""A retrieved support set as the arrays of a file of features (storage/files/array_keys.py)."""

from typing import Any

import numpy as np
import pyarrow.compute as pc

from evenly.adapters.splits import PARTS
from evenly.curation.retrieval_sets import KEPT
from evenly.storage.builds import Builds, encoder_of
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepRecord
from evenly.tasks.classes.retrieve import RETRIEVE_SUPPORT, SupportRule
from evenly.tasks.classes.texts import ListSplit, single
from evenly.tasks.encoders import encoder_identity, text_rows
from evenly.tasks.labelled_rows import kept_pairs, labelled_pairs
from evenly.tasks.run import Run

HELD_OUT = PARTS[1:]


def support_arrays(run: Run, record: StepRecord) -> dict[str, np.ndarray]:
    """The arrays that `evenly fit --arrays` reads, of a record of `retrieve_support`.

    train_features, labels, norms and captions are those of the retrieved pictures, labelled by the class that they were
    retrieved for; a picture of several classes stands once for each. unlabelled_features are the same pictures, each
    once. prototypes are the mean prompts, class_texts the prompts by name. val and test are the labelled pictures of
    the build with their true labels, where it has some of these classes.
    """
    rule = RETRIEVE_SUPPORT.read(record.rule)
    manifest = Builds(run.workspace).read(rule.build)
    classes = list(rule.names)
    retrieved = run.ledger.table(record, "retrieved").filter(pc.field("verdict") == KEPT)
    kept = kept_pairs(run, manifest)
    captions = kept["caption"].take(pc.index_in(retrieved["uid"], kept["uid"].combine_chunks())).to_pylist()
    ids = retrieved["image_id"].to_pylist()
    store = FeatureStore(run.workspace, encoder_of(manifest), "images")
    rows, norms = store.read(ids)
    first = [ids.index(image_id) for image_id in sorted(set(ids))]
    arrays: dict[str, Any] = {
        "train_features": single(rows),
        "train_labels": np.array([classes.index(name) for name in retrieved["class"].to_pylist()], dtype=np.int64),
        "train_norms": norms.astype(np.float32),
        "train_caption_features": single(text_rows(run, captions)) if ids else single(rows),
        "unlabelled_features": single(rows[first]),
        "classes": np.array(classes, dtype=np.str_),
        "encoder": np.array([run.encoder.model, run.encoder.pretrained or "", encoder_identity(run)], dtype=np.str_),
    }
    return arrays | _texts(run, record, rule) | _judged(run, rule, store)


def _texts(run: Run, record: StepRecord, rule: SupportRule) -> dict[str, np.ndarray]:
    prompts = [
        (label, template.replace("{}", name))
        for label, class_name in enumerate(rule.names)
        for name in dict.fromkeys([class_name, *rule.names[class_name]])
        for template in rule.templates
    ]
    table = run.ledger.table(record, "prototypes").filter(pc.field("kind") == "text")
    return {
        "prototypes": single(np.array(table["vector"].to_pylist(), dtype=np.float32)),
        "class_texts": single(text_rows(run, [text for _, text in prompts])),
        "class_text_labels": np.array([label for label, _ in prompts], dtype=np.int64),
    }


def _judged(run: Run, rule: SupportRule, store: FeatureStore) -> dict[str, np.ndarray]:
    """The val and test pictures of the list; nothing where the build has no labels of its classes."""
    manifest = Builds(run.workspace).read(rule.build)
    classes = tuple(rule.names)
    if not set(kept_pairs(run, manifest)["label"].to_pylist()) & set(classes):
        return {}
    labelled = labelled_pairs(run, manifest, ListSplit(classes=classes, split=rule.split))
    arrays: dict[str, np.ndarray] = {}
    for part in HELD_OUT:
        index = np.flatnonzero(labelled.split == part)
        rows, norms = store.read(labelled.pairs["image_id"].take(index).to_pylist())
        arrays[f"{part}_features"], arrays[f"{part}_norms"] = single(rows), norms.astype(np.float32)
        arrays[f"{part}_labels"], arrays[f"{part}_groups"] = labelled.labels[index], labelled.groups[index]
    return arrays
