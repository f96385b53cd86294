"""Audit descriptions on the labelled test pictures of a build: do they carry meaning, or only make an ensemble?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.adapters.class_texts import ClassTexts, ListSplit
from evenly.adapters.errors import MissingFeaturesError
from evenly.adapters.evaluation.protocols.description_audit import (
    CAPTIONS,
    NAMES,
    RANDOM,
    REAL,
    SELECTED,
    SELECTED_RANDOM,
    SHUFFLED,
    compare_texts_and_controls,
    rightly_classified,
)
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.forms.local_texts import choose_weight, local_scores, reference_similarities
from evenly.adapters.labelled import LabelledRows
from evenly.adapters.methods.vcd import Aggregate
from evenly.descriptions.control_texts import DescribedText, random_texts, repeated_names, shuffled_texts
from evenly.descriptions.descriptions import ACCEPTED
from evenly.descriptions.selection import Pool, description_pool
from evenly.storage.builds import Builds
from evenly.storage.files.wordnets import load_noun_synsets
from evenly.storage.ledger import StepOutput, StepRecord
from evenly.tasks.classes.texts import single
from evenly.tasks.encoders import step_encoder, text_rows
from evenly.tasks.labelled_rows import labelled_rows
from evenly.tasks.run import Records, Run
from evenly.tasks.splits import grouped_inputs
from evenly.tasks.step import Step

CAPTION = "a photo of a {}"
"""The text that stands for a class in the selection; the published one but for its full stop."""


@dataclass(frozen=True, kw_only=True)
class DescriptionAuditRule(ListSplit):
    """The texts of one `method`, of the description with the key `describe`, audited on the pictures of a `build`.

    Controls are drawn `draws` times; `neighbours` and `most` are of the selection, `aggregate` of the texts of a class.
    """

    build: str
    list: str
    describe: str
    method: str
    aggregate: Aggregate
    draws: int
    neighbours: int = 3
    most: int = 5


def audit_texts(run: Run, _upstream: Records, rule: DescriptionAuditRule) -> StepOutput:
    """Judge the test pictures of a build by the accepted texts of one method and by their controls.

    Tables `accuracies` and `differences` as DescriptionAudit has them; notes: finding and verdict, how many texts and
    test pictures there were, which classes had no text, and what the selection (adapters/forms/local_texts.py) chose on
    validation pictures. Test pictures choose nothing.
    """
    manifest = Builds(run.workspace).read(rule.build)
    rows = labelled_rows(run, manifest, ClassTexts(classes=rule.classes, split=rule.split), adapters=())
    texts = _described(run, rule)
    seeds = range(run.seed, run.seed + rule.draws)
    words = _random_words(rule.classes)
    real = [[text.text for text in texts if text.owner == label] for label in range(len(rows.classes))]
    kinds = {
        NAMES: [repeated_names(texts, rows.classes)],
        CAPTIONS: [[[CAPTION.replace("{}", name)] for name in rows.classes]],
        REAL: [real],
        SHUFFLED: [shuffled_texts(texts, rows.classes, seed=seed) for seed in seeds],
        RANDOM: [random_texts(texts, rows.classes, words=words, seed=seed) for seed in seeds],
    }
    text_rows(run, [text for draws in kinds.values() for draw in draws for class_texts in draw for text in class_texts])
    judge = _Judge(run=run, rows=rows, aggregate=rule.aggregate)
    correct: dict[str, Any] = {kind: [judge.right(draw) for draw in draws] for kind, draws in kinds.items()}
    selected, about_selection = _selected(run, rows, texts, rule, seeds)
    audit = compare_texts_and_controls(correct | selected, groups=rows.groups[judge.test], seed=run.seed)
    described = {text.owner for text in texts}
    notes = {
        "list": rule.list,
        "method": rule.method,
        "aggregate": rule.aggregate,
        "finding": audit.finding,
        "verdict": audit.verdict,
        "texts": len(texts),
        "pictures": len(judge.test),
        "without_texts": [name for label, name in enumerate(rows.classes) if label not in described],
        **about_selection,
        "notes": list(rows.notes),
    }
    tables = {"accuracies": audit.accuracies, "differences": audit.differences}
    return StepOutput(
        tables={name: pa.Table.from_pandas(table, preserve_index=False) for name, table in tables.items()}, notes=notes
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Judge:
    """The test pictures, and what texts say of them."""

    run: Run
    rows: LabelledRows
    aggregate: Aggregate

    @property
    def test(self) -> Integers:
        """Row numbers of the test part."""
        return np.flatnonzero(self.rows.split == "test")

    def right(self, texts: Sequence[Sequence[str]]) -> np.ndarray:
        """Whether each test picture (n,) is nearest to the texts of its class; a class without any has its name."""
        flat = [text for class_texts in texts for text in class_texts]
        vectors = single(text_rows(self.run, flat)) if flat else np.empty((0, self.rows.features.dimension))
        per_class = np.split(vectors, np.cumsum([len(class_texts) for class_texts in texts])[:-1])
        features = Features(
            image=self.rows.features.image[self.test],
            prototypes=self.rows.prototypes["names"],
            encoder=self.rows.features.encoder,
        )
        return rightly_classified(features, self.rows.labels[self.test], per_class, aggregate=self.aggregate)


def _selected(
    run: Run, rows: LabelledRows, texts: Sequence[DescribedText], rule: DescriptionAuditRule, seeds: Sequence[int]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rows rightly classified by selected descriptions and by as many drawn at random instead; and what was chosen.

    Reference pictures are those of train, the weight of the name is chosen on val; without train rows there is neither.
    """
    phrases: dict[str, list[str]] = {}
    for text in texts:
        phrases.setdefault(rows.classes[text.owner], []).append(text.phrase)
    pool = description_pool(phrases, rows.classes)
    part = {name: np.flatnonzero(rows.split == name) for name in ("train", "val", "test")}
    if not pool.texts or not len(part["train"]):
        return {}, {"selection": "none: no text of the pool is free of class names, or there is no train picture"}
    vectors = single(text_rows(run, pool.texts))
    scores = _scorer(run, rows, pool, rule)
    right, weights, shares = [], [], []
    for order in (np.arange(len(vectors)), *(np.random.default_rng(seed).permutation(len(vectors)) for seed in seeds)):
        weight = choose_weight(scores(part["val"], vectors[order]), rows.labels[part["val"]])
        judged = scores(part["test"], vectors[order])
        right.append(judged.predict(weight) == rows.labels[part["test"]])
        weights.append(weight)
        shares.append(judged.fallbacks / max(judged.pairs, 1))
    notes = {"pool": len(pool.texts), "name_weight": weights[0], "selection_fallback_share": round(shares[0], 4)}
    return {SELECTED: right[0], SELECTED_RANDOM: right[1:]}, notes


def _scorer(run: Run, rows: LabelledRows, pool: Pool, rule: DescriptionAuditRule) -> Callable[[Integers, Floats], Any]:
    """Local scores of some rows by text vectors in the order of the pool; the evidence is always that of the pool."""
    train = np.flatnonzero(rows.split == "train")
    image = rows.features.image
    similarities = reference_similarities(
        image[train], rows.labels[train], single(text_rows(run, pool.texts)), n_classes=len(rows.classes)
    )
    captions = single(text_rows(run, [CAPTION.replace("{}", name) for name in rows.classes]))
    return lambda index, vectors: local_scores(
        image[index],
        captions,
        vectors,
        similarities=similarities,
        own_texts=pool.text_indices,
        neighbours=rule.neighbours,
        most=rule.most,
    )


def _described(run: Run, rule: DescriptionAuditRule) -> list[DescribedText]:
    """The accepted texts of the rule's method, in stored order."""
    table = run.ledger.table(_description(run, rule), "descriptions", ["class", "method", "text", "phrase", "verdict"])
    chosen = table.filter((pc.field("method") == rule.method) & (pc.field("verdict") == ACCEPTED))
    places = {name: label for label, name in enumerate(rule.classes)}
    rows: list[dict[str, Any]] = [row for row in chosen.to_pylist() if row["class"] in places]
    described = [DescribedText(owner=places[row["class"]], text=row["text"], phrase=row["phrase"]) for row in rows]
    if not described:
        raise MissingFeaturesError(
            f"`method` must have accepted texts for list `{rule.list}`; `{rule.method}` has none. "
            "Choose another with --method, or look at what was rejected: evenly descriptions show LIST --rejected"
        )
    return described


def _description(run: Run, rule: DescriptionAuditRule) -> StepRecord:
    return run.ledger.get(rule.describe, remedy="Describe the list again.")


def _random_words(classes: Sequence[str]) -> list[str]:
    """Plain lower-case words of WordNet's nouns that are in no class name, sorted."""
    lemmas = {lemma for lemmas_of_synset in load_noun_synsets()["lemmas"].to_pylist() for lemma in lemmas_of_synset}
    named = {word for name in classes for word in name.casefold().split()}
    return sorted(word for word in lemmas - named if word.isascii() and word.isalpha() and word.islower())


def _inputs(run: Run, _upstream: Records, rule: DescriptionAuditRule) -> dict[str, str]:
    return grouped_inputs(run, rule.build, rule.split) | {"describe": _description(run, rule).output_hash}


AUDIT_DESCRIPTIONS = Step(
    name="audit_descriptions",
    rule=DescriptionAuditRule,
    judge=audit_texts,
    inputs=_inputs,
    model=step_encoder,
    seeded=True,
)
