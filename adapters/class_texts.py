"""The classes of a list with all texts about them, and a row for each source of these: the recipe, or a method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from evenly.adapters.methods.vcd import Aggregate
from evenly.bounds import RenameRule

SYNONYMS = ("synonyms", "llm_synonyms")
"""Methods whose texts are other names of a class."""

FREQUENT_NAMES = "frequent_names"
"""The set of texts in which a class goes by the name that captions say most often (REAL-Prompt)."""

DESCRIBING = ("description", "caption_phrases")
"""Methods whose texts describe a class one by one, each a row of `class_texts`."""

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


def described_texts(rule: ClassTexts) -> list[tuple[int, str]]:
    """(position of a class, text): the rows of `class_texts`, each description of a class once, by class."""
    return [
        (position, text)
        for position, name in enumerate(rule.classes)
        for text in dict.fromkeys(text for method in DESCRIBING for text in rule.texts.get(method, {}).get(name, ()))
    ]


def texts_beside(rule: ClassTexts, kind: str) -> list[str]:
    """The texts of a kind of BESIDE, each once: those that the rule gives by hand, then the generated ones."""
    return list(dict.fromkeys([*getattr(rule, kind), *generated_texts(rule, kind)]))


def generated_texts(rule: ClassTexts, kind: str) -> list[str]:
    """The texts of a kind of BESIDE that a method gave and nobody by hand, each once."""
    per_class = rule.texts.get(BESIDE[kind], {})
    by_hand = set(getattr(rule, kind))
    return list(dict.fromkeys(text for texts in per_class.values() for text in texts if text not in by_hand))


def names_of_classes(rule: ClassTexts) -> list[list[str]]:
    """The names of each class: its own, then its accepted synonyms."""
    synonyms = [rule.texts.get(method, {}) for method in SYNONYMS]
    return [[name, *(text for per_class in synonyms for text in per_class.get(name, ()))] for name in rule.classes]


SCHEMA = pa.schema([("use", pa.string()), ("source", pa.string()), ("texts", pa.int64()), ("about", pa.string())])
PROTOTYPES, PAIR_TEXTS, BY_HAND = "prototypes", "pair_texts", "recipe"
EDITED = "edited"
"""What is said `about` texts that a person wrote or edited, before the file's name."""


def text_sources(rule: ClassTexts, notes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of SCHEMA for a rule of `evaluate_adapters`: a use, a source ("recipe" or a method), how many texts.

    Uses are "prototypes" (a row for each set by a method), "pair_texts" and those of BESIDE. `notes` says in words what
    there is to say, "" where nothing: of generated texts what is handed in by their use.
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
        rows.append(_row(kind, method, len(generated_texts(rule, kind)), notes.get(kind, "")))
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
