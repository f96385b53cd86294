"""Class weights: one vector per class from the vectors of the texts that describe it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evenly.features.errors import RowsError
from evenly.features.unit_rows import Single, checked_rows


def class_weights(texts_per_class: Sequence[npt.NDArray[np.floating]]) -> Single:
    """Class vectors (c, d) of length 1, in the order given: the mean of each class's unit text vectors, normalised.

    `texts_per_class` holds one array (texts, d) per class, raw or already of unit length. A text that stands twice in
    a class counts twice. This is the prompt ensemble of Radford et al. 2021, arXiv:2103.00020, section 3.1.4.
    """
    if not texts_per_class:
        raise RowsError("`texts_per_class` must hold at least one class; got none. Name a class.")
    widths = {rows.shape[-1] for rows in texts_per_class}
    if len(widths) > 1:
        raise RowsError(f"`texts_per_class` must be of one width; got {sorted(widths)}. Use one encoder for all.")
    means = np.stack([_mean_direction(position, rows) for position, rows in enumerate(texts_per_class)])
    lengths = np.sqrt((means * means).sum(axis=1, keepdims=True))
    if (lengths < 1e-6).any():
        position = int(np.argmin(lengths))
        raise RowsError(
            f"`texts_per_class[{position}]` must have a mean direction; its texts cancel out. Give it other texts."
        )
    weights: Single = (means / lengths).astype(np.float32)
    return weights


def _mean_direction(position: int, rows: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    name = f"texts_per_class[{position}]"
    checked_rows(name, rows)
    if not len(rows):
        raise RowsError(f"`{name}` must hold at least one text; got none. Give the class a text: its name will do.")
    single = rows.astype(np.float64)
    lengths = np.sqrt((single * single).sum(axis=1, keepdims=True))
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        raise RowsError(f"`{name}` must have rows of finite numbers that are not all zero. Encode its texts again.")
    mean: npt.NDArray[np.float64] = (single / lengths).mean(axis=0)
    return mean
