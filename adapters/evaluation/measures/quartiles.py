"""Values of a column as slices: each value one of its own, numbers of many values by quartile."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evenly.adapters.evaluation.measures.slices import NO_VALUE, as_text

MOST_VALUES = 12
"""Numbers of more different values than these are put together by quartile."""


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
    texts = as_text(values)
    known = np.flatnonzero(texts != NO_VALUE)
    numbers = pd.Series([values[int(at)] for at in known])
    last = (NO_VALUE,) if len(known) < len(texts) else ()
    if not pd.api.types.is_numeric_dtype(numbers) or pd.api.types.is_bool_dtype(numbers):
        return Slicing(names=texts, order=(*sorted(set(texts[known].tolist())), *last), binned=False)
    held = numbers.to_numpy(np.float64)
    if len(np.unique(held)) <= MOST_VALUES:
        by_size = dict.fromkeys(texts[known][np.argsort(held, kind="stable")].tolist())
        return Slicing(names=texts, order=(*by_size, *last), binned=False)
    edges = np.unique(np.quantile(held, [0.25, 0.5, 0.75], method="inverted_cdf"))
    place = np.searchsorted(edges, held, side="left")
    found = np.unique(place)
    names = [_name(number + 1, held[place == one]) for number, one in enumerate(found)]
    words: npt.NDArray[Any] = texts.astype(object)
    words[known] = np.array(names, dtype=object)[np.searchsorted(found, place)]
    return Slicing(names=words.astype(np.str_), order=(*names, *last), binned=True)


def _name(number: int, held: npt.NDArray[np.float64]) -> str:
    low, high = f"{held.min():.4g}", f"{held.max():.4g}"
    return f"Q{number}: {low if low == high else f'{low} to {high}'}"
