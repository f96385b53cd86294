"""A support set for each class out of a build's pictures, by caption and image similarity, without labels."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.adapters.class_texts import ListSplit
from evenly.adapters.labelled import Strings
from evenly.adapters.splits import PARTS
from evenly.curation.duplicates.colours import COLOUR_BYTES
from evenly.curation.exclusions.decontaminate import Contamination, Pictures, nearest_features
from evenly.curation.retrieval_sets import (
    KEPT,
    MeasuredCandidates,
    NamedCandidates,
    PoolPictures,
    RetrievalRule,
    pairs_with_names,
    rank_candidates,
    retrieved_table,
)
from evenly.features.class_weights import class_weights
from evenly.features.retrieve import concept_prototype, top_concepts
from evenly.features.unit_rows import cosine_scores, to_unit_rows
from evenly.storage.builds import Builds, encoder_of
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput, StepRecord
from evenly.tasks.classes.texts import single
from evenly.tasks.encoders import encoder_identity, step_encoder, text_rows
from evenly.tasks.labelled_rows import check_encoder, kept_pairs, kept_with_groups, labelled_pairs
from evenly.tasks.reference_sets import read_references, references_hash
from evenly.tasks.run import Records, Run
from evenly.tasks.splits import grouped_inputs, split_hash
from evenly.tasks.step import Step

RANKINGS = ("t2t", "t2i", "swat", "reco")
HELD_OUT_REASONS = {"val": "validation_picture", "test": "test_picture"}
EVALUATION = "evaluation_set"
CLASSES = pa.schema(
    [
        ("class", pa.string()),
        *((name, pa.int64()) for name in ("candidates", "kept", "short", "seeds")),
        ("kept_for_others", pa.int64()),
    ]
)
PROTOTYPES = pa.schema([("class", pa.string()), ("kind", pa.string()), ("vector", pa.list_(pa.float32()))])


@dataclass(frozen=True, kw_only=True)
class SupportRule(RetrievalRule):
    """The choice of pictures of a `build` for each class of a `list` by its `names`, filled in `templates`.

    `method` is one of RANKINGS, `seed_share` the part of the pictures from which a prototype is made. Not chosen are
    val and test pictures of `lists`, and those with `max_evaluation_cosine` to one of the sets that it is `against`.
    """

    list: str
    build: str
    names: Mapping[str, Sequence[str]]
    templates: tuple[str, ...]
    method: str
    seed_share: float
    lists: tuple[ListSplit, ...]
    split: str | None
    against: tuple[str, ...]
    max_evaluation_cosine: float


def retrieve(run: Run, _upstream: Records, rule: SupportRule) -> StepOutput:
    """Choose pictures of the rule's build for each class by its names.

    t2t and swat rank captions that hold a name by their cosine with the prompts of the class, t2i these captions'
    pictures; reco ranks all pictures. swat also asks for near pictures and merges near-duplicates. Tables: `retrieved`,
    every candidate with its verdict; `classes`; `prototypes`, of text and of pictures. Notes count reasons. Pictures
    of the val and test parts, of their twins and of evaluation sets are excluded, whatever their rank.
    """
    manifest = Builds(run.workspace).read(rule.build)
    check_encoder(run, manifest)
    kept, groups = kept_with_groups(run, manifest)
    names = [list(dict.fromkeys([name, *rule.names[name]])) for name in rule.names]
    texts, _ = to_unit_rows(prompt_vectors(run, names, rule.templates))
    ids = np.array(kept["image_id"].to_pylist(), dtype=np.str_)
    rows = FeatureStore(run.workspace, encoder_of(manifest), "images").read(ids.tolist())[0]
    judged = _in_parts(run, manifest, rule, labels=set(kept["label"].to_pylist()), groups=groups)
    pool = PoolPictures(
        uids=np.array(kept["uid"].to_pylist(), dtype=np.str_),
        image_ids=ids,
        rows=rows,
        excluded=np.where(_in_evaluation_sets(run, rule, rows), EVALUATION, judged),
    )
    candidates = _all_pictures(pool, texts, rule) if rule.method == "reco" else pairs_with_names(kept, names)
    measured = MeasuredCandidates(
        **vars(candidates),
        by_image=cosine_scores(pool.rows[candidates.places], texts[candidates.classes]),
        by_caption=_caption_cosines(run, kept, candidates, texts),
    )
    ranked = rank_candidates(
        pool,
        classes=candidates.classes,
        places=candidates.places,
        scores=measured.by_caption if rule.method in {"t2t", "swat"} else measured.by_image,
        image_cosines=measured.by_image,
        rule=rule,
    )
    return _output(rule, pool, retrieved_table(names, pool, measured, ranked), texts)


def prompt_vectors(run: Run, names: Sequence[Sequence[str]], templates: Sequence[str]) -> npt.NDArray[np.float32]:
    """Class vectors (c, d): the mean of the text features of every name of a class in every template."""
    prompts = [
        [template.replace("{}", name) for name in class_names for template in templates] for class_names in names
    ]
    rows = text_rows(run, [text for class_prompts in prompts for text in class_prompts])
    return class_weights(np.split(rows, np.cumsum([len(class_prompts) for class_prompts in prompts])[:-1]))


def _all_pictures(pool: PoolPictures, texts: npt.NDArray[np.float16], rule: SupportRule) -> NamedCandidates:
    """The pictures nearest to the prompts of each class: twice as many as are wanted, and as many as are excluded."""
    k = min(len(pool.uids), 2 * rule.per_class + int((pool.excluded != "").sum()))
    places, _ = top_concepts(texts, pool.rows, k)
    classes = np.repeat(np.arange(len(texts)), k)
    return NamedCandidates(classes=classes, places=places.ravel(), names=np.full(len(classes), -1))


def _in_parts(
    run: Run, manifest: Mapping[str, Any], rule: SupportRule, *, labels: set[str | None], groups: Strings
) -> Strings:
    """validation_picture, test_picture or "" for each pair (n,): its group is of that part for one of the lists."""
    reasons = np.full(len(groups), "", dtype="<U24")
    for part, reason in HELD_OUT_REASONS.items():
        for judged in rule.lists:
            if labels & set(judged.classes):
                labelled = labelled_pairs(run, manifest, judged)
                reasons[np.isin(groups, labelled.groups[labelled.split == part])] = reason
    return reasons


def _in_evaluation_sets(run: Run, rule: SupportRule, rows: npt.NDArray[np.float16]) -> npt.NDArray[np.bool_]:
    """Whether each picture (n,) has features near those of a picture of the sets that the rule is `against`."""
    is_near = np.zeros(len(rows), dtype=np.bool_)
    limits = Contamination(perceptual=None, semantic=rule.max_evaluation_cosine, colour=None)
    for path in rule.against:
        is_near |= (
            nearest_features(_comparable(rows), read_references(run, path, features=True).pictures, limits)[0] >= 0
        )
    return is_near


def _comparable(rows: npt.NDArray[np.float16]) -> Pictures:
    n = len(rows)
    return Pictures(
        hashes=np.zeros(n, np.uint64),
        colours=np.zeros((n, COLOUR_BYTES), np.uint8),
        decoded=np.zeros(n, bool),
        rows=rows,
    )


def _caption_cosines(
    run: Run, kept: pa.Table, candidates: NamedCandidates, texts: npt.NDArray[np.float16]
) -> npt.NDArray[np.float64]:
    """The cosine of each candidate's caption with the prompts; NaN for pictures that no caption was asked for."""
    cosines = np.full(len(candidates.places), np.nan)
    named = np.flatnonzero(candidates.names >= 0)
    if len(named):
        captions = text_rows(run, kept["caption"].take(pa.array(candidates.places[named])).to_pylist())
        cosines[named] = cosine_scores(captions, texts[candidates.classes[named]])
    return cosines


def _output(rule: SupportRule, pool: PoolPictures, table: pa.Table, texts: npt.NDArray[np.float16]) -> StepOutput:
    """Tables and notes; a class of no picture has no prototype of pictures."""
    rows: list[dict[str, Any]] = table.select(["class", "uid", "verdict", "reason"]).to_pylist()
    places = {uid: place for place, uid in enumerate(pool.uids.tolist())}
    kept = {
        name: [row["uid"] for row in rows if row["class"] == name and row["verdict"] == KEPT] for name in rule.names
    }
    serves = Counter(uid for uids in kept.values() for uid in uids)
    candidates = Counter(row["class"] for row in rows)
    by_class, prototypes = [], []
    for (name, uids), text in zip(kept.items(), texts, strict=True):
        prototypes.append({"class": name, "kind": "text", "vector": text.astype(np.float32).tolist()})
        seeds = 0
        if uids:
            vector, alike = concept_prototype(pool.rows[[places[uid] for uid in uids]], share=rule.seed_share)
            prototypes.append({"class": name, "kind": "image", "vector": vector.tolist()})
            seeds = len(alike)
        by_class.append(
            {
                "class": name,
                "candidates": candidates[name],
                "kept": len(uids),
                "short": rule.per_class - len(uids),
                "seeds": seeds,
                "kept_for_others": sum(serves[uid] > 1 for uid in uids),
            }
        )
    notes = {
        "list": rule.list,
        "method": rule.method,
        "pictures": len(set(pool.image_ids.tolist())),
        "excluded": dict(sorted(Counter(reason for reason in pool.excluded.tolist() if reason).items())),
        "reasons": dict(sorted(Counter(row["reason"] for row in rows if row["reason"]).items())),
        "kept": sum(map(len, kept.values())),
        "different_pictures": len({pool.image_ids[places[uid]] for uid in serves}),
        "short": [row["class"] for row in by_class if row["short"]],
    }
    tables = {
        "retrieved": table,
        "classes": pa.Table.from_pylist(by_class, CLASSES),
        "prototypes": pa.Table.from_pylist(prototypes, PROTOTYPES),
    }
    return StepOutput(tables=tables, notes=notes)


def _inputs(run: Run, _upstream: Records, rule: SupportRule) -> dict[str, str]:
    inputs = grouped_inputs(run, rule.build)
    for path in sorted({judged.split for judged in rule.lists if judged.split}):
        inputs[f"split {path}"] = split_hash(run, path)
    return inputs | {f"evaluation set {path}": references_hash(run, path) for path in rule.against}


RETRIEVE_SUPPORT = Step(name="retrieve_support", rule=SupportRule, judge=retrieve, inputs=_inputs, model=step_encoder)


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
