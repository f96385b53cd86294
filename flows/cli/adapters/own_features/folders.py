"""`evenly extract`: a folder of classes, or a build, becomes the file of features that `fit` and `leaderboard` read."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.adapters.class_texts import ClassTexts
from evenly.adapters.labelled import labelled_arrays
from evenly.adapters.own_features.arrays import text_arrays
from evenly.adapters.splits import PARTS, settle_parts, split_by_group
from evenly.adapters.twins import TWIN_COSINE, twin_clusters
from evenly.flows.cli.adapters.options import ExtractOptions
from evenly.flows.cli.classes.class_names import check_templates
from evenly.flows.cli.classes.description_versions import find_version
from evenly.flows.cli.command import check_out
from evenly.flows.cli.errors import UsageError
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.class_rules import evaluation_rules
from evenly.flows.recipe.files import read_class_file
from evenly.flows.runs import run_in, workspace_run
from evenly.signatures import Place
from evenly.storage.builds import Builds
from evenly.storage.errors import NotFoundError
from evenly.storage.files.arrays import write_arrays
from evenly.storage.files.image_folders import read_image_folder, read_picture
from evenly.storage.files.splits import read_split
from evenly.tasks.adapters.pictures import EncodedPictures, encode_pictures
from evenly.tasks.classes.describe import accepted
from evenly.tasks.classes.texts import class_texts, filled_templates
from evenly.tasks.encoders import encoder_identity, second_identity
from evenly.tasks.labelled_rows import labelled_rows, paired_features
from evenly.tasks.run import EncoderChoice, Run, SecondChoice


def extract_folder(folder: Path, out: Path, options: ExtractOptions) -> dict[str, Any]:
    """Encode the pictures of `<class>/<picture>` and write train, val and test features, labels and class vectors.

    The classes are the folders' names, or those of a list in its order. Without a `split` file the parts are drawn by
    hash, class by class; twins (adapters/twins.py) never part. What was skipped or could not be decoded is counted.
    """
    run = workspace_run(
        options.root,
        encoder=EncoderChoice(model=options.model, pretrained=options.pretrained),
        second=SecondChoice(model=options.second, pretrained=options.second_pretrained) if options.second else None,
    )
    check_out(out)
    templates = options.template or ["a photo of a {}"]
    check_templates(templates)
    listing = read_image_folder(folder)
    names = _classes(listing.rows, options.classes)
    rows = listing.rows.filter(pc.is_in(listing.rows["label"], pa.array(names, pa.string())))
    paths = rows["path"].to_pylist()
    encoded = encode_pictures(run, (read_picture(folder, path) for path in paths), total=len(paths))
    if not encoded.names:
        raise UsageError(f"`--images` must hold pictures that decode; got none of {len(paths)}. Check the files.")
    skipped = Counter(listing.skipped) + Counter(reason for _, reason in encoded.failed)
    skipped["not_in_classes"] = len(listing.rows) - len(rows)
    rows = rows.take(pa.array(encoded.places, pa.int64()))
    labels = np.array([names.index(label) for label in rows["label"].to_pylist()], dtype=np.int64)
    ids = rows["image_id"].to_pylist()
    twins = twin_clusters(encoded.image)
    groups = np.array([ids[place] for place in twins], dtype=np.str_)
    parts, stays, groups, notes = _parts(rows, labels, groups, options.split, options.seed)
    if count := len(ids) - len(set(groups.tolist())):
        notes = (f"{count:,} pictures are twins of others (cosine over {TWIN_COSINE}): in one part with them", *notes)
    arrays = _arrays(encoded, labels, groups, parts, stays) | _encoders(run)
    arrays["prototypes"] = filled_templates(run, names, templates)
    arrays["classes"] = np.array(names, dtype=np.str_)
    described = _described(run, options.classes)
    write_arrays(out, arrays | described)
    if any(path.count("/") > 1 for path in rows["path"].to_pylist()):
        notes = (*notes, "folders in folders: a picture has the label of the outermost one")
    if options.classes is not None and not described:
        notes = (*notes, f"no texts of the classes: `evenly describe {options.classes}` makes some, for vcd and others")
    return {
        "out": str(out),
        "encoder": encoder_identity(run),
        "classes": len(names),
        **{part: int(np.sum(parts[stays] == part)) for part in PARTS},
        "class_texts": len(described.get("class_texts", ())),
        "skipped": dict(+skipped),
        "notes": list(notes),
    }


def _described(run: Run, listing: Path | None) -> dict[str, np.ndarray]:
    """The texts of the newest description of a class list that the workspace holds; nothing without one."""
    if listing is None:
        return {}
    try:
        version = find_version(str(listing), root=run.workspace.root)
    except NotFoundError:
        return {}
    texts = accepted(run, version.record)
    rule = ClassTexts(classes=version.class_list.classes, texts=texts.texts(), phrases=texts.phrases())
    return text_arrays(class_texts(run, rule))


def _encoders(run: Run) -> dict[str, np.ndarray]:
    """Model, weights and identity of the encoder, and of the second backbone where there is one."""
    first = run.encoder.model, run.encoder.pretrained or "", encoder_identity(run)
    names = {"encoder": np.array(first, dtype=np.str_)}
    if run.second is not None:
        second = run.second.model, run.second.pretrained or "", second_identity(run)
        names["aux_encoder"] = np.array(second, dtype=np.str_)
    return names


def _classes(rows: pa.Table, listing: Path | None) -> list[str]:
    labels = sorted(set(rows["label"].to_pylist()))
    if listing is None:
        return labels
    names = list(read_class_file(listing).class_list.classes)
    missing = [name for name in names if name not in labels]
    if missing:
        raise UsageError(
            f"`--classes` must name folders of `--images`; got `{missing[0]}` ({len(missing)} such). "
            f"There: {', '.join(labels[:20])}."
        )
    return names


def _parts(
    rows: pa.Table, labels: np.ndarray, groups: np.ndarray, split: Path | None, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """The part of each row, which rows stay, their groups (those of the split file where it has some), and notes."""
    if split is None:
        return split_by_group(groups, labels, seed=seed), np.ones(len(labels), dtype=bool), groups, ()
    split_rows = {row["key"]: row for row in read_split(split).rows.to_pylist()}
    split_of_path = [split_rows.get(path, {}) for path in rows["path"].to_pylist()]
    if not any(split_of_path):
        key = next(iter(split_rows), "")
        raise UsageError(f"`--split` must name pictures of `--images`; got `{key}`. Paths are relative to the folder.")
    file_parts = np.array([row.get("part", "") for row in split_of_path], dtype=np.str_)
    named = [row.get("group") or group for row, group in zip(split_of_path, groups.tolist(), strict=True)]
    parts, stays, notes = settle_parts(file_parts, groups)
    return parts, stays, np.array(named, dtype=np.str_), notes


def _arrays(
    encoded: EncodedPictures, labels: np.ndarray, groups: np.ndarray, parts: np.ndarray, stays: np.ndarray
) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for part in PARTS:
        places = np.flatnonzero((parts == part) & stays)
        arrays[f"{part}_features"], arrays[f"{part}_norms"] = encoded.image[places], encoded.norms[places]
        arrays[f"{part}_labels"], arrays[f"{part}_groups"] = labels[places], groups[places]
        if encoded.second is not None:
            arrays[f"aux_{part}_features"] = encoded.second[places]
    return arrays


def extract_pairs(recipe: Place, *, out: Path, class_list: str | None, root: Place | None) -> dict[str, Any]:
    """Write the latest build of a recipe as arrays; the file, the encoder and how many rows there are.

    For a recipe with a class list, of several the one that is named, the file that `fit --arrays` and `leaderboard
    --arrays` read: the labelled pairs by part, with the texts of the classes. Without one, all pairs row for row.
    """
    chosen = read_recipe(recipe)
    run = run_in(chosen, root=root)
    rules = [rule for rule in evaluation_rules(run, chosen, recipe, "latest") if class_list in {None, rule.list}]
    manifest = Builds(run.workspace).read(f"{chosen.name}-latest")
    if rules:
        arrays = labelled_arrays(labelled_rows(run, manifest, rules[0], adapters=rules[0].adapters))
    else:
        arrays = paired_features(run, manifest)
    encoder = manifest["encoder"]
    arrays["encoder"] = np.array((encoder["model"], encoder["pretrained"] or "", encoder["identity"]), dtype=np.str_)
    if run.second is not None and "aux_train_features" in arrays:
        second = run.second.model, run.second.pretrained or "", second_identity(run)
        arrays["aux_encoder"] = np.array(second, dtype=np.str_)
    write_arrays(out, arrays)
    rows = {part: len(arrays[f"{part}_ids"]) for part in PARTS} if rules else {"pairs": len(arrays["ids"])}
    return {"out": str(out), "build": manifest["build"], "encoder": encoder["identity"], **rows}
