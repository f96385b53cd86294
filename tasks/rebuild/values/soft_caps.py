"""Soft cap sampling of all pairs: their scores meet in one process, 32 bytes a pair, and go back by uid."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Floats, Words
from evenly.curation.draws import draws
from evenly.curation.step import require_column
from evenly.curation.values.soft_cap import SoftCap, sampled
from evenly.tasks.pictures.sent_rows import SentRows, rows_of_uids
from evenly.tasks.rebuild.values.measuring import Measuring, send_values
from evenly.tasks.run import Records, Run


def measure_soft_cap(inputs: Measuring) -> SentRows:
    """The number of times that each pair is drawn, and its weight; a pair without a score has NaN in both."""
    rule: SoftCap = inputs.rule
    for name in rule.of:
        if name not in inputs.values:
            require_column(inputs.upstream, f"values.{inputs.name}.soft_cap.of", name)
    parts = inputs.engine.partitions("reading scores", partial(_scores, inputs.upstream, rule, inputs.values))
    scores = np.concatenate([scores for _, scores, _ in parts])
    keys = np.concatenate([keys for _, _, keys in parts])
    with inputs.run.progress.bar("drawing pairs", None):
        repeats, weights = sampled(scores, keys, rule)
    columns = {inputs.name: repeats, f"{inputs.name}_weight": weights}
    return send_values(inputs, "giving repeats", [uids for uids, _, _ in parts], columns)


def _scores(
    upstream: Records, rule: SoftCap, values: Mapping[str, SentRows], run: Run
) -> tuple[pa.Array, Floats, Words]:
    """The pairs of a partition, the sum of their columns, each times its number, and their hashes."""
    pairs = run.ledger.alive(upstream, [name for name in rule.of if name not in values])
    uids = pairs["uid"].combine_chunks()
    scores = np.zeros(len(uids))
    for name, factor in rule.of.items():
        column = rows_of_uids(values[name].of(run), uids)[name] if name in values else pairs[name]
        scores += factor * column.combine_chunks().cast(pa.float64()).to_numpy(zero_copy_only=False)
    drawn = draws(seed=run.seed, step="soft_cap", uids=uids.to_pylist(), entries=[""] * len(uids))
    return uids, scores, (drawn * 2.0**53).astype(np.uint64)
