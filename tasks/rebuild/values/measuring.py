"""The pairs and rule that a method is given, and the features of the pairs that a partition shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.curation.arrays import Floats, Ints
from evenly.tasks.pictures.encoded import pictures_of
from evenly.tasks.pictures.sent_rows import SentRows, send_items
from evenly.tasks.run import Each, Records, Run

DIGITS = 6
"""Decimals to which values are stored."""
PICTURE = "image_vector"


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """The value `name` to be measured by the `rule` of its method: the pairs that the steps `upstream` kept.

    values: those that were measured before it, by name.
    """

    run: Run
    upstream: Records
    engine: Each
    name: str
    rule: Any
    values: Mapping[str, SentRows] = field(default_factory=dict)


def pictured(upstream: Records, run: Run) -> pa.Table:
    """The pictures of the pairs of a partition [uid, image_id]."""
    return run.ledger.alive(upstream, ["image_id"])


def captioned(upstream: Records, run: Run) -> pa.Table:
    """The same with the captions that were chosen [uid, image_id, caption]."""
    names = {"chosen_caption" for record in upstream if "chosen_caption" in record.columns} or {"caption"}
    return run.ledger.alive(upstream, ["image_id", *names]).rename_columns(["uid", "image_id", "caption"])


def with_vectors(dimension: int, run: Run, pairs: pa.Table) -> pa.Table:
    """The pairs, [uid, image_id] and more, with the features of their pictures, PICTURE."""
    rows = np.empty((0, dimension), np.float16)
    if pairs.num_rows:
        different, places = pictures_of(run, pairs["image_id"].combine_chunks())
        rows = different[places.to_numpy()]
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), dimension)
    return pairs.drop_columns(["image_id"]).append_column(PICTURE, lists)


def send_values(
    inputs: Measuring, title: str, uids: Sequence[pa.Array], columns: Mapping[str, npt.NDArray[Any]]
) -> SentRows:
    """Values of all pairs in the order of `uids`, which each partition gave of its own, sent by uid."""
    starts = np.cumsum([0, *map(len, uids)])
    tables = [
        pa.table({"uid": of_part, **{name: values[start:end] for name, values in columns.items()}})
        for of_part, start, end in zip(uids, starts, starts[1:], strict=False)
    ]
    return send_items(inputs.run, inputs.engine, title, "uid", give=_given, items=tables)


def _given(_run: Run, table: pa.Table) -> list[pa.Table]:
    return [table]


def column_of(values: Floats) -> pa.Array:
    """The values as they are stored."""
    return pa.array(np.round(values, DIGITS) + 0.0, pa.float64())


def spread_keys(numbers: Ints, count: int) -> pa.Array:
    """The hex digits by which numbers 0 to `count` - 1 meet their kind in a partition, spread over all of them."""
    return pa.array([f"{number * (1 << 32) // count:08x}" for number in range(count)]).take(pa.array(numbers))
