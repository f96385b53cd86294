"""Parts of an ensemble on their own: the accuracy of each classifier, and how it tells pictures of no class."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evenly.adapters.contract import Adapter
from evenly.adapters.errors import MissingFeaturesError
from evenly.adapters.evaluation.measures.bootstrap import bootstrap_accuracy
from evenly.adapters.evaluation.measures.unseen import KINDS
from evenly.adapters.features import Features, Floats, GroupedFeatures
from evenly.adapters.ood.cooked import cooked_entropy
from evenly.adapters.ood.table import ood_table

ALL = "all"
"""The name of the ensemble itself among its parts."""


def judge_parts(
    adapter: Adapter,
    test: GroupedFeatures,
    *,
    seed: int,
    unseen: Mapping[str, Features] | None = None,
    unseen_groups: Mapping[str, npt.NDArray[Any]] | None = None,
) -> pd.DataFrame:
    """Rows per part of `adapter`, and of all together; none of an adapter that is no ensemble (`Adapter.parts`).

    Columns: part, accuracy, low, high (95 %, resampling groups), then those of `ood_table` for the entropy of the
    part's probabilities, a row per set of pictures of no class and mean of these; without such pictures one row with
    `set` "" and NaN. Sets that lack what a part judges by are left out.
    """
    of_test = _with_all(adapter, test.features)
    of_sets = {name: parts for name, rows in (unseen or {}).items() if (parts := _with_all(adapter, rows))}
    tables = []
    for part, scores in of_test.items():
        interval = bootstrap_accuracy(scores.argmax(axis=1) == test.labels, groups=test.groups, seed=seed)
        head = {"part": part, "accuracy": interval.estimate, "low": interval.low, "high": interval.high}
        kinds: dict[str, dict[str, Floats]] = {}
        for name, parts in of_sets.items():
            kinds.setdefault(KINDS.get(name, "far"), {})[name] = cooked_entropy(parts[part])
        table = pd.DataFrame([{"kind": "", "set": "", "auroc": np.nan, "fpr95": np.nan}])
        if kinds:
            table = ood_table(cooked_entropy(scores), kinds, seed=seed, groups_id=test.groups, groups_ood=unseen_groups)
        tables.append(pd.DataFrame([head] * len(table)).join(table))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _with_all(adapter: Adapter, features: Features) -> dict[str, Floats]:
    """Log-probabilities (n, c) by part, those of the ensemble last; {} where rows lack what a part judges by."""
    try:
        parts = adapter.parts(features)
    except MissingFeaturesError:  # a second backbone, or lengths, that only the other rows have
        return {}
    return {**parts, ALL: adapter.decision_function(features)} if parts else {}
