"""Feature rows as they are stored: the direction as a half-precision unit vector, and the length."""

import numpy as np
import numpy.typing as npt

from evenly.features.errors import RowsError

Half = npt.NDArray[np.float16]
Single = npt.NDArray[np.float32]

SCORE_DIGITS = 4
_BLOCK_ROWS = 8192


def to_unit_rows(raw: npt.NDArray[np.floating]) -> tuple[Half, Single]:
    """Rows (n, d) divided by their L2 norms, as float16, and the norms (n,), as float32.

    A row of zeros has no direction and a row with NaN or infinity no length: both are refused.
    """
    checked_rows("raw", raw)
    unit = np.empty(raw.shape, np.float16)
    norms = np.empty(len(raw), np.float64)
    for start in range(0, len(raw), _BLOCK_ROWS):
        block = raw[start : start + _BLOCK_ROWS].astype(np.float64)
        norms[start : start + len(block)] = _norms("raw", block, start)
        unit[start : start + len(block)] = block / norms[start : start + len(block), None]
    return unit, norms.astype(np.float32)


def cosine_scores(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Cosine of row i of `a` with row i of `b`, (n,), from -1 to 1, rounded to 4 digits.

    Products are exact (float16 in float64) and summed in an order that depends on d alone, so a score does not depend
    on how many rows are scored together.
    """
    checked_rows("a", a)
    checked_rows("b", b)
    if a.shape != b.shape:
        raise RowsError(
            f"`b` must have the shape of `a`; got {b.shape} and {a.shape}. Score rows that belong together."
        )
    scores = np.empty(len(a), np.float64)
    for start in range(0, len(a), _BLOCK_ROWS):
        left = a[start : start + _BLOCK_ROWS].astype(np.float64)
        right = b[start : start + _BLOCK_ROWS].astype(np.float64)
        lengths = _norms("a", left, start) * _norms("b", right, start)
        scores[start : start + len(left)] = (left * right).sum(axis=1) / lengths
    # Adding zero turns -0.0 into 0.0: the two are equal, but not to a hash.
    return np.clip(scores, -1, 1).round(SCORE_DIGITS) + 0.0


def checked_rows(name: str, rows: npt.NDArray[np.floating]) -> None:
    """Raise RowsError unless `rows` is a two-dimensional array of floats with at least one column."""
    if rows.ndim != 2 or rows.shape[1] == 0 or not np.issubdtype(rows.dtype, np.floating):
        raise RowsError(
            f"`{name}` must be an array (n, d) of floats; got shape {rows.shape} of {rows.dtype}. Hand in feature rows."
        )


def _norms(name: str, block: npt.NDArray[np.float64], start: int) -> npt.NDArray[np.float64]:
    norms: npt.NDArray[np.float64] = np.sqrt((block * block).sum(axis=1))
    wrong = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if len(wrong):
        row = int(wrong[0])
        values = "only zeros" if norms[row] == 0 else "NaN or infinity"
        raise RowsError(
            f"`{name}` must have rows of finite numbers that are not all zero; got {values} at row {start + row} "
            f"({len(wrong)} such rows nearby). Leave these rows out, or encode them again."
        )
    return norms
