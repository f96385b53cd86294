"""Features of the texts of a class list: class vectors per set of texts, and what single methods ask for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.adapters.class_texts import BESIDE, ClassTexts, described_texts, names_of_classes, texts_beside
from evenly.adapters.features import Floats, unit_rows
from evenly.curation.concepts.name_frequency import NameCounter, most_frequent_name
from evenly.descriptions.selection import description_pool
from evenly.features.class_weights import class_weights
from evenly.tasks.encoders import text_rows
from evenly.tasks.run import Run


def class_texts(run: Run, rule: ClassTexts) -> dict[str, Any]:
    """The fields of a record that hold texts other than prototypes."""
    classes = rule.classes
    described = described_texts(rule)
    fields: dict[str, Any] = {}
    if described:
        fields["class_texts"] = single(text_rows(run, [text for _, text in described]))
        fields["class_text_labels"] = np.array([position for position, _ in described], dtype=np.int64)
    if pool := description_pool(rule.phrases, classes).own_texts():
        fields["descriptor_texts"] = single(text_rows(run, [text for _, text in pool]))
        fields["descriptor_text_labels"] = np.array([position for position, _ in pool], dtype=np.int64)
    if contexts := texts_beside(rule, "contexts"):
        fields["context_prototypes"] = np.stack([filled_templates(run, classes, [context]) for context in contexts])
    if negations := texts_beside(rule, "negations"):
        fields["negation_prototypes"] = filled_templates(run, classes, negations)
    if rejections := texts_beside(rule, "rejections"):
        fields["rejection_prototypes"] = single(text_rows(run, rejections))
        fields["rejection_names"] = tuple(rejections)
    if rule.pair_texts is not None:
        fields |= _pair_texts(run, classes, rule.pair_texts)
    return fields


def _pair_texts(run: Run, classes: Sequence[str], texts: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The fields of texts of one class as against another; empty ones where there are none, so that this is known."""
    places = {name: place for place, name in enumerate(classes)}
    rows = text_rows(run, [*classes, *(text for _, _, text in texts)])[len(classes) :]
    pairs = [(places[name], places[other_name]) for name, other_name, _ in texts]
    return {"pair_texts": single(rows), "pair_text_classes": np.array(pairs, dtype=np.int64).reshape(-1, 2)}


def filled_templates(run: Run, classes: Sequence[str], templates: Sequence[str]) -> Floats:
    """Class vectors (c, d): the mean over the templates, each with the class in the place of {}."""
    filled = [[template.replace("{}", name) for template in templates] for name in classes]
    vectors = text_rows(run, [text for texts in filled for text in texts]).reshape(len(classes), len(templates), -1)
    return class_weights(list(vectors))


def prototypes(run: Run, rule: ClassTexts) -> dict[str, Floats]:
    """Class vectors (c, d) per set of texts: the bare names, filled templates, what the descriptions of the rule offer.

    Always the mean of embeddings: most adapters need one vector of unit length per class. docs/classes.md has the other
    ways to let several texts count.
    """
    of_methods = {kind: texts for kind, texts in rule.texts.items() if kind not in BESIDE.values()}
    texts: dict[str, Mapping[str, Sequence[str]]] = {"names": {name: [name] for name in rule.classes}} | of_methods
    weights = {}
    for kind, per_class in texts.items():
        ordered = [per_class.get(name) or [name] for name in rule.classes]
        flat = sorted({text for class_texts in ordered for text in class_texts})
        vectors = dict(zip(flat, text_rows(run, flat), strict=True))
        weights[kind] = class_weights([np.stack([vectors[text] for text in class_texts]) for class_texts in ordered])
    if rule.templates:
        weights["templates"] = filled_templates(run, rule.classes, rule.templates)
    return weights


def frequent_names(rule: ClassTexts, captions: pa.Array) -> list[str]:
    """The name of each class that `captions` hold most often, by the rule's `frequent_names`.

    Relaxed or strict as in `most_frequent_name`; of names that equally many captions hold the first, which is the
    class's own.
    """
    if rule.frequent_names is None:
        return list(rule.classes)
    counts = NameCounter(names_of_classes(rule), plurals=True).count(captions).of_names
    return [
        most_frequent_name(name, name_counts, rule=rule.frequent_names)
        for name, name_counts in zip(rule.classes, counts, strict=True)
    ]


def single(vectors: npt.NDArray[Any]) -> Floats:
    """Stored half-precision rows as unit rows in single precision."""
    return unit_rows(vectors) if len(vectors) else vectors.astype(np.float32)
