"""Open-set accuracy: known classes told apart, and unknown rows rejected (OSLoPrompt, arXiv:2503.16106)."""

from typing import NamedTuple

from evenly.adapters.errors import ParameterError
from evenly.adapters.evaluation.measures.classification import accuracy
from evenly.adapters.features import Integers


class OpenSet(NamedTuple):
    """Accuracy on rows of known classes, share of unknown rows that were rejected, and their harmonic mean `h`."""

    closed: float
    opened: float
    h: float


def open_set_h(closed: float, opened: float) -> float:
    """H = 2 * closed * open / (closed + open), in 0 to 1; 0 where both are 0, NaN where one is."""
    if closed < 0 or opened < 0:
        raise ParameterError(f"accuracies must be at least 0; got {closed} and {opened}. Hand in shares of rows.")
    total = closed + opened
    return 2 * closed * opened / total if total != 0 else 0.0


def open_set(predictions: Integers, labels: Integers, *, unknown: int) -> OpenSet:
    """Closed and open accuracy and their H of predictions (n,); rows of no known class have the label `unknown`.

    A known row that is rejected (predicted as `unknown`) is wrong. NaN where there are no rows of a kind.
    """
    here = labels == unknown
    closed = accuracy(predictions[~here], labels[~here])
    opened = accuracy(predictions[here], labels[here])
    return OpenSet(closed, opened, open_set_h(closed, opened))
