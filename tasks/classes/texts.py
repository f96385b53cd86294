"""Features of the texts of a class list: class vectors per set of texts, and what single methods ask for.

A row for each source of the texts: by hand in the recipe, or by a method.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.adapters.features import Floats, unit_rows
from evenly.adapters.methods.vcd import Aggregate
from evenly.curation.concepts.name_frequency import NameCounter, RenameRule, most_frequent_name
from evenly.descriptions.methods.negations import LABEL as HAND_WRITTEN
from evenly.descriptions.selection import description_pool
from evenly.features.class_weights import class_weights
from evenly.tasks.encoders import text_rows
from evenly.tasks.run import Run

SYNONYMS = ("synonyms", "llm_synonyms")
"""Methods whose texts are other names of a class."""

FREQUENT_NAMES = "frequent_names"
"""The set of texts in which a class goes by the name that captions say most often (REAL-Prompt)."""

BESIDE = {"contexts": "contexts", "negations": "negations", "rejections": "near_misses"}
"""What a rule names beside prototypes, and the method that generates texts of this kind."""


@dataclass(frozen=True, kw_only=True)
class ListSplit:
    """The classes of a list in order, and the file that says which part a picture is of; None: groups are dealt."""

    classes: tuple[str, ...] = ()
    split: str | None = None


@dataclass(frozen=True, kw_only=True)
class UnseenLabels:
    """Labels that are not classes of the list: pictures of what a classifier should refuse, near to it and far."""

    near: tuple[str, ...] = ()
    far: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EditedTexts:
    """Methods whose texts a person wrote or edited, the file and its sha256, and the step that holds them."""

    methods: tuple[str, ...]
    file: str
    sha256: str
    step: str


@dataclass(frozen=True, kw_only=True)
class ClassTexts(ListSplit):
    """The classes of a list and all texts about them.

    `texts` are by method and class, `phrases` by class; `contexts`, `negations` and `rejections` those that the recipe
    gives by hand. `pair_texts` are [class, class that it is told from, text], None where no method is about pairs;
    `pairs` then says among how many classes (`top`) they were sought, and `pairs_asked` of `pairs_possible`.
    """

    texts: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    phrases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    given: EditedTexts | None = None
    contexts: tuple[str, ...] = ()
    negations: tuple[str, ...] = ()
    rejections: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    frequent_names: RenameRule | None = None
    aggregate: Aggregate | None = None
    pair_texts: Sequence[Sequence[str]] | None = None
    pairs: Mapping[str, int] | None = None
    unseen: UnseenLabels = UnseenLabels()


@dataclass(frozen=True, kw_only=True)
class EvaluationRule(ClassTexts):
    """The `adapters` to fit and evaluate on a `build`, for the classes of a `list`; `describe`: that step's key."""

    build: str
    list: str
    adapters: tuple[str, ...]
    describe: str | None = None


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
    if rule.pair_texts is not None:
        fields |= _pair_texts(run, classes, rule.pair_texts)
    return fields


def described_texts(rule: ClassTexts) -> list[tuple[int, str]]:
    """(position of a class, text): the rows of `class_texts`, each description of a class once, by class."""
    return [
        (position, text)
        for position, name in enumerate(rule.classes)
        for text in dict.fromkeys(rule.texts.get("description", {}).get(name, ()))
    ]


def texts_beside(rule: ClassTexts, kind: str) -> list[str]:
    """The texts of a kind of BESIDE, each once: those that the rule gives by hand, then the generated ones."""
    return list(dict.fromkeys([*getattr(rule, kind), *generated_texts(rule, kind)]))


def generated_texts(rule: ClassTexts, kind: str) -> list[str]:
    """The texts of a kind of BESIDE that a method gave and nobody by hand, each once."""
    per_class = rule.texts.get(BESIDE[kind], {})
    by_hand = set(getattr(rule, kind))
    return list(dict.fromkeys(text for texts in per_class.values() for text in texts if text not in by_hand))


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


def names_of_classes(rule: ClassTexts) -> list[list[str]]:
    """The names of each class: its own, then its accepted synonyms."""
    synonyms = [rule.texts.get(method, {}) for method in SYNONYMS]
    return [[name, *(text for per_class in synonyms for text in per_class.get(name, ()))] for name in rule.classes]


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


SCHEMA = pa.schema([("use", pa.string()), ("source", pa.string()), ("texts", pa.int64()), ("about", pa.string())])
PROTOTYPES, PAIR_TEXTS, BY_HAND = "prototypes", "pair_texts", "recipe"
EDITED = "edited"
"""What is said `about` texts that a person wrote or edited, before the file's name."""


def text_sources(rule: ClassTexts) -> list[dict[str, Any]]:
    """Rows of SCHEMA for a rule of `evaluate_adapters`: a use, a source ("recipe" or a method), how many texts.

    Uses are "prototypes" (a row for each set by a method), "pair_texts" and those of BESIDE. `about` says in words what
    there is to say, "" where nothing.
    """
    rows = [
        _row(PROTOTYPES, method, sum(map(len, per_class.values())), _about_given(rule, method))
        for method, per_class in rule.texts.items()
        if method not in BESIDE.values()
    ]
    if rule.pair_texts is not None:
        n_asked, possible = ((rule.pairs or {}).get(name, 0) for name in ("pairs_asked", "pairs_possible"))
        note = f"about {n_asked:,} of {possible:,} pairs of classes"
        rows.append(_row(PAIR_TEXTS, "differential", len(rule.pair_texts), note))
    for kind, method in BESIDE.items():
        rows.append(_row(kind, BY_HAND, len(set(getattr(rule, kind)))))
        rows.append(_row(kind, method, len(generated_texts(rule, kind)), HAND_WRITTEN if kind == "negations" else ""))
    return [row for row in rows if row["texts"] or row["use"] == PAIR_TEXTS]


def in_words(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each use but the prototypes, whose sets are named by their methods, and for edited texts."""
    sentences: dict[str, list[str]] = {}
    edited = [f"texts of {row['source']}: {row['about']}" for row in rows if row["about"].startswith(EDITED)]
    for row in rows:
        author = "by hand in the recipe" if row["source"] == BY_HAND else f"by the method {row['source']}"
        note = f" ({row['about']})" if row["about"] else ""
        sentences.setdefault(str(row["use"]), []).append(f"{row['texts']:,} {author}{note}")
    uses = [f"{use.replace('_', ' ')}: {', '.join(parts)}" for use, parts in sentences.items() if use != PROTOTYPES]
    return [*edited, *uses]


def _about_given(rule: ClassTexts, method: str) -> str:
    if rule.given is None or method not in rule.given.methods:
        return ""
    return f"{EDITED} by hand: {rule.given.file}, sha256 {rule.given.sha256[:12]}"


def _row(use: str, source: str, texts: int, note: str = "") -> dict[str, Any]:
    return {"use": use, "source": source, "texts": texts, "about": note}
