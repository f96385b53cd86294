"""The data that adapters are fitted on: the labelled kept pairs of a build with features, split, and class texts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.adapters import adapter_class
from evenly.adapters.class_texts import FREQUENT_NAMES, ClassTexts, ListSplit
from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.labelled import LabelledPairs, LabelledRows, Strings, takes_second, takes_tower
from evenly.adapters.splits import joined_groups, settle_parts, split_by_group
from evenly.adapters.twins import Twins, twin_clusters
from evenly.curation.collecting import COLLECT
from evenly.features.pictures.views import MOST_BOXES, View, box_views
from evenly.storage.builds import encoder_of
from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.files.splits import compared_keys, places_of_keys, read_split
from evenly.storage.samples import BuildSamples
from evenly.tasks.adapters.prompts import run_tower
from evenly.tasks.classes.texts import class_texts, filled_templates, frequent_names, prototypes, single
from evenly.tasks.encoders import encoder_identity, second_backbone_rows, text_rows
from evenly.tasks.pictures.views import view_rows
from evenly.tasks.regions.tables import stored_regions
from evenly.tasks.run import Run
from evenly.tasks.splits import build_twins


def labelled_rows(run: Run, manifest: Mapping[str, Any], rule: ClassTexts, *, adapters: Sequence[str]) -> LabelledRows:
    """The kept pairs of a build whose label is in the list of the rule, each picture's twins in one part.

    The pool without labels is the train pictures and the kept pairs that have no label, but none of a group with a val
    or test picture or one of the unseen sets. Rows by the run's second backbone are made where `takes_second` says,
    and those of pictures without a label where an adapter learns from these. Views are made of train pictures alone,
    where the run asks for some and there are adapters.
    """
    check_encoder(run, manifest)
    plain_run = replace(run, second=None)
    run = run if takes_second(rule, adapters) else plain_run
    kept, groups = kept_with_groups(run, manifest)
    names = kept["label"].to_pylist()
    wanted = {name: np.isin(names, list(labels)) for name, labels in vars(rule.unseen).items() if labels}
    unseen = {name: mask for name, mask in wanted.items() if mask.any()}
    twins = build_twins(run.workspace, manifest)
    uids = np.array(kept["uid"].to_pylist(), dtype=np.str_)
    labelled = _labelled(run, rule, kept, groups, twins, judged=[uid for mask in unseen.values() for uid in uids[mask]])
    of_unseen = [groups[mask] for mask in unseen.values()]
    judged = [labelled.groups[labelled.split != "train"], *of_unseen]
    free = np.array([name is None for name in names], dtype=np.bool_) & ~np.isin(groups, np.concatenate(judged))
    pooled = any("unlabelled" in adapter_class(name).needs for name in adapters)
    n_apart = sum(name is None for name in names) - int(free.sum())
    about_pool = [f"{n_apart:,} pictures without a label belong to judged ones: in no pool"] * (pooled and n_apart > 0)
    texts = class_texts(run, rule)
    features = image_features(run, manifest, labelled.pairs, captions=True)
    pool_run = run if any("unlabelled_second" in adapter_class(name).needs for name in adapters) else plain_run
    unlabelled = image_features(pool_run, manifest, kept.filter(pa.array(free)), captions=False)
    renamed, about_names = _frequent_names(
        run, manifest, rule, np.concatenate([labelled.groups[labelled.split == "test"], *of_unseen])
    )
    views, about_views = _views(run, manifest, labelled, features) if adapters else ({}, [])
    if takes_tower(adapters):
        texts["tower"] = run_tower(run, rule.classes)
    shared = texts | views | _pool(features.rows(np.flatnonzero(labelled.split == "train")), unlabelled)
    return LabelledRows(
        **vars(labelled) | {"notes": (*labelled.notes, *about_pool, *about_names, *about_views)},
        features=_with(features, shared),
        unlabelled=unlabelled,
        prototypes=prototypes(run, rule) | renamed,
        unseen={
            name: _with(image_features(run, manifest, kept.filter(pa.array(mask)), captions=False), texts)
            for name, mask in unseen.items()
        },
        unseen_groups={name: groups[mask] for name, mask in unseen.items()},
    )


def _frequent_names(
    run: Run, manifest: Mapping[str, Any], rule: ClassTexts, judged: Strings
) -> tuple[dict[str, Floats], list[str]]:
    """Class vectors of the names that captions say most often, where the rule asks for them, and a sentence on them.

    Captions of pairs whose group is `judged` have no say.
    """
    if not rule.frequent_names:
        return {}, []
    everyone, groups = all_groups(run, manifest)
    captions = everyone["caption"].filter(pa.array(~np.isin(groups, judged)))
    names = frequent_names(rule, captions.combine_chunks())
    renamings = [f"{new} for {old}" for old, new in zip(rule.classes, names, strict=True) if new != old]
    note = (
        f"frequent names ({rule.frequent_names}), by {len(captions):,} captions: {', '.join(renamings) or 'no other'}"
    )
    return {FREQUENT_NAMES: filled_templates(run, names, rule.templates or ["{}"])}, [note]


def _pool(train: Features, unlabelled: Features) -> dict[str, Floats | None]:
    """The fields of the pool: the pictures of both, those of train first."""
    second = [part.second for part in (train, unlabelled) if part.second is not None]
    return {
        "unlabelled": np.concatenate([train.image, unlabelled.image]),
        "unlabelled_second": np.concatenate(second) if len(second) == 2 else None,
    }


def _views(
    run: Run, manifest: Mapping[str, Any], labelled: LabelledPairs, features: Features
) -> tuple[dict[str, Floats], list[str]]:
    """The field of the views of train pictures, where the run asks for some, and a sentence on them.

    For other pictures their own rows stand there.
    """
    train = np.flatnonzero(labelled.split == "train")
    if run.views is None or not len(train):
        return {}, []
    pairs = labelled.pairs.take(pa.array(train))
    boxes, left_out = _boxes(run, manifest, run.views.boxes, pairs["uid"].combine_chunks())
    views = [[*run.views.views, *of_picture] for of_picture in boxes]
    of_views = view_rows(run, features.image[train], pairs["image_id"].to_pylist(), views)
    rows = np.repeat(features.image[None], len(of_views.rows), axis=0)
    rows[:, train] = of_views.rows
    left_out += of_views.left_out
    wrong = f"; {left_out:,} boxes left out: none, beside their picture, or beyond {MOST_BOXES}" if left_out else ""
    return {"views": rows}, [f"views of each of {len(train):,} train pictures: {run.views}{wrong}"]


def _boxes(run: Run, manifest: Mapping[str, Any], column: str | None, uids: pa.Array) -> tuple[list[list[View]], int]:
    """The views of the boxes of each pair, and how many are left out as none or beyond MOST_BOXES of a picture."""
    if column is None:
        return [[] for _ in uids], 0
    samples = BuildSamples(run.workspace, manifest)
    if column in samples.columns:
        table = samples.read(["uid", column])
    elif column == "regions" and (regions := stored_regions(run.workspace, manifest)) is not None:
        table = regions
    else:
        raise InputError(
            f"`features.views.boxes` must be a column of the pool, or regions where the build has some; got "
            f"`{column}`. Name it as it is there."
        )
    boxes, left_out = list[list[View]](), 0
    for value in table[column].take(pc.index_in(uids, table["uid"].combine_chunks())).to_pylist():
        stored = box_views(value)
        boxes.append([view for view in stored[:MOST_BOXES] if isinstance(view, View)])
        left_out += len(stored) - len(boxes[-1])
    return boxes, left_out


def labelled_pairs(run: Run, manifest: Mapping[str, Any], rule: ListSplit) -> LabelledPairs:
    """The inputs of `labelled_rows`, before any feature is read or made."""
    return _labelled(run, rule, *kept_with_groups(run, manifest), build_twins(run.workspace, manifest))


def _labelled(
    run: Run, rule: ListSplit, kept: pa.Table, groups: Strings, twins: Twins, *, judged: Sequence[str] = ()
) -> LabelledPairs:
    """The pairs of the classes of the rule; twins of the `judged` pairs, which are in no part, are in test at most."""
    classes = rule.classes
    is_labelled = _of_classes(kept, classes)
    rows, own_groups = kept.filter(pa.array(is_labelled)), groups[is_labelled]
    labels = np.array([classes.index(name) for name in rows["label"].to_pylist()], dtype=np.int64)
    split, stays, notes = _split(run, rule, rows, own_groups, labels)
    uids = rows["uid"].to_pylist()
    is_twin = np.isin(uids, list(twins.of(judged))) & (split != "test") & stays
    if count := np.count_nonzero(is_twin):
        notes = (*notes, f"{count:,} train and val pictures have a twin in an unseen set: left out")
    stays &= ~is_twin
    return LabelledPairs(
        pairs=rows.filter(pa.array(stays)),
        labels=labels[stays],
        split=split[stays],
        groups=own_groups[stays],
        classes=classes,
        notes=(*twins.notes([uid for uid, stay in zip(uids, stays, strict=True) if stay]), *notes),
    )


def _of_classes(kept: pa.Table, classes: Sequence[str]) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.fill_null(pc.is_in(kept["label"], pa.array(classes, pa.string())), False))


def check_encoder(run: Run, manifest: Mapping[str, Any]) -> None:
    """Refuse to compare pictures and texts of two encoders."""
    identity, chosen = encoder_of(manifest), encoder_identity(run)
    if identity != chosen:
        raise InvalidFeaturesError(
            f"`features` of the recipe must be the encoder of the build, {identity[:12]}; got {chosen[:12]}. "
            "Rebuild with this encoder, or restore the one of the build."
        )


def kept_with_groups(run: Run, manifest: Mapping[str, Any]) -> tuple[pa.Table, Strings]:
    """The kept pairs as `kept_pairs` has them, and each one's group joined with those of all its merged twins."""
    everyone, groups = all_groups(run, manifest)
    kept = kept_pairs(run, manifest)
    return kept, groups[pc.index_in(kept["uid"], everyone["uid"].combine_chunks()).to_numpy()]


def all_groups(run: Run, manifest: Mapping[str, Any]) -> tuple[pa.Table, Strings]:
    """All pairs of a build, uid and caption, and each one's group joined with those of what was merged and of twins."""
    samples = BuildSamples(run.workspace, manifest)
    everyone = samples.read(["uid", "group", "caption"])
    merged: list[tuple[str, str]] = []
    for step in manifest["steps"]:
        if step["counts"].get("merged") and step["name"] != COLLECT.name:
            target = f"{step['name']}_into"
            table = samples.read(["uid", target], f"{target} IS NOT NULL")
            merged += zip(table["uid"].to_pylist(), table[target].to_pylist(), strict=True)
    uids = everyone["uid"].to_pylist()
    groups = joined_groups(uids, everyone["group"].to_pylist(), merged)
    return everyone.select(["uid", "caption"]), build_twins(run.workspace, manifest).joined(uids, groups)


def groups_among(run: Run, manifest: Mapping[str, Any], pairs: pa.Table, images: Floats) -> Strings:
    """The groups (n,) of some pairs, by their columns uid and group and the rows (n, d) of their pictures.

    They are joined with those of what was merged into these pairs, and where two of these are twins; no more of the
    build is held, as it may be large.
    """
    samples = BuildSamples(run.workspace, manifest)
    uids, groups = pairs["uid"].to_pylist(), pairs["group"].to_pylist()
    clusters, merged = Twins.numbered(np.array(uids, np.str_), twin_clusters(images)), list[tuple[str, str]]()
    for step in reversed(manifest["steps"]):  # what a later step merged may have had others merged into it before
        if step["counts"].get("merged") and step["name"] != COLLECT.name:
            target, targets = f"{step['name']}_into", pa.array(uids)
            for rows in samples.batches(["uid", "group", target], f"{target} IS NOT NULL"):
                members = rows.filter(pc.is_in(rows[target], targets))
                uids += members["uid"].to_pylist()
                groups += members["group"].to_pylist()
                merged += zip(members["uid"].to_pylist(), members[target].to_pylist(), strict=True)
    return clusters.joined(uids, joined_groups(uids, groups, merged))[: len(pairs)]


def kept_pairs(run: Run, manifest: Mapping[str, Any]) -> pa.Table:
    """The kept pairs of a build that have a picture, by uid: image_id, label, url, chosen caption, file name if any.

    Raises InputError for a build of captions alone.
    """
    encoder_of(manifest)
    samples = BuildSamples(run.workspace, manifest)
    rows = samples.read(where=samples.kept)
    caption = "chosen_caption" if "chosen_caption" in rows.column_names else "caption"
    named = ["uid", "image_id", "label", "url", *(["file_name"] if "file_name" in rows.column_names else [])]
    wanted = rows.select(named).append_column("caption", rows[caption])
    return wanted.filter(pc.is_valid(wanted["image_id"]))


def paired_features(run: Run, manifest: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The kept pairs of a build that have a picture, row for row by uid, as arrays of the same length.

    ids (their uids), captions, labels ("" where there is none), groups, image_features and caption_features (n, d) as
    unit rows, and norms (n,), the lengths of the first.
    """
    check_encoder(run, manifest)
    kept, groups = kept_with_groups(run, manifest)
    features = image_features(run, manifest, kept, captions=True)
    empty = np.empty((0, features.image.shape[1]), np.float32)
    names = {"ids": "uid", "captions": "caption", "labels": "label"}
    texts = {
        name: np.array([text or "" for text in kept[column].to_pylist()], np.str_) for name, column in names.items()
    }
    return texts | {
        "groups": groups.astype(np.str_),
        "image_features": features.image,
        "norms": np.empty(0, np.float32) if features.norms is None else features.norms,
        "caption_features": empty if features.captions is None else features.captions,
    }


def _split(
    run: Run, rule: ListSplit, rows: pa.Table, groups: Strings, labels: Integers
) -> tuple[Strings, npt.NDArray[np.bool_], tuple[str, ...]]:
    """The part of each row, whether it stays, and what is to be said of those that do not."""
    if not rule.split:
        return split_by_group(groups, labels, seed=run.seed), np.ones(len(labels), dtype=bool), ()
    split_rows = read_split(Path(run.locate(rule.split))).rows
    keys, parts = (split_rows[name].combine_chunks() for name in ("key", "part"))
    parts_of_rows = pc.fill_null(parts.take(places_of_keys(rows, keys).combine_chunks()), "").to_pylist()
    if rows.num_rows and not any(parts_of_rows):
        raise InputError(
            f"`labels.split` must have keys that are URLs of pairs or, of pictures at hand, file names; got none in "
            f"`{rule.split}`: {compared_keys(rows, keys)}. Correct it, or leave it out."
        )
    split, stays, notes = settle_parts(np.array(parts_of_rows, dtype=np.str_), groups)
    return split, stays, notes


def image_features(run: Run, manifest: Mapping[str, Any], rows: pa.Table, *, captions: bool) -> Features:
    """Features of the pictures of kept pairs of a build, with those by the run's second backbone where it has one."""
    encoder = encoder_of(manifest)
    ids = rows["image_id"].to_pylist()
    vectors, norms = FeatureStore(run.workspace, encoder, "images").read(ids)
    return Features(
        image=single(vectors),
        norms=norms.astype(np.float32),
        captions=single(text_rows(run, rows["caption"].to_pylist())) if captions and len(ids) else None,
        second=None if run.second is None else second_backbone_rows(run, ids),
        encoder=encoder,
    )


def _with(features: Features, fields: Mapping[str, Any]) -> Features:
    return replace(features, **{name: value for name, value in fields.items() if value is not None})
