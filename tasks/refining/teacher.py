"""Labels that a fitted adapter of a build, the teacher, gives its pictures; their own are not read."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from evenly.adapters.saved import from_arrays
from evenly.features.refining.pairs import Names
from evenly.storage.artifacts.kinds import fitted_adapters_of, read_adapter
from evenly.storage.artifacts.store import Artifacts
from evenly.storage.errors import InputError
from evenly.storage.records import content_hash
from evenly.tasks.encoders import second_identity
from evenly.tasks.labelled_rows import image_features
from evenly.tasks.run import Run


def pseudo_labels(run: Run, manifest: Mapping[str, Any], kept: pa.Table, teacher: str) -> Names:
    """The classes (n,) that the adapter LIST/NAME predicts for pairs, as `kept_pairs` has them.

    Raises NotFoundError where it was not fitted, InputError for a run with another second backbone than its own.
    """
    card, arrays = read_adapter(*_place(run, manifest["build"], teacher))
    adapter = from_arrays(card["adapter"], arrays, card["parameters"], learned=card["learned"])
    if "second" not in adapter.fields_of_rows():
        run = replace(run, second=None)
    elif card["second"]["identity"] != second_identity(run):
        raise InputError(
            f"`features.second` must be the one that `{teacher}` was fitted on, {card['second']['identity'][:12]}; got "
            f"{second_identity(run)[:12] or 'none'}. Name that one, or fit again."
        )
    return np.array(card["classes"], np.str_)[adapter.predict(image_features(run, manifest, kept, captions=False))]


def teacher_inputs(run: Run, build: str, teacher: str | None) -> dict[str, str]:
    """The input of a step that asks for `pseudo_labels`: the content of the adapter."""
    if teacher is None:
        return {}
    artifacts, name = _place(run, build, teacher)
    card, content = artifacts.read(name)
    learned = {key: card.get(key) for key in ("adapter", "parameters", "learned", "classes", "second")}
    return {"teacher": content_hash(learned | {"arrays": hashlib.sha256(content).hexdigest()})}


def _place(run: Run, build: str, teacher: str) -> tuple[Artifacts, str]:
    class_list, _, name = teacher.partition("/")
    return fitted_adapters_of(run.workspace, build, class_list), name
