"""Measures of refined rows beside frozen ones: pairs found, classes, wrong captions, the gap; paired differences."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from evenly.adapters.contract import affine
from evenly.adapters.evaluation.measures.bootstrap import Interval, difference_columns, paired_bootstrap
from evenly.adapters.evaluation.measures.retrieval import (
    Relevance,
    average_precisions,
    first_ranks,
    modality_gap,
    paired,
    same_name,
)
from evenly.adapters.evaluation.protocols.retrieval import distinct_names
from evenly.adapters.features import Floats, unit_rows
from evenly.adapters.methods.linear import logistic_regression
from evenly.adapters.splits import PARTS
from evenly.features.refining.hold import HeldTexts
from evenly.features.refining.pairs import Names, PairRows
from evenly.features.refining.refinement import Refinement
from evenly.features.unit_rows import Single
from evenly.tasks.refining.needs import WrongCaptions
from evenly.tasks.refining.pairs import ClassRows, RefiningParts

TOPS = (1, 10)
PENALTIES = (1.0, 10.0, 100.0, 1000.0)
"""Inverse penalties of the logistic regression that objectives which learn from labels are set beside."""
ALL_PAIRS = "all pairs"
RIGHT_FIRST = "right caption before wrong"
AMONG = "{} among the pool's"
"""The subject of recall where pairs outside the pool are looked for in one index with the pool's."""
AGAINST_RIVAL = "{} against logistic regression"
TO_PICTURE, TO_TEXT, TO_LABEL = "text to picture", "picture to text", "picture to label"


@dataclass(frozen=True, kw_only=True, eq=False)
class Correct:
    """Correctness of the answer to each query, or picture of a list, 0 to 1 (n,), and its group (n,)."""

    values: Floats
    groups: Names

    @property
    def mean(self) -> float:
        """The mean; NaN of none."""
        return float(self.values.mean()) if len(self.values) else float("nan")


def correct_of(parts: RefiningParts, part: str, heads: Refinement) -> dict[tuple[str, str], Correct]:
    """By measure and what it is of: R@1 and R@10 in three directions, of all pairs and of each list, and zero-shot."""
    correct: dict[tuple[str, str], Correct] = {}
    for subset, pairs in _pairs_of(parts, part):
        for direction in _directions(pairs, heads):
            correct |= {(f"{direction.name} {top}", subset): values for top, values in _recalls(direction).items()}
    for subset, rows in parts.lists.get(part, {}).items():
        correct["zero-shot", subset] = Correct(values=_named(rows, heads), groups=rows.groups)
    return correct


def judged(parts: RefiningParts, heads: Refinement) -> dict[tuple[str, str], Correct]:
    """`correct_of` the test part, and what nothing is chosen by. What the pairs do not have is not there.

    Average precision of captions and of labels; R@1 of long captions; whether a picture is nearer to the right caption
    than to one that is wrong in one thing, by kind; recall of pairs outside the pool, in one index with those of test.
    """
    correct = correct_of(parts, "test", heads)
    for subset, pairs in _pairs_of(parts, "test"):
        for direction in _directions(pairs, heads):
            if direction.name != TO_TEXT:
                correct[f"{direction.name} mAP", subset] = _precision(direction)
    if parts.probes.long is not None:
        direction = next(_directions(parts.probes.long, heads))
        first = first_ranks(direction.queries, direction.gallery, direction.relevance) == 1
        correct["long text to picture R@1", ALL_PAIRS] = Correct(
            values=first.astype(np.float64), groups=direction.groups
        )
    for name, pairs in parts.outside.items():
        for direction in _outside(pairs, parts.pairs["test"], heads):
            subset = AMONG.format(name)
            correct |= {(f"{direction.name} {top}", subset): values for top, values in _recalls(direction).items()}
    for kind, rows in parts.probes.wrong.items():
        correct[RIGHT_FIRST, kind] = Correct(values=_right_first(rows, heads), groups=rows.groups)
    return correct


def label_rivals(parts: RefiningParts) -> dict[tuple[str, str], Correct]:
    """Results of a logistic regression on frozen rows and the labels of train, on test, by measures of `judged`.

    Its accuracy on each list beside zero-shot accuracy, and pictures of a label found by its probabilities in place of
    rows. Val chooses its penalty among PENALTIES. Nothing where train has fewer than two labels.
    """
    train, val, test = (pairs.rows(pairs.labels != "") for pairs in map(parts.pairs.__getitem__, PARTS))
    names = np.unique(train.labels)
    if len(names) < 2:
        return {}
    logits_of = _regression(train, val, names)
    rivals: dict[tuple[str, str], Correct] = {}
    for subset, rows in parts.lists.get("test", {}).items():
        is_known = np.isin(rows.classes, names)
        logits = np.full((len(rows.labels), len(rows.classes)), -np.inf)
        logits[:, is_known] = logits_of(rows.image)[:, np.searchsorted(names, rows.classes[is_known])]
        right: Floats = (logits.argmax(axis=1) == rows.labels).astype(np.float64)
        rivals["zero-shot", subset] = Correct(values=right, groups=rows.groups)
    logits = logits_of(test.image)
    for direction in _to_label(test, unit_rows(np.exp(logits - logits.max(axis=1, keepdims=True)))):
        rivals[f"{direction.name} mAP", ALL_PAIRS] = _precision(direction)
    return rivals


def _regression(train: PairRows, val: PairRows, names: Names) -> Callable[[Single], Floats]:
    """Logits (n, c) of rows (n, d): of the penalty that names the most of val, the first of equal ones."""
    labels = np.searchsorted(names, train.labels)
    count, rows = len(names), unit_rows(train.image)
    fits = [logistic_regression(rows, labels, n_classes=count, C=C, max_iterations=1000) for C in PENALTIES]
    of_val = unit_rows(val.image)
    right = [(names[affine(of_val, weight, bias).argmax(axis=1)] == val.labels).sum() for weight, bias, _ in fits]
    weight, bias, _ = fits[int(np.argmax(right))]
    return lambda rows: affine(unit_rows(rows), weight, bias)


def mean_recall(correct: dict[tuple[str, str], Correct]) -> float:
    """The mean of R@1 and R@10 of all pairs, captions to pictures and back: what epoch and strength are chosen by."""
    wanted = [
        result.mean for (measure, subset), result in correct.items() if subset == ALL_PAIRS and TO_LABEL not in measure
    ]
    return float(np.mean(wanted)) if wanted else float("nan")


def compared(
    parts: RefiningParts, heads: Refinement, *, seed: int, rivals: Mapping[tuple[str, str], Correct] | None = None
) -> list[dict[str, Any]]:
    """A row per measure on the test part: of, n, before, after, and the paired difference with its 95 % interval.

    Where there are `rivals`, such as `label_rivals`, there is a further row for each, in which `before` is the rival.
    """
    frozen = heads.at(0.0)
    original, refined = judged(parts, frozen), judged(parts, heads)
    against = [
        (AGAINST_RIVAL.format(measure), subset, old, refined[measure, subset])
        for (measure, subset), old in (rivals or {}).items()
    ]
    rows = []
    for measure, subset, old, new in [*((*key, old, refined[key]) for key, old in original.items()), *against]:
        difference = paired_bootstrap(old.values, new.values, seed=seed, groups=old.groups)
        values = {"before": round(old.mean, 4), "after": round(new.mean, 4), **difference_columns(difference)}
        rows.append({"measure": measure, "of": subset, "n": len(old.values), **values})
    pairs = parts.pairs["test"]
    if len(pairs) > 1:
        gaps = [modality_gap(*_units(pairs, side)) for side in (frozen, heads)]
        change = difference_columns(Interval(gaps[1] - gaps[0], np.nan, np.nan))
        values = {"before": round(gaps[0], 4), "after": round(gaps[1], 4), **change}
        rows.append({"measure": "modality gap", "of": ALL_PAIRS, "n": len(pairs), **values})
    return rows


def shifts(heads: Refinement, nouns: HeldTexts, pairs: PairRows) -> dict[str, float]:
    """The mean 1 - cosine between frozen and refined rows, of one in eight of the held nouns and of pictures."""
    rows, texts = nouns.rows[::8], nouns.texts[::8]
    moved = {
        "noun_shift": (rows, heads.text(rows, texts)),
        "picture_shift": (pairs.image, heads.image(pairs.image, pairs.uids)),
    }
    return {
        name: float(1 - (unit_rows(frozen) * unit_rows(refined)).sum(axis=1, dtype=np.float64).mean())
        for name, (frozen, refined) in moved.items()
    }


class _Direction(NamedTuple):
    """Unit rows of queries with their groups, those that are looked through, and which of them belong to which."""

    name: str
    queries: Single
    groups: Names
    gallery: Single
    relevance: Relevance


def _pairs_of(parts: RefiningParts, part: str) -> Iterator[tuple[str, PairRows]]:
    """All pairs of a part, those in the groups of each list, and for test the further ones, where there are two."""
    pairs = parts.pairs[part]
    of_lists = {
        subset: pairs.rows(np.isin(pairs.groups, rows.groups)) for subset, rows in parts.lists.get(part, {}).items()
    }
    for subset, rows in {ALL_PAIRS: pairs, **of_lists, **(parts.further if part == "test" else {})}.items():
        if len(rows) > 1:
            yield subset, rows


def _directions(pairs: PairRows, heads: Refinement) -> Iterator[_Direction]:
    images, texts = _units(pairs, heads)
    first_text, text_of = distinct_names(pairs.captions)
    places = np.arange(len(pairs))
    texts = texts[first_text]
    yield _Direction(TO_PICTURE, texts, pairs.groups[first_text], images, paired(text_of, places, len(places)))
    yield _Direction(TO_TEXT, images, pairs.groups, texts, paired(places, text_of, len(texts)))
    yield from _to_label(pairs, images)


def _outside(pairs: PairRows, test: PairRows, heads: Refinement) -> Iterator[_Direction]:
    """Captions and pictures of pairs outside the pool, looked for among theirs and those of test: in one index."""
    (images, texts), (test_images, test_texts) = _units(pairs, heads), _units(test, heads)
    first_text, text_of = distinct_names(np.concatenate([pairs.captions, test.captions]))
    all_images, all_texts = np.concatenate([images, test_images]), np.concatenate([texts, test_texts])[first_text]
    queries = np.flatnonzero(first_text < len(pairs))
    places = np.flatnonzero(np.isin(text_of, queries))
    relevant = paired(np.searchsorted(queries, text_of[places]), places, len(all_images))
    yield _Direction(TO_PICTURE, all_texts[queries], pairs.groups[first_text[queries]], all_images, relevant)
    numbers = np.arange(len(pairs))
    yield _Direction(TO_TEXT, images, pairs.groups, all_texts, paired(numbers, text_of[numbers], len(all_texts)))


def _to_label(pairs: PairRows, rows: Single) -> Iterator[_Direction]:
    """Pictures to others of their label, by rows (n, d) of the pairs; nothing where no two have the same."""
    labelled = pairs.labels != ""
    if len(np.unique(pairs.labels[labelled])) < labelled.sum():
        yield _Direction(
            TO_LABEL, rows[labelled], pairs.groups[labelled], rows[labelled], same_name(pairs.labels[labelled])
        )


def _recalls(direction: _Direction) -> dict[str, Correct]:
    """R@1 and R@10 of the queries that something belongs to."""
    ranks = first_ranks(direction.queries, direction.gallery, direction.relevance)
    ranks, groups = ranks[ranks > 0], direction.groups[ranks > 0]
    return {f"R@{top}": Correct(values=(ranks <= top).astype(np.float64), groups=groups) for top in TOPS}


def _precision(direction: _Direction) -> Correct:
    """Average precision of the queries that something belongs to."""
    precisions = average_precisions(direction.queries, direction.gallery, direction.relevance)
    counted = ~np.isnan(precisions)
    return Correct(values=precisions[counted], groups=direction.groups[counted])


def _right_first(rows: WrongCaptions, heads: Refinement) -> Floats:
    images = unit_rows(heads.image(rows.image, rows.uids))
    captions = ((rows.right, rows.right_said), (rows.wrong, rows.wrong_said))
    right, wrong = ((images * unit_rows(heads.text(*texts))).sum(axis=1) for texts in captions)
    nearer: Floats = (right > wrong).astype(np.float64)
    return nearer


def _named(rows: ClassRows, heads: Refinement) -> Floats:
    cosines = unit_rows(heads.image(rows.image, rows.uids)) @ unit_rows(heads.text(rows.texts, rows.said)).T
    right: Floats = (cosines.argmax(axis=1) == rows.labels).astype(np.float64)
    return right


def _units(pairs: PairRows, heads: Refinement) -> tuple[Single, Single]:
    return unit_rows(heads.image(pairs.image, pairs.uids)), unit_rows(heads.text(pairs.text, pairs.captions))
