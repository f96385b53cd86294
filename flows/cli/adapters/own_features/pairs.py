"""`evenly extract RECIPE --out`: the pairs of a build with features, ids, captions and labels, as arrays in a file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evenly.adapters.features import Features
from evenly.adapters.own_features.arrays import PER_IMAGE, SHARED
from evenly.adapters.splits import PARTS
from evenly.flows.cli.adapters.own_features.folders import text_arrays
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.class_rules import evaluation_rules
from evenly.flows.runs import run_in
from evenly.signatures import Place
from evenly.storage.builds import Builds
from evenly.storage.files.arrays import write_arrays
from evenly.tasks.adapters.fit import EvaluationRule
from evenly.tasks.encoders import second_identity
from evenly.tasks.labelled_rows import labelled_rows, paired_features
from evenly.tasks.run import Run

_SETS = {"far": "ood", "near": "near_ood"}
_OF_TEXTS = [name for name in SHARED if not name.startswith("unlabelled")]


def extract_pairs(recipe: Place, *, out: Path, class_list: str | None, root: Place | None) -> dict[str, Any]:
    """Write the latest build of a recipe as arrays; the file, the encoder and how many rows there are.

    For a recipe with a class list, of several the one that is named, the file that `fit --arrays` and `leaderboard
    --arrays` read: the labelled pairs by part, with the texts of the classes. Without one, all pairs row for row.
    """
    chosen = read_recipe(recipe)
    run = run_in(chosen, root=root)
    rules = [rule for rule in evaluation_rules(run, chosen, recipe, "latest") if class_list in {None, rule.list}]
    manifest = Builds(run.workspace).read(f"{chosen.name}-latest")
    arrays = _of_list(run, manifest, rules[0]) if rules else paired_features(run, manifest)
    encoder = manifest["encoder"]
    arrays["encoder"] = np.array((encoder["model"], encoder["pretrained"] or "", encoder["identity"]), dtype=np.str_)
    if run.second is not None and "aux_train_features" in arrays:
        second = run.second.model, run.second.pretrained or "", second_identity(run)
        arrays["aux_encoder"] = np.array(second, dtype=np.str_)
    write_arrays(out, arrays)
    rows = {part: len(arrays[f"{part}_ids"]) for part in PARTS} if rules else {"pairs": len(arrays["ids"])}
    return {"out": str(out), "build": manifest["build"], "encoder": encoder["identity"], **rows}


def _of_list(run: Run, manifest: Mapping[str, Any], rule: EvaluationRule) -> dict[str, np.ndarray]:
    rows = labelled_rows(run, manifest, rule, adapters=rule.adapters)
    arrays = text_arrays({name: getattr(rows.features, name) for name in _OF_TEXTS})
    arrays |= {"prototypes": rows.prototypes["names"], "classes": np.array(rows.classes, dtype=np.str_)}
    uids, captions = (np.array(rows.pairs[name].to_pylist(), dtype=np.str_) for name in ("uid", "caption"))
    for part in PARTS:
        places = np.flatnonzero(rows.split == part)
        features = rows.features.rows(places)
        arrays |= _per_image(features if part == "train" else replace(features, views=None), part)
        arrays |= {f"{part}_labels": rows.labels[places], f"{part}_groups": rows.groups[places]}
        arrays |= {f"{part}_ids": uids[places], f"{part}_captions": captions[places]}
    if len(rows.unlabelled):
        arrays |= _per_image(replace(rows.unlabelled, norms=None), "unlabelled")
    for name, features in rows.unseen.items():
        arrays |= _per_image(features, _SETS[name])
    return arrays


def _per_image(features: Features, part: str) -> dict[str, np.ndarray]:
    fields = {name: getattr(features, name) for name in PER_IMAGE}
    return {PER_IMAGE[name].format(part): value for name, value in fields.items() if value is not None}
