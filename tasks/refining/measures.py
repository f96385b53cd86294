"""What refined rows are worth beside frozen ones: recall of pairs, zero-shot accuracy, the gap; paired differences."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from evenly.adapters.evaluation.measures.bootstrap import Interval, paired_bootstrap
from evenly.adapters.evaluation.measures.retrieval import first_ranks, modality_gap, paired, same_name
from evenly.adapters.evaluation.protocols.retrieval import distinct_names
from evenly.adapters.features import Floats, unit_rows
from evenly.features.refining.heads import Heads
from evenly.features.refining.pairs import Names, PairRows
from evenly.features.unit_rows import Single
from evenly.tasks.refining.pairs import ClassRows, RefiningParts

TOPS = (1, 10)


@dataclass(frozen=True, kw_only=True, eq=False)
class Correct:
    """Whether each query, or picture of a list, was answered right, 0 or 1 (n,), and its group (n,)."""

    values: Floats
    groups: Names

    @property
    def mean(self) -> float:
        """The share of right ones; NaN of none."""
        return float(self.values.mean()) if len(self.values) else float("nan")


def correct_of(parts: RefiningParts, part: str, heads: Heads) -> dict[tuple[str, str], Correct]:
    """By measure and what it is of: R@1 and R@10 in three directions, of all pairs and of each list, and zero-shot."""
    pairs = parts.pairs[part]
    found = {} if len(pairs) < 2 else _of_pairs(pairs, heads, "all pairs")
    for name, rows in parts.lists.get(part, {}).items():
        found |= _of_pairs(_of_list(pairs, rows), heads, name) if len(rows.image) > 1 else {}
        found["zero-shot", name] = Correct(values=_named(rows, heads), groups=rows.groups)
    return found


def mean_recall(correct: dict[tuple[str, str], Correct]) -> float:
    """The mean of R@1 and R@10 of all pairs, captions to pictures and back: what epoch and strength are chosen by."""
    wanted = [one.mean for (measure, of), one in correct.items() if of == "all pairs" and "label" not in measure]
    return float(np.mean(wanted)) if wanted else float("nan")


def compared(parts: RefiningParts, heads: Heads, *, seed: int) -> list[dict[str, Any]]:
    """A row per measure on the test part: of, n, before, after, and the paired difference with its 95 % interval."""
    frozen = frozen_heads(heads)
    before, after = correct_of(parts, "test", frozen), correct_of(parts, "test", heads)
    rows = []
    for (measure, of), was in before.items():
        now = after[measure, of]
        difference = paired_bootstrap(was.values, now.values, seed=seed, groups=was.groups)
        values = {"before": round(was.mean, 4), "after": round(now.mean, 4), **difference_columns(difference)}
        rows.append({"measure": measure, "of": of, "n": len(was.values), **values})
    pairs = parts.pairs["test"]
    if len(pairs) > 1:
        gaps = [modality_gap(*_units(pairs, one)) for one in (frozen, heads)]
        change = difference_columns(Interval(gaps[1] - gaps[0], np.nan, np.nan))
        values = {"before": round(gaps[0], 4), "after": round(gaps[1], 4), **change}
        rows.append({"measure": "modality gap", "of": "all pairs", "n": len(pairs), **values})
    return rows


def frozen_heads(heads: Heads) -> Heads:
    """Heads of the same shape that change nothing."""
    return Heads(**heads.arrays(), strength=0.0)


def difference_columns(difference: Interval) -> dict[str, float | None]:
    """difference, difference_low and difference_high, to 4 digits; None for an end that is not defined."""
    names = ("difference", "difference_low", "difference_high")
    return {name: None if np.isnan(end) else round(end, 4) for name, end in zip(names, difference, strict=True)}


def _of_pairs(pairs: PairRows, heads: Heads, of: str) -> dict[tuple[str, str], Correct]:
    images, texts = _units(pairs, heads)
    first_text, text_of = distinct_names(pairs.captions)
    own = np.arange(len(pairs))
    pictures, captions = paired(text_of, own, len(own)), paired(own, text_of, len(first_text))
    ranks = {
        "text to picture": (first_ranks(texts[first_text], images, pictures), pairs.groups[first_text]),
        "picture to text": (first_ranks(images, texts[first_text], captions), pairs.groups),
    }
    known = pairs.labels != ""
    if len(np.unique(pairs.labels[known])) < known.sum():
        rows = images[known]
        of_labels = first_ranks(rows, rows, same_name(pairs.labels[known]))
        ranks["picture to label"] = of_labels, pairs.groups[known]
    return {
        (f"{direction} R@{top}", of): Correct(
            values=(found[found > 0] <= top).astype(np.float64), groups=groups[found > 0]
        )
        for direction, (found, groups) in ranks.items()
        for top in TOPS
    }


def _of_list(pairs: PairRows, rows: ClassRows) -> PairRows:
    """The pairs of a part that are in the groups of a list."""
    return pairs.rows(np.isin(pairs.groups, rows.groups))


def _named(rows: ClassRows, heads: Heads) -> Floats:
    cosines = unit_rows(heads.image(rows.image)) @ unit_rows(heads.text(rows.texts)).T
    right: Floats = (cosines.argmax(axis=1) == rows.labels).astype(np.float64)
    return right


def _units(pairs: PairRows, heads: Heads) -> tuple[Single, Single]:
    return unit_rows(heads.image(pairs.image)), unit_rows(heads.text(pairs.text))
