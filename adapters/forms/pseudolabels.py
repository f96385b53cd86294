"""Pseudo-labels of an unlabelled pool: an exact selector, and the loop that trains a student on what it selects."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, cast

import numpy as np
import numpy.typing as npt

from evenly.adapters.contract import CHUNK_ROWS, Adapter, Grid, affine, check_positive
from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.forms.class_statistics import RowStatistics, check_choice, closed_form
from evenly.adapters.methods.linear import LinearProbe, absent
from evenly.adapters.methods.zero_shot import scaled
from evenly.adapters.prompts.student import PromptStudent
from evenly.adapters.training import row_keys

Student = Literal["gda", "linear", "prompt"]


@dataclass(kw_only=True, eq=False)
class PseudoLabelled(Adapter):
    """A student trained on pseudo-labels of `unlabelled`, in rounds (Menghini et al., NeurIPS 2023, arXiv:2306.01669).

    Each round the teacher (first zero-shot, then the student of the round before) labels the whole pool,
    `top_k_per_class` keeps up to k images per class, and a new student is fitted on these and on the labelled rows. It
    assumes a pool in which the classes are equally frequent: every class gets the same k. The student is GDA
    (zero-shot + `alpha` evidence), a linear probe with inverse penalty `C`, or, as in the paper, a prompt, which takes
    `steps` steps at `learning_rate` through `tower`, from the same start in every round (`PromptStudent`). The paper
    weighs the loss of the labelled rows by |pseudo| / |labelled|: for GDA and the probe the smaller of the two sets is
    repeated round(larger / smaller) times instead, so that both have about the same total weight; for GDA repeated rows
    count as rows, in the means, the scatter and its shrinkage; of labelled images no views. No pseudo-labels are held
    out: no student picks an epoch. `alpha` is 1 where nothing is searched: the evidence in its own units; its grid is
    coarser than GDA's, because each value is a chain of fits.

    `weight_` (c, d) and `bias_` (c,) are the last student's logits; `pseudo_rows_` (s,) and `pseudo_labels_` (s,) the
    pool rows that it learned from and their classes, by class and falling probability. No pseudo-labels: the student
    learns from the labelled rows alone; none of them either: zero-shot. Both are said in `fallback_`.
    """

    grid: ClassVar[Grid] = Grid(parameters={"alpha": (0.1, 1.0, 10.0)})
    needs: ClassVar[tuple[str, ...]] = ("prototypes", "unlabelled")
    uses: ClassVar[tuple[str, ...]] = ("tower",)
    learns_from: ClassVar[tuple[str, ...]] = ("support", "unlabelled")

    student: Student = "gda"
    alpha: float = 1.0
    C: float = 1.0
    steps: int = 30
    learning_rate: float = 0.02

    weight_: Floats = field(init=False, repr=False)
    bias_: Floats = field(init=False, repr=False)
    pseudo_rows_: Integers = field(init=False, repr=False)
    pseudo_labels_: Integers = field(init=False, repr=False)

    @classmethod
    def open_grid(cls, fixed: Mapping[str, Any]) -> Grid:
        """The grid where GDA is the student; other students have no `alpha`, and nothing to search."""
        return super().open_grid(fixed) if fixed.get("student", cls.student) == "gda" else Grid()

    def affine_form(self) -> tuple[Floats, Floats]:
        """The last student's."""
        return self.weight_, self.bias_

    @abstractmethod
    def _sizes(self, n_pool: int, n_classes: int) -> Sequence[int]:
        """Most pseudo-labels per class, for each round; a round of 0 is left out."""

    def ruled_out(self) -> npt.NDArray[np.bool_]:
        """Classes (c,) without a labelled or pseudo-labelled row, where the student is the linear probe."""
        return absent(self.bias_)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("alpha", self.alpha, or_zero=True)
        check_positive("C", self.C)
        check_choice("student", self.student, Student)

    def _learn(self, features: Features, labels: Integers) -> None:
        if self.student == "prompt":
            features.require("tower", adapter=f"{type(self).__name__}(student='prompt')")
        pool = cast("Floats", features.unlabelled)  # `needs` names it
        keys = row_keys(pool)
        self.weight_, self.bias_ = scaled(self.prototypes_, self.logit_scale), np.zeros(len(self.prototypes_))
        sizes = [k for k in self._sizes(len(pool), len(self.prototypes_)) if k] if len(pool) else []
        last: tuple[int, Integers, Integers] | None = None
        for k in sizes:
            rows, classes = top_k_per_class(self._confidence(pool), k, keys=keys)
            if last is not None and last[0] == k and all(map(np.array_equal, last[1:], (rows, classes))):
                continue  # the same rows as in the round before give the same student
            last = k, rows, classes
            self.pseudo_rows_, self.pseudo_labels_ = rows, classes
            self._fit_student(features, labels, pool)
        if not sizes:
            self.pseudo_rows_ = self.pseudo_labels_ = np.empty(0, dtype=np.int64)
            self._fit_student(features, labels, pool)
            reason = f"no pseudo-labels: {len(pool)} unlabelled rows for {len(self.prototypes_)} classes"
            self.fallback_ = "; ".join(filter(None, (self.fallback_, reason)))

    def _confidence(self, pool: Floats) -> Floats:
        """Log-probabilities (m, c) of the pool under the present weights, made in chunks of rows."""
        confidence = np.empty((len(pool), len(self.prototypes_)))
        for start in range(0, len(pool), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            confidence[rows] = log_probabilities(affine(pool[rows], self.weight_, self.bias_))
        return confidence

    def _fit_student(self, features: Features, labels: Integers, pool: Floats) -> None:
        """Set weight, bias and fallback to those of a student of the labelled rows and the present pseudo-labels."""
        repeats = np.repeat(repetitions(len(labels), len(self.pseudo_rows_)), (len(labels), len(self.pseudo_rows_)))
        rows = np.concatenate([features.image, pool[self.pseudo_rows_]])
        targets = np.concatenate([labels, self.pseudo_labels_])
        if self.student == "gda":
            statistics = RowStatistics.of(rows, targets, repeats, n_classes=len(self.prototypes_))
            weight, bias, self.fallback_ = closed_form(statistics)
            self.weight_ = scaled(self.prototypes_, self.logit_scale) + self.alpha * weight
            self.bias_ = self.alpha * bias
            return
        student: LinearProbe | PromptStudent
        if self.student == "linear":
            student = LinearProbe(logit_scale=self.logit_scale, C=self.C)
            rows, targets = np.repeat(rows, repeats, axis=0), np.repeat(targets, repeats)
        else:
            chosen = {name: getattr(self, name) for name in ("logit_scale", "steps", "learning_rate")}
            student = PromptStudent(n_labelled=len(labels), **chosen)
        student.fit(Features(image=rows, prototypes=self.prototypes_, tower=features.tower), targets)
        self.weight_, self.bias_ = student.affine_form()
        self.fallback_ = student.fallback_

    def _logits(self, features: Features) -> Floats:
        return affine(features.image, self.weight_, self.bias_)


def repetitions(n_labelled: int, n_pseudo: int) -> tuple[int, int]:
    """Repetitions of each of the two sets, so that both have about the same size; 1 if one is empty."""
    if not n_labelled or not n_pseudo:
        return 1, 1
    return max(round(n_pseudo / n_labelled), 1), max(round(n_labelled / n_pseudo), 1)


def growing_sizes(n_pool: int, n_classes: int, *, rounds: int) -> tuple[int, ...]:
    """GRIP's k of each round r: floor((r + 1) (U / rounds) / C), at most floor(U / C), which the last round reaches."""
    return tuple(min((r + 1) * n_pool // (rounds * n_classes), n_pool // n_classes) for r in range(rounds))


def log_probabilities(logits: Floats) -> Floats:
    """Logarithms of the softmax over classes of logits (m, c), float64.

    Where a probability is 1 to the last bit its logarithm still tells confident from more confident: it is made from
    the sum of the other classes. Selection by rank needs that.
    """
    shifted = np.asarray(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    other_mass = np.exp(shifted)
    other_mass[np.arange(len(other_mass)), shifted.argmax(axis=1)] = 0.0
    return np.asarray(shifted - np.log1p(other_mass.sum(axis=1, keepdims=True)))


def top_k_per_class(scores: Floats, k: int, *, keys: Sequence[bytes]) -> tuple[Integers, Integers]:
    """Rows (s,) and their classes (s,), at most `k` per class and one class per row, from scores (m, c).

    The one stable assignment (deferred acceptance, rows propose): each row goes to its best class among those in which
    it is one of the k best of the rows that want it. It equals taking all (row, class) pairs from the best score down,
    each where its row is free and its class has room. `scores` are probabilities, or anything that grows with
    them. Equal scores: the row with the smaller of `keys` (digests of the rows) first, then the first class; so the
    order of the rows does not matter. Every class gets k where m is at least k c; else every row is assigned.
    Sorted by class, then from the best score down. The published leaderboard depends on the order of the rows, and can
    hold one row in several classes.
    """
    check_positive("k", k, integer=True)
    _check_scores(scores, keys)
    ranks = np.empty(len(keys), dtype=np.int64)
    ranks[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))
    seat, seat_score = np.full(len(scores), -1), np.zeros(len(scores))
    bar, bar_rank = np.full(scores.shape[1], -np.inf), np.full(scores.shape[1], len(scores))
    free: Integers = np.arange(len(scores))
    while free.size:
        choice, value = _proposals(scores, free, ranks, bar, bar_rank)
        seat[free], seat_score[free] = choice, value
        wanted = np.unique(choice[choice >= 0])
        contenders, place = _placed(np.flatnonzero(np.isin(seat, wanted)), seat, seat_score, ranks)
        last, free = contenders[place == k - 1], contenders[place >= k]
        bar[seat[last]], bar_rank[seat[last]] = seat_score[last], ranks[last]
        seat[free] = -1
    rows, _ = _placed(np.flatnonzero(seat >= 0), seat, seat_score, ranks)
    return rows, seat[rows]


def _proposals(
    scores: Floats, free: Integers, ranks: Integers, bar: Floats, bar_rank: Integers
) -> tuple[Integers, Floats]:
    """Best class of each free row among those whose worst row it beats, -1 where none, and its score there."""
    choice, value = np.empty(len(free), dtype=np.int64), np.empty(len(free))
    for start in range(0, len(free), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        rows = free[part]
        beaten = (scores[rows] > bar) | ((scores[rows] == bar) & (ranks[rows, None] < bar_rank))
        wanted = np.where(beaten, scores[rows], -np.inf)
        value[part] = wanted.max(axis=1)
        choice[part] = np.where(beaten.any(axis=1), wanted.argmax(axis=1), -1)
    return choice, value


def _placed(rows: Integers, seat: Integers, seat_score: Floats, ranks: Integers) -> tuple[Integers, Integers]:
    """The rows by class, falling score and rank, and the place of each within its class, from 0."""
    ordered = rows[np.lexsort((ranks[rows], -seat_score[rows], seat[rows]))]
    return ordered, np.arange(len(ordered)) - np.searchsorted(seat[ordered], seat[ordered])


def _check_scores(scores: Floats, keys: Sequence[bytes]) -> None:
    if scores.ndim != 2 or not scores.shape[1] or len(keys) != len(scores):
        raise InvalidFeaturesError(
            f"`scores` must have shape (m, c), one row per key and at least one class; got shape {scores.shape} and "
            f"{len(keys)} keys. Hand in scores and digests of the same rows."
        )
    if not np.isfinite(scores).all():
        bad = np.argwhere(~np.isfinite(scores))[0]
        raise InvalidFeaturesError(
            f"`scores` must be finite; got {scores[tuple(bad)]} at row {bad[0]}, class {bad[1]}. Leave this row out."
        )
