"""Rows that a cache model gets right over a whole grid of its weights, counted without the logits of each point.

At fixed beta and gamma the logits of a row are lines in alpha, so the alphas at which its label wins are an interval:
one pass over the classes serves all alphas. The betas of a published grid are evenly spaced, so the keys' answers at
the next beta are those at this one times a constant factor: one product instead of an exponential.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from evenly.adapters.features import Floats, Integers
from evenly.adapters.forms.key_cache import KeyColumns

BLOCK_ENTRIES = 2**18
"""Answers (float64) of a block of rows: 2 MB, which stays in the processor's cache from beta to beta."""
CONTEST_ENTRIES = 2**20
"""Leads of a block of rows over all gammas, held at a time: 25 MB."""
EVEN = 1e-11
"""Largest distance of a beta from an even spacing: moves an answer by a 5e-11th at most, far below float32 rounding."""
TIE = 1e-200
"""What an exact tie of two logits counts as: the earlier class is ahead."""


class Weights(NamedTuple):
    """One point of the grid: logits = base + `alpha` * cache(`beta`) + `gamma` * further."""

    alpha: float
    beta: float
    gamma: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Contest:
    """The label of each of m rows against the c classes on their base logits, made ready for any evidence.

    `behind` and `ahead` (m, c) are 1 / lead of the classes that the label beats, or is beaten by, 0 elsewhere;
    `ceiling` is 0 for those ahead, else infinite.
    """

    labels: Integers
    behind: Floats
    ahead: Floats
    ceiling: Floats
    scratch: tuple[Floats, Floats] = field(repr=False)

    def wins(self, evidence: Floats, alphas: Floats) -> Integers:
        """In how many rows the label wins on base + alpha * `evidence` (m, c), for each of `alphas` (a,).

        With t = 1 / alpha the label y keeps class k down where t * (base_k - base_y) <= evidence_y - evidence_k.
        """
        label_evidence = np.take_along_axis(evidence, self.labels[:, None], axis=1)
        margins, ratios = self.scratch
        np.subtract(label_evidence, evidence, out=margins)
        lowest = np.multiply(margins, self.behind, out=ratios).max(axis=1)
        np.multiply(margins, self.ahead, out=ratios)
        highest = np.add(ratios, self.ceiling, out=ratios).min(axis=1)
        with np.errstate(divide="ignore"):
            inverse = 1 / alphas
        won = (lowest[:, None] <= inverse) & (inverse <= highest[:, None])
        if not alphas.all():
            won[:, alphas == 0] = ~self.ahead.any(axis=1, keepdims=True)
        return np.asarray(np.count_nonzero(won, axis=0))


def contest(base: Floats, labels: Integers) -> Contest:
    """The contest of `labels` (m,) on the base logits (m, c); of equal logits the earlier class wins."""
    label_column = labels[:, None]
    lead = base - np.take_along_axis(base, label_column, axis=1)
    place = np.arange(base.shape[1])
    lead = np.where(lead == 0, np.where(place < label_column, TIE, -TIE), lead)
    inverse = 1 / lead
    np.put_along_axis(inverse, label_column, 0, axis=1)
    return Contest(
        labels=labels,
        behind=np.minimum(inverse, 0),
        ahead=np.maximum(inverse, 0),
        ceiling=np.where(inverse > 0, 0, np.inf),
        scratch=(np.empty_like(lead), np.empty_like(lead)),
    )


def grid_counts(
    columns: KeyColumns, image: Floats, labels: Integers, points: Sequence[Weights], *, base: Floats, further: Floats
) -> Integers:
    """Rows of one chunk whose label is the first largest logit, at each of `points` (p,), in any order.

    `image` (m, d); `base` and `further` (m, c) float64. Differs from counting on the logits where two of them tie
    within rounding.
    """
    plan = _plan(points)
    gammas = sorted({point.gamma for point in points})
    counts = np.zeros(len(points), dtype=np.int64)
    gaps = columns.gaps(image)
    size = _block_rows(len(columns.keys), base.shape[1], len(gammas))
    for start in range(0, len(image), size):
        rows = slice(start, start + size)
        contests = {gamma: contest(base[rows] + gamma * further[rows], labels[rows]) for gamma in gammas}
        for beta, answers in answers_over(columns, gaps[rows], sorted(plan)):
            evidence = columns.class_sums(answers)
            for gamma, (places, alphas) in plan[beta].items():
                counts[places] += contests[gamma].wins(evidence, alphas)
    return counts


def answers_over(columns: KeyColumns, gaps: Floats, betas: Sequence[float]) -> Iterator[tuple[float, Floats]]:
    """Each of the ascending `betas` with the answers (m, s * v) there, valid until the next one is asked for.

    Within a run of even spacing each is the one before times a factor; every product adds at most four roundings
    (4 * 2^-53) to the relative error.
    """
    for run in even_runs(betas):
        answers = columns.answers(gaps, run[0])
        yield run[0], answers
        if len(run) == 1:
            continue
        factors = np.exp((run[-1] - run[0]) / (len(run) - 1) * gaps)
        for beta in run[1:]:
            answers *= factors
            yield beta, answers


def even_runs(betas: Sequence[float]) -> list[list[float]]:
    """Ascending `betas` cut into runs of even spacing, as long as they go; two or fewer in a row stand alone."""
    runs: list[list[float]] = []
    start = 0
    while start < len(betas):
        stop = start + 1
        while stop < len(betas) and _evenly_on(betas[start:stop], betas[stop]):
            stop += 1
        if stop - start < 3:
            stop = start + 1
        runs.append(list(betas[start:stop]))
        start = stop
    return runs


def _evenly_on(run: Sequence[float], beta: float) -> bool:
    if len(run) == 1:
        return True
    step = (run[-1] - run[0]) / (len(run) - 1)
    return abs(run[-1] + step - beta) <= EVEN / len(run)


def _plan(points: Sequence[Weights]) -> dict[float, dict[float, tuple[Integers, Floats]]]:
    """Per beta and gamma the places of the points in the order given, and their alphas."""
    places: dict[float, dict[float, list[int]]] = {}
    for place, point in enumerate(points):
        places.setdefault(point.beta, {}).setdefault(point.gamma, []).append(place)
    return {
        beta: {
            gamma: (np.array(indices), np.array([points[place].alpha for place in indices]))
            for gamma, indices in by_gamma.items()
        }
        for beta, by_gamma in places.items()
    }


def _block_rows(keys: int, classes: int, gammas: int) -> int:
    return max(1, min(1024, BLOCK_ENTRIES // max(1, keys), CONTEST_ENTRIES // max(1, classes * gammas)))
