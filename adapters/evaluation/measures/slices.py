"""Accuracy in slices of the test rows: per value of any column, or of crossed columns; the worst one.

Each value of a column is a slice of its own, numbers of many values by quartile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evenly.adapters.errors import SplitError
from evenly.adapters.evaluation.measures.bootstrap import REPLICATES, bootstrap_accuracy

NO_VALUE = "(no value)"
EMPTY = "empty"
_COLUMNS = ["column", "value", "n", "groups", "correct", "accuracy", "low", "high", "state"]
MOST_VALUES = 12
"""Numbers of more different values than these are put together by quartile."""


def slice_table(
    correct: npt.ArrayLike,
    columns: Mapping[str, Sequence[Any] | npt.NDArray[Any]],
    *,
    seed: int,
    expected: Mapping[str, Sequence[Any]] | None = None,
    groups: Sequence[Any] | npt.NDArray[Any] | None = None,
    n: int = REPLICATES,
) -> pd.DataFrame:
    """One row per column and value: column, value, n, groups, correct, accuracy, low, high, state.

    `correct` (rows,) of 0 and 1; `columns`: name -> value per row, compared as text, where None and NaN are
    "(no value)". `expected`: values that must have a row although no test row may have them: their accuracy is NaN and
    their state "empty", never 0. Values are sorted. Intervals (95 %) resample whole groups within the slice.
    """
    right = np.asarray(correct, dtype=np.float64)
    names = np.arange(len(right)) if groups is None else np.asarray(groups)
    records = []
    for column, raw_values in columns.items():
        values = slice_texts(raw_values)
        if values.shape != right.shape or names.shape != right.shape:
            raise SplitError(
                f"`{column}` must hold one value per row, and `groups` one name, {right.shape}; got {values.shape} and "
                f"{names.shape}. Hand in columns of the same rows."
            )
        for value in sorted({*values.tolist(), *slice_texts((expected or {}).get(column, ())).tolist()}):
            rows = np.flatnonzero(values == value)
            interval = bootstrap_accuracy(right[rows], groups=names[rows], seed=seed, n=n)
            records.append(
                {
                    "column": column,
                    "value": value,
                    "n": len(rows),
                    "groups": len(np.unique(names[rows])),
                    "correct": int(right[rows].sum()),
                    "accuracy": interval.estimate,
                    "low": interval.low,
                    "high": interval.high,
                    "state": "" if len(rows) else EMPTY,
                }
            )
    return pd.DataFrame(records, columns=_COLUMNS)


def worst_slices(table: pd.DataFrame) -> pd.DataFrame:
    """The row of each column with the lowest accuracy, of equal ones that of most rows; empty slices do not count.

    A column of empty slices alone has no row. The worst of many small slices is low by chance too: read its interval.
    """
    filled = table[table["n"] > 0]
    ordered = filled.sort_values(["accuracy", "n"], ascending=[True, False], kind="stable")
    worst = ordered.groupby("column").head(1).set_index("column", drop=False)
    return worst.loc[filled["column"].unique()].reset_index(drop=True)


def crossed(columns: Mapping[str, Sequence[Any] | npt.NDArray[Any]]) -> tuple[npt.NDArray[np.str_], list[str]]:
    """The combined value of each row ("landbird x water"), and all combinations of the values that occur.

    For groups such as class and background (Waterbirds, CelebA): hand both to `slice_table`, as a column and as what
    is expected of it.
    """
    texts = [slice_texts(values) for values in columns.values()]
    if not texts or len({len(text) for text in texts}) > 1:
        raise SplitError(
            f"`columns` must hold columns of one length; got {[len(text) for text in texts]}. Hand in the same rows."
        )
    joined = np.array([" x ".join(row) for row in zip(*(text.tolist() for text in texts), strict=True)], dtype=np.str_)
    return joined, [" x ".join(row) for row in product(*(sorted(set(text.tolist())) for text in texts))]


def slice_texts(values: Sequence[Any] | npt.NDArray[Any]) -> npt.NDArray[np.str_]:
    """The values (rows,) as text, with "(no value)" for None, NaN and pandas' NA."""
    return np.array([NO_VALUE if _is_missing(value) else str(value) for value in values], dtype=np.str_)


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value))


@dataclass(frozen=True, kw_only=True, eq=False)
class Slicing:
    """`names` (n,): the slice of each row, in words. `order`: all of them, numbers by size. `binned`: by quartile."""

    names: npt.NDArray[np.str_]
    order: tuple[str, ...]
    binned: bool


def slices_of(values: Sequence[Any]) -> Slicing:
    """The slices of a column (n,): its values as text, or where it has over MOST_VALUES numbers, their quartiles.

    "Q2: 64 to 118" holds the numbers above the first quartile and up to the second; 64 and 118 are its smallest
    and largest. A quartile is a number of the column, so that equal numbers never part: with many of them there are
    fewer than four slices. None and NaN are "(no value)", last.
    """
    texts = slice_texts(values)
    present = np.flatnonzero(texts != NO_VALUE)
    numbers = pd.Series([values[int(index)] for index in present])
    last = (NO_VALUE,) if len(present) < len(texts) else ()
    if not pd.api.types.is_numeric_dtype(numbers) or pd.api.types.is_bool_dtype(numbers):
        return Slicing(names=texts, order=(*sorted(set(texts[present].tolist())), *last), binned=False)
    amounts = numbers.to_numpy(np.float64)
    if len(np.unique(amounts)) <= MOST_VALUES:
        by_size = dict.fromkeys(texts[present][np.argsort(amounts, kind="stable")].tolist())
        return Slicing(names=texts, order=(*by_size, *last), binned=False)
    edges = np.unique(np.quantile(amounts, [0.25, 0.5, 0.75], method="inverted_cdf"))
    place = np.searchsorted(edges, amounts, side="left")
    quartiles = np.unique(place)
    names = [_name(number + 1, amounts[place == quartile]) for number, quartile in enumerate(quartiles)]
    words: npt.NDArray[Any] = texts.astype(object)
    words[present] = np.array(names, dtype=object)[np.searchsorted(quartiles, place)]
    return Slicing(names=words.astype(np.str_), order=(*names, *last), binned=True)


def _name(number: int, amounts: npt.NDArray[np.float64]) -> str:
    low, high = f"{amounts.min():.4g}", f"{amounts.max():.4g}"
    return f"Q{number}: {low if low == high else f'{low} to {high}'}"
