"""Sums of the texts that describe a class, and how classes are named in a fallback."""

import numpy as np

from evenly.adapters.features import Floats, Integers

CANCELLED = 1e-6
"""Length of a mean of unit rows below which its direction is rounding."""


def text_sums(texts: Floats, owners: Integers, *, n_owners: int) -> tuple[Floats, Integers]:
    """Sum of the texts (t, d) of each owner (o, d), float64, and their number (o,); `owners` (t,) in 0 to o - 1."""
    sums = np.zeros((n_owners, texts.shape[1]))
    np.add.at(sums, owners, texts.astype(np.float64))
    return sums, np.bincount(owners, minlength=n_owners)


def directions(sums: Floats, counts: Integers, *, otherwise: Floats) -> Floats:
    """Unit rows (o, d) along `sums` of `counts` unit rows; that of `otherwise` where none or they cancel."""
    lengths = np.linalg.norm(sums, axis=1)
    usable = lengths > CANCELLED * counts
    return np.where(usable[:, None], sums / np.where(usable, lengths, 1.0)[:, None], otherwise)


def named_classes(classes: Integers) -> str:
    """The first ten class indices, and dots for more."""
    return ", ".join(map(str, classes[:10])) + (", ..." if len(classes) > 10 else "")
