"""Accuracy of stored predictions in slices of the test pictures, by columns of the sample table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from evenly.adapters.evaluation.measures.slices import Slicing, crossed, slice_table, slices_of
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.samples import BuildSamples
from evenly.storage.workspace import Workspace


def sliceable_columns(workspace: Workspace, manifest: Mapping[str, Any]) -> list[str]:
    """The columns of a build's sample table whose values can be told apart as text: all but nested and binary ones."""
    empty = BuildSamples(workspace, manifest).read(where="false")
    return [field.name for field in empty.schema if not (pt.is_nested(field.type) or pt.is_binary(field.type))]


def slice_predictions(
    workspace: Workspace, manifest: Mapping[str, Any], evaluation: StepRecord, columns: Sequence[str], *, seed: int
) -> tuple[pd.DataFrame, list[str]]:
    """Rows of `slice_table` for each column and adapter, with `name` and `texts`; and the columns that were binned.

    "label,source" stands for the two columns crossed: a slice per pair of their values. The slices of a column,
    quartiles of numbers too, are those of all labelled pictures of the evaluation: one that only train or val pictures
    have, or a pair that none has, is "empty". They come in the order of `slices_of`.
    """
    ledger = Ledger(workspace)
    split = ledger.table(evaluation, "split", ["uid", "group"])
    uids = split["uid"].combine_chunks()
    groups = np.array(split["group"].to_pylist(), dtype=np.str_)
    samples = BuildSamples(workspace, manifest).read(list(dict.fromkeys(["uid", *crossed_columns(columns)])))
    rows = samples.take(pc.index_in(uids, samples["uid"].combine_chunks()))
    slicings = {column: _slicing(rows, column) for column in columns}
    predictions = ledger.table(evaluation, "predictions").to_pandas()
    tables = []
    for column, slicing in slicings.items():
        for (name, texts), mine in predictions.groupby(["name", "texts"], sort=False):
            index = pc.index_in(pa.array(mine["uid"]), uids).to_numpy()
            table = slice_table(
                (mine["class"] == mine["predicted"]).to_numpy(),
                {column: slicing.names[index]},
                expected={column: slicing.order},
                groups=groups[index],
                seed=seed,
            )
            ordered = table.set_index("value").loc[list(slicing.order)].reset_index()
            tables.append(ordered.assign(name=name, texts=texts))
    binned = [column for column, slicing in slicings.items() if slicing.binned]
    return (pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()), binned


def crossed_columns(columns: Sequence[str]) -> list[str]:
    """The columns that are asked for, crossed ones one by one."""
    return [part for column in columns for part in column.split(",")]


def _slicing(rows: pa.Table, column: str) -> Slicing:
    """The slices of a column, or of columns that are crossed."""
    slicings = {part: slices_of(rows[part].to_pylist()) for part in crossed_columns([column])}
    if len(slicings) == 1:
        return slicings[column]
    names, order = crossed({part: slicing.names for part, slicing in slicings.items()})
    return Slicing(names=names, order=tuple(order), binned=any(slicing.binned for slicing in slicings.values()))
