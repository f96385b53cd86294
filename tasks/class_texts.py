"""Features of the texts of a class list: class vectors per set of texts, and what single methods ask for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from adapters.features_record import Floats, unit_rows
from features.class_weights import class_weights
from tasks.encoders import text_rows
from tasks.run import Run

SYNONYMS = ("synonyms", "llm_synonyms")
"""Methods whose texts are other names of a class."""


def class_texts(run: Run, rule: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record that hold texts other than prototypes."""
    classes: list[str] = rule["classes"]
    described = [
        (position, text)
        for position, name in enumerate(classes)
        for text in dict.fromkeys(rule["texts"].get("description", {}).get(name, ()))
    ]
    found: dict[str, Any] = {}
    if described:
        found["class_texts"] = single(text_rows(run, [text for _, text in described]))
        found["class_text_labels"] = np.array([position for position, _ in described], dtype=np.int64)
    if rule.get("contexts"):
        found["context_prototypes"] = np.stack([filled_templates(run, classes, [each]) for each in rule["contexts"]])
    if rule.get("negations"):
        found["negation_prototypes"] = filled_templates(run, classes, rule["negations"])
    if rule.get("rejections"):
        found["rejection_prototypes"] = single(text_rows(run, rule["rejections"]))
    return found


def filled_templates(run: Run, classes: Sequence[str], templates: Sequence[str]) -> Floats:
    """Class vectors (c, d): the mean over the templates, each with the class in the place of {}."""
    filled = [[template.replace("{}", name) for template in templates] for name in classes]
    vectors = text_rows(run, [text for texts in filled for text in texts]).reshape(len(classes), len(templates), -1)
    return class_weights(list(vectors))


def prototypes(run: Run, rule: Mapping[str, Any]) -> dict[str, Floats]:
    """Class vectors (c, d) per set of texts: the bare names, filled templates, what the descriptions of the rule offer.

    Always the mean of embeddings: most adapters need one vector of unit length per class. docs/classes.md has the other
    ways to let several texts count.
    """
    texts: dict[str, dict[str, list[str]]] = {"names": {name: [name] for name in rule["classes"]}} | rule["texts"]
    weights = {}
    for kind, per_class in texts.items():
        ordered = [per_class.get(name) or [name] for name in rule["classes"]]
        flat = sorted({text for some in ordered for text in some})
        vectors = dict(zip(flat, text_rows(run, flat), strict=True))
        weights[kind] = class_weights([np.stack([vectors[text] for text in some]) for some in ordered])
    if rule.get("templates"):
        weights["templates"] = filled_templates(run, rule["classes"], rule["templates"])
    return weights


def single(vectors: npt.NDArray[Any]) -> Floats:
    """Stored half-precision rows as unit rows in single precision."""
    return unit_rows(vectors) if len(vectors) else vectors.astype(np.float32)
